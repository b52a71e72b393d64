#!/usr/bin/env python3
"""Check on a device whether a LiteRT file computes there what it should.

    python check_golden.py [--model FILE.tflite] [--builtin] [--threads N] [--steps N] [--outputs-only]

Runs the file on the inputs in golden.npz and names the first tensor that differs from what is expected. Needs NumPy and
one of ai_edge_litert, tflite_runtime and tensorflow, which are tried in this order. Exit code 0: nothing differs; 1:
something does; 2: the check could not be made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


def main(arguments: Sequence[str] | None = None) -> int:
    """Check; the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", type=Path, help="the .tflite file; the one in this folder by default")
    parser.add_argument("--builtin", action="store_true", help="the built-in kernels instead of XNNPACK's")
    parser.add_argument("--threads", type=int, help="threads of the interpreter")
    parser.add_argument("--steps", type=int, default=0, help="steps of the codes that are allowed besides")
    parser.add_argument("--outputs-only", action="store_true", help="compare the results alone, as applications run it")
    options = parser.parse_args(arguments)
    try:
        return check(Path(__file__).resolve().parent, options)
    except Exception as error:  # noqa: BLE001 - of damaged files any kind
        is_plain = isinstance(error, (OSError, ValueError, RuntimeError, ImportError))
        is_plain = is_plain and not isinstance(error, (json.JSONDecodeError, UnicodeDecodeError))
        is_plain = is_plain and not (isinstance(error, OSError) and error.filename is None)  # of places in an archive
        reason = str(error).strip() if is_plain else ""
        print(f"the check could not be made: {reason or _damage(error)}", file=sys.stderr)
        return 2


def _damage(error: Exception) -> str:
    return f"golden.json or golden.npz is damaged ({type(error).__name__}: {error})"


