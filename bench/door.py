"""One model, read, folded, quantized and verified with made-up data; called by ``doors.py``, prints a row of JSON."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np

SAMPLES = 2
SIZE = 32  # of an open axis


def opened(path: str) -> tuple[Any, list[str]]:
    """The graph, and the options that the message of a first try proposed."""
    from calibrant.errors import CalibrantError
    from calibrant.graph.load import load

    try:
        return load(path), []
    except CalibrantError as error:
        proposed = re.findall(r"--(set|outputs|inputs) ([^\s;,)]+(?:,[^\s;)]+)*)", str(error))
        if not proposed:
            raise
    values = dict(text.split("=", 1) for kind, text in proposed if kind == "set")
    named = {kind: text.split(",") for kind, text in proposed if kind != "set"}
    words = [word for kind, text in proposed for word in (f"--{kind}", text)]
    if values:
        return load(path, constants={name: json.loads(value) for name, value in values.items()}), words
    return load(path, **named), words


def made_up(graph: Any) -> dict[str, np.ndarray]:
    """Numbers of the types and shapes of the inputs."""
    generator, fed = np.random.default_rng(0), {}
    for key, tensor in zip(graph.input_keys, graph.inputs, strict=True):
        sizes = graph.shape(tensor)
        if sizes is None:
            weights = [graph.constant(node.input[1]) for node, _ in graph.consumers(tensor) if node.op == "Conv2D"]
            known = next((values for values in weights if values is not None and values.ndim == 4), None)
            sizes = (SAMPLES, SIZE) if known is None else (SAMPLES, SIZE, SIZE, known.shape[2])
        shape = tuple(size or (SIZE if axis else SAMPLES) for axis, size in enumerate(sizes))
        dtype = np.dtype(graph.dtype(tensor).as_numpy_dtype)
        numbers = generator.random(shape) if dtype.kind == "f" else generator.integers(0, 4, shape)
        fed[key] = numbers.astype(dtype)
    return fed


def main() -> None:
    """Print the row as far as it gets."""
    from calibrant.cli.main import main as command
    from calibrant.fold.folding import fold
    from calibrant.graph.layers import find_layers
    from calibrant.graph.run import run_once

    path, row = sys.argv[1], {}

    def code(*words: str) -> int | str:
        try:
            return command(list(words)) or 0
        except SystemExit as ended:
            return ended.code or 0

    try:
        graph, options = opened(path)
        layers, others = find_layers(graph)
        row = {"read": "yes" + "".join(f" {word}" for word in options), "outputs": len(graph.outputs)}
        row |= {"layers": len(layers), "listed in float": len(others)}
        fed = made_up(graph)
        pairs = zip(run_once(graph, fed), run_once(fold(graph).graph, fed), strict=True)
        apart = [np.abs(a.astype(float) - b).max() / max(1, np.abs(a).max()) for a, b in pairs if a.size]
        row["fold"] = f"{max(apart, default=0):.1g}"
        np.savez("data.npz", **fed)
        row["ascend"] = code("quantize", path, *options, "--data", "data.npz", "--export", "ascend", "--out", "out")
        row["verify"] = code("verify", "out", "--data", "data.npz")
    except Exception as error:  # what a user would see is the row
        row = {**({} if row else {"read": "no"}), **row, "stopped": " ".join(str(error).split())[:160]}
    finally:
        print("ROW " + json.dumps({key: str(value) for key, value in row.items()}), flush=True)


if __name__ == "__main__":
    main()
