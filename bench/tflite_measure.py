"""One network's LiteRT file beside the full-integer file of TensorFlow's own converter."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from latency import milliseconds
from tflite_cases import Case


def function(graph: Any) -> Any:
    """A function of TensorFlow that computes the outputs."""
    import tensorflow as tf

    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph.graph_def(), name=""), [])
    ends = [[whole.graph.as_graph_element(tensor) for tensor in group] for group in (graph.inputs, graph.outputs)]
    return whole.prune(*ends)


def stock_file(graph: Any, fed: Mapping[str, np.ndarray]) -> tuple[bytes, str]:
    """What TensorFlow's converter makes with representative data, and whether in full."""
    import tensorflow as tf

    pruned = function(graph)
    gc.collect()  # a function of TensorFlow holds all weights three times, and itself
    ops = tf.lite.OpsSet
    problem: Exception | None = None
    for how, sets in (("full", [ops.TFLITE_BUILTINS_INT8]), ("mixed", [ops.TFLITE_BUILTINS_INT8, ops.TFLITE_BUILTINS])):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([pruned], None)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [values[at : at + 1] for values in fed.values()] for at in range(len(next(iter(fed.values()))))
        )
        converter.target_spec.supported_ops = sets
        try:
            return converter.convert(), how
        except Exception as error:  # the converter raises its own kinds
            problem = error
    raise RuntimeError(str(problem).strip().splitlines()[0][:120] if str(problem).strip() else "converter failed")


def run(content: bytes, fed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of a file with floating-point ends, sample by sample."""
    from calibrant.emit.tflite.interpreter import new_interpreter

    interpreter, found = new_interpreter(content), []
    details = interpreter.get_input_details()
    for at in range(len(next(iter(fed.values())))):
        for detail, values in zip(details, fed.values(), strict=True):
            if tuple(detail["shape"]) != (1, *values.shape[1:]):
                interpreter.resize_tensor_input(detail["index"], [1, *values.shape[1:]])
        interpreter.allocate_tensors()
        for detail, values in zip(details, fed.values(), strict=True):
            interpreter.set_tensor(detail["index"], values[at : at + 1])
        interpreter.invoke()
        found.append([np.array(interpreter.get_tensor(each["index"])) for each in interpreter.get_output_details()])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def decibels(float_model: list[np.ndarray], other: list[np.ndarray]) -> float | None:
    """Signal-to-noise of all outputs of real numbers together, each counts alike; None without one."""
    shares = []
    for first, second in zip(float_model, other, strict=True):
        if first.dtype.kind == "f":
            first = first.astype(np.float64)
            shares.append(np.sum((first - second) ** 2) / max(np.sum(first**2), 1e-30))
    return float(-10 * np.log10(max(np.mean(shares), 1e-20))) if shares else None


def integers(content: bytes) -> tuple[int, int]:
    """Operators on integers, and all; those that change only the type do not count."""
    from calibrant.emit.tflite.flatbuffer import File

    operators = [each for each in File(content).operators() if each.name not in ("QUANTIZE", "DEQUANTIZE")]
    whole = [
        any(
            tensor.dtype in (np.int8, np.int16) and tensor.scale.size
            for tensor in (*each.inputs, *each.outputs)
            if tensor
        )
        and all(tensor.dtype != np.float32 for tensor in (*each.inputs, *each.outputs) if tensor)
        for each in operators
    ]
    return sum(whole), len(operators)


def measure(case: Case, dense_per_channel: bool = False, refine: bool | None = False) -> dict[str, Any]:
    """Everything about one network."""
    import calibrant
    from calibrant.graph.reading.load import load
    from calibrant.graph.running.run import input_shapes, run_once

    row: dict[str, Any] = {}
    graph = load(case.model, **case.loading)
    fed = dict(zip(input_shapes(graph), case.fed.values(), strict=True))
    count = len(next(iter(fed.values())))
    batch = next(iter(input_shapes(graph).values()))[0]
    size = batch[0] if batch and batch[0] else 1 if case.fixed else count // 2
    batches = [{key: values[at : at + size] for key, values in fed.items()} for at in range(0, count, size)]
    outputs = [run_once(graph, each) for each in batches]
    expected = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    ours = stock = None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        start = time.perf_counter()
        try:
            result = calibrant.quantize(
                case.model,
                f"batch_num: {len(batches)}",
                batches,
                out,
                export="tflite",
                name="model",
                bias_correction=False,
                refine=refine,
                tflite_dense_per_channel=dense_per_channel,
                tflite_shape={key: values.shape for key, values in batches[0].items()} if case.fixed else None,
                **case.loading,
            )
            row["seconds"] = round(time.perf_counter() - start)
            if result.refused:
                raise result.refused["tflite"]
            row["floats"] = result.export_notes["tflite"]["operators_in_float"]
            ours = (out / "model_int8.tflite").read_bytes()
            simulation = load(out / "model_fakequant.pb")
            simulated = [
                run_once(simulation, dict(zip(simulation.input_keys, each.values(), strict=True))) for each in batches
            ]
            row["fakequant_db"] = decibels(expected, [np.concatenate(parts) for parts in zip(*simulated, strict=True)])
            row["verify"] = "passes" if calibrant.verify(out, batches).passed else "FAILS"
        except calibrant.CalibrantError as error:
            row["problem"] = str(error)
    try:
        stock, row["how"] = stock_file(graph, fed)
    except (RuntimeError, ValueError) as error:
        row["stock_problem"] = str(error)
    runs = []
    for key, content in (("ours", ours), ("stock", stock)):
        if content is None:
            continue
        row[f"{key}_integers"], row[f"{key}_bytes"] = integers(content), len(content)
        try:
            row[f"{key}_db"] = decibels(expected, run(content, fed))
            runs.append(content)
        except (RuntimeError, ValueError) as error:
            row[f"{key}_runs"] = str(error).splitlines()[0]
    if len(runs) == 2:
        row["ours_ms"], row["stock_ms"] = milliseconds(runs, [values[:1] for values in fed.values()])
    return row