def check(folder: Path, options: argparse.Namespace) -> int:
    """Compare all tensors and say what differs; the exit code."""
    golden = json.loads((folder / "golden.json").read_text())
    path = options.model or folder / golden["model"]
    content = path.read_bytes()
    name, litert = litert_module()
    print(f"{path.name} with {name}, {'built-in kernels' if options.builtin else 'XNNPACK'}")
    is_other = hashlib.sha256(content).hexdigest() != golden["sha256"]
    if is_other:
        print("note: this is not the file that the expected codes were made for (other bytes)")
    resolvers = litert.OpResolverType
    compared = [each for each in golden["tensors"] if each["is_output"] or not options.outputs_only]
    if not compared or not golden["runs"] >= 1:
        raise ValueError("golden.json names no runs or no tensors to compare")
    if not all(0 <= each["allowed"] < math.inf for each in compared):
        raise ValueError("golden.json allows differences that are no finite numbers")
    differing: dict[str, str] = {}
    equal = {each["key"] for each in compared}
    with np.load(folder / "golden.npz") as arrays:
        for run in range(golden["runs"]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of TensorFlow's old name, and of the memory of tensors in between
                interpreter = litert.Interpreter(  # a new one, as XNNPACK may run files with loops right only once
                    model_content=content,
                    num_threads=options.threads,
                    experimental_preserve_all_tensors=not options.outputs_only,
                    experimental_op_resolver_type=(
                        resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES if options.builtin else resolvers.AUTO
                    ),
                )
            inputs = [arrays[each["key"]][run] for each in golden["inputs"]]
            try:
                found = run_once(interpreter, inputs, compared)
            except (ValueError, RuntimeError) as error:
                if not is_other or isinstance(error, OtherInputs):
                    raise
                takes = f"{path.name} does not take the inputs in golden.npz"
                raise OtherInputs(f"{takes}: it is not the file that the folder was made from") from None
            for each in compared:
                allowed = each["allowed"] + options.steps * each["step"]
                expected = arrays[each["key"]][run]
                said = difference(expected, found.get(each["key"]), allowed)
                if said or difference(expected, found[each["key"]], 0.0):
                    equal.discard(each["key"])
                if said:
                    differing.setdefault(each["key"], f"run {run}: {said}")
    if not differing:
        near = f"{len(equal)} equal, {len(compared) - len(equal)} within what correct kernels differ by"
        print(f"nothing differs: {golden['runs']} runs, {len(compared)} tensors, {near}")
        return 0
    place, first = next((at, each) for at, each in enumerate(compared) if each["key"] in differing)
    print(f"differs first: {first['name']} ({first['operator']}, tensor {place + 1} of {len(compared)})")
    print(f"  {differing[first['key']]}")
    print(f"{len(differing)} of {len(compared)} tensors differ")
    return 1


class OtherInputs(ValueError):
    """A file that cannot be fed with the inputs that are there."""


def litert_module() -> tuple[str, Any]:
    """LiteRT's interpreter module under whichever name it is installed."""
    try:
        from ai_edge_litert import interpreter

        return "ai_edge_litert", interpreter
    except ImportError:
        pass
    try:
        from tflite_runtime import interpreter

        return "tflite_runtime", interpreter
    except ImportError:
        pass
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf

        lite = tf.lite
        resolvers = lite.experimental.OpResolverType
        return f"tensorflow {tf.__version__}", SimpleNamespace(Interpreter=lite.Interpreter, OpResolverType=resolvers)
    except (ImportError, AttributeError):
        needed = "none of ai_edge_litert, tflite_runtime and tensorflow with tf.lite is here"
        raise ImportError(f"{needed}; pip install ai-edge-litert") from None


def run_once(
    interpreter: Any, inputs: Sequence[np.ndarray], wanted: Iterable[Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Feed the inputs in their order; key of a wanted tensor → what it holds, without those that are not there."""
    details = interpreter.get_input_details()
    if len(details) != len(inputs):
        raise OtherInputs(f"the file has {len(details)} inputs, expected are {len(inputs)}")
    pairs = list(zip(details, inputs))  # noqa: B905 - Pythons of devices may not know strict
    for detail, values in pairs:
        if tuple(detail["shape"]) != values.shape:
            interpreter.resize_tensor_input(detail["index"], values.shape, strict=True)
    interpreter.allocate_tensors()
    for detail, values in pairs:
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    by_name = {detail["name"]: detail for detail in reversed(interpreter.get_tensor_details())}

    def held(detail: Mapping[str, Any]) -> np.ndarray:
        if 0 in detail["shape"]:  # which get_tensor refuses
            return np.empty(detail["shape"], detail["dtype"])
        found = np.array(interpreter.get_tensor(detail["index"]))
        return found.astype(np.bytes_) if found.dtype == object else found

    return {each["key"]: held(by_name[each["name"]]) for each in wanted if each["name"] in by_name}


def difference(expected: np.ndarray, found: np.ndarray | None, allowed: float) -> str | None:
    """How an array differs from what is expected by more than is allowed; None where it does not."""
    if found is None:
        return "there is no such tensor in the file"
    is_same_type = found.dtype == expected.dtype or found.dtype.kind == expected.dtype.kind == "S"
    if found.shape != expected.shape or not is_same_type:
        return f"is {found.dtype} {list(found.shape)}, expected {expected.dtype} {list(expected.shape)}"
    apart = distance(expected, found)
    beyond = ~(apart <= allowed)
    if not beyond.any():
        return None
    at = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    largest = float(apart[beyond].max()) if beyond.ndim else float(apart)
    place = [int(axis) for axis in at]
    return (
        f"{int(beyond.sum())} of {beyond.size} values by up to {largest:.6g}, allowed {allowed:.6g}; "
        f"the first at {place}: expected {expected[at]}, found {found[at]}"
    )


def distance(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Differences in float64, of other strings 1; equal infinities and two numbers that are none do not differ."""
    if expected.dtype.kind == "S":
        return np.asarray(expected != found, np.float64)
    first, second = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        return np.where(same, 0.0, np.abs(first - second))


if __name__ == "__main__":
    sys.exit(main())
