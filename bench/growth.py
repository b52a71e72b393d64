"""How time and memory grow with layers, nodes, inputs and batches.

    python bench/growth.py [--out docs/measurements] [--only layers] [--largest 1000]

Every size goes through up to six processes (``RUNS``), and through all of them three times: the least of each quantity
counts, because whatever else happens only adds to it. Seconds are of all processors together (CPU time), so that what
else the machine does matters little. TensorFlow's own objects are kept out of Python's garbage collector: one of its
passes over them takes 0.2 s, as much as to load 2,000 nodes, and comes at some size or does not. Memory is the peak
above what the process held before the step; for the report page it is the size of the file. The exponent is the slope
in logarithms of what each size adds to the smallest, fitted to all sizes: 1 is in proportion. "Its end" is the same
from a quarter of the largest size on.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from memory import apart, resident, start_watching
from results import store

from calibrant.cli.show import table

WIDTH = 16
BATCH = 4
REPEATS = 3
RUNS = (("load", "inspect"), ("quantize", "page"), ("verify",), ("tflite",), ("budget",), ("sensitivity",))
"""Steps by process, in an order in which each finds what it reads."""

ONCE = ("load", "inspect", "quantize", "page", "verify", "tflite")
"""Steps that run the network once a batch; the others run, for each layer, all that is behind it."""


@dataclass(frozen=True)
class Axis:
    """What is made larger: the sizes, the layers, plain nodes, inputs and batches of a size, and steps of constants."""

    sizes: tuple[int, ...]
    shape: Callable[[int], tuple[int, int, int, int]]
    steps: tuple[str, ...] = ONCE
    constants: Callable[[int], int] = lambda size: 0


AXES = {
    "layers": Axis((10, 40, 150, 500, 2000), lambda size: (size, 0, 1, 2), ONCE[:-1]),
    "layers (LiteRT)": Axis((10, 60, 250, 1000), lambda size: (size, 0, 1, 2), ("tflite",)),
    "layers (run again)": Axis((10, 25, 60, 150, 400), lambda size: (size, 0, 1, 4), ("budget", "sensitivity")),
    "nodes": Axis((10, 150, 600, 2500, 10000), lambda size: (4, size, 1, 2), ONCE[:-1]),
    "nodes (LiteRT)": Axis((10, 120, 500, 2000), lambda size: (4, size, 1, 2), ("tflite",)),
    "inputs": Axis((2, 12, 50, 200, 800), lambda size: (4, 0, size, 2)),
    "batches": Axis((4, 30, 125, 500, 2000), lambda size: (4, 0, 1, size), ("quantize", "verify")),
    "constants": Axis(
        (10, 60, 250, 1000, 4000), lambda size: (4, 0, 1, 2), ("load", "inspect", "quantize"), lambda size: size
    ),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "quantize": {"export": ["ascend"]},
    "tflite": {"export": ["tflite"]},
    "budget": {"budget": 0.25},
    "sensitivity": {"sensitivity": True},
}

_results: dict[Path, Any] = {}


def make_model(path: Path, layers: int, nodes: int, inputs: int, constants: int = 0) -> None:
    """Inputs that are summed, then dense layers with bias and Relu, then a chain of nodes that change nothing.

    To the inputs is added what so many multiplications and additions of constants give, one after the other.
    """
    from calibrant.graph.tensorflow import tensorflow

    tf = tensorflow()
    random = np.random.default_rng(1)
    with tf.Graph().as_default() as graph:
        given = [tf.compat.v1.placeholder(tf.float32, [None, WIDTH], f"x{number}") for number in range(inputs)]
        x = given[0] if inputs == 1 else tf.add_n(given)
        if constants:
            added = tf.constant(random.standard_normal(WIDTH).astype(np.float32))
            for _ in range(constants):
                added = added * tf.constant(0.5) + tf.constant(random.standard_normal(WIDTH).astype(np.float32))
            x += added
        for _ in range(layers):
            weights = random.standard_normal((WIDTH, WIDTH), np.float32) * np.float32((2 / WIDTH) ** 0.5)
            x = tf.nn.relu(tf.nn.bias_add(tf.matmul(x, weights), random.standard_normal(WIDTH).astype(np.float32) / 10))
        for number in range(nodes):
            x = tf.abs(x) if number % 2 else tf.nn.relu(x)
        tf.identity(x, "y")
    path.write_bytes(graph.as_graph_def().SerializeToString())


def points(
    folder: Path, shape: tuple[int, int, int, int], steps: tuple[str, ...], constants: int = 0
) -> dict[str, tuple[float, float]]:
    """By step, seconds of all processors and megabytes; a small model goes through all of them first.

    The megabytes of the page are those of the file.
    """
    small = folder / "small"
    if not small.exists():
        small.mkdir()
        make_model(small / "net.pb", 2, 2, 1)
        make_model(folder / "net.pb", *shape[:3], constants)
    for step in steps:
        _step(step, small, (2, 2, 1, 2))
    found = {}
    for step in steps:
        gc.collect()
        gc.freeze()
        before = start_watching() or 0
        begun = time.process_time()
        written = _step(step, folder, shape)
        seconds = time.process_time() - begun
        found[step] = seconds, written if written is not None else max((resident() or 0) - before, 0)
    return found


def _step(step: str, folder: Path, shape: tuple[int, int, int, int]) -> float | None:
    import calibrant
    from calibrant.fold import fold
    from calibrant.graph.layers import find_layers
    from calibrant.graph.reading.load import load

    model, out, (_, _, inputs, batches) = str(folder / "net.pb"), folder / "out", shape
    random = np.random.default_rng(2)
    data = {f"x{number}": random.standard_normal((BATCH * batches, WIDTH), np.float32) for number in range(inputs)}
    if step == "load":
        load(model)
    elif step == "inspect":
        find_layers(fold(load(model)).graph)
    elif step == "verify":
        calibrant.verify(str(out), data, batch_size=BATCH)
    elif step == "page":
        _results[folder].page(json.loads((out / "report.json").read_text()), {})
        return (out / "report.html").stat().st_size / 2**20
    else:
        out = out if step == "quantize" else folder / step
        config = f"batch_num : {batches}"
        _results[folder] = calibrant.quantize(model, config, data, str(out), batch_size=BATCH, **OPTIONS[step])
    return None


def exponent(points: list[tuple[int, float]]) -> float | None:
    """The slope in logarithms of what the sizes add to the first; None where too little has grown to say it."""
    (smallest, least), *others = points
    added = [(size - smallest, value - least) for size, value in others if value > least]
    if len(added) < 2 or added[-1][1] < 0.05:
        return None
    return float(np.polyfit(*np.log(np.array(added)).T, 1)[0])


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Seconds and megabytes, one column per axis."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "calibrant", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["axis"] for row in found))
    figure, axes = pyplot.subplots(2, len(names), figsize=(18, 6), layout="constrained", squeeze=False)
    for column, name in enumerate(names):
        for line, (quantity, label) in enumerate((("seconds", "CPU seconds"), ("mb", "peak, MB above the start"))):
            axis = axes[line][column]
            for step in AXES[name].steps:
                rows = [row for row in found if (row["axis"], row["step"]) == (name, step)]
                axis.plot([row["size"] for row in rows], [row[quantity] for row in rows], marker="o", label=step)
            axis.set(xscale="log", yscale="log", xlabel=name, ylabel=label)
            axis.grid(alpha=0.3)
        axes[0][column].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def _rows(name: str, axis: Axis, size: int) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in RUNS:
            chosen = tuple(step for step in steps if step in axis.steps)
            if not chosen:
                continue
            arguments = axis.shape(size), chosen, axis.constants(size)
            measured = [apart(points, Path(folder), *arguments) for _ in range(REPEATS)]
            for step in chosen:
                seconds, megabytes = (min(values) for values in zip(*(found[step] for found in measured), strict=True))
                rows.append({"axis": name, "step": step, "size": size, "seconds": seconds, "mb": megabytes})
                print(f"{name} {size} {step}: {seconds:.2f} s, {megabytes:.1f} MB", flush=True)
    return rows


def main() -> None:
    """Print the numbers and exponents, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for growth.svg")
    parser.add_argument("--only", choices=AXES)
    parser.add_argument("--largest", type=int, default=10**9, help="leave larger sizes out")
    chosen = parser.parse_args()
    found: list[dict[str, Any]] = []
    for name, axis in AXES.items():
        if chosen.only in (None, name):
            for size in (size for size in axis.sizes if size <= chosen.largest):
                found += _rows(name, axis, size)
    rows = []
    for axis_name, step in dict.fromkeys((row["axis"], row["step"]) for row in found):
        chain = [row for row in found if (row["axis"], row["step"]) == (axis_name, step)]
        seconds, megabytes = ([(row["size"], row[quantity] or 0) for row in chain] for quantity in ("seconds", "mb"))
        upper = [point for point in seconds[1:] if 4 * point[0] >= seconds[-1][0]]
        grown = [exponent(chosen) for chosen in (seconds, [seconds[0], *upper], megabytes)]
        shown = [f"{value:.2f}" if value is not None else "–" for value in grown]
        last = chain[-1]
        rows.append([axis_name, step, last["size"], f"{last['seconds']:.1f}", f"{last['mb'] or 0:.0f}", *shown])
    table("growth", ("axis", "step", "largest", "CPU s", "MB", "exponent of s", "its end", "of MB"), rows)
    store({"growth": found})
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        draw(found, chosen.out / "growth.svg")


if __name__ == "__main__":
    main()
