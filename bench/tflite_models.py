"""LiteRT files of many networks beside the full-integer files of TensorFlow's own converter.

    python bench/tflite_models.py [--groups applications,modern,real,wild] [--only ResNet50,vit] [--seed 1]

Each network has a process of its own: it is exported and verified, and converted once more by TensorFlow with the same
samples as representative data (``stock``). Columns: operators on integers of all operators (those that change only the
type left out), bytes, milliseconds of one sample on one thread (the two files taking turns), signal-to-noise of the
outputs against the float model. Biases are not corrected, as TensorFlow does not do so either. ``real`` and
``wild`` need the folder ``--shared``. Where full-integer conversion fails, stock is the converter's mixed file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from latency import milliseconds
from networks import APPLICATIONS, MODERN, application, enliven

SAMPLES = 8
OPEN_SIZE = 64
INTEGERS_BELOW = 20
WILD: Mapping[str, Mapping[str, Any]] = {
    "deepbrain_v1.pb": {"constants": {"training": False}, "sizes": 32},
    "cutkum_lstm.pb": {"constants": {"keep_prob": 1.0}, "sizes": 16},
    "fer_emotion.hdf5": {},
    "fsrcnn_x2.pb": {"shape": (32, 32, 1), "fixed": True},
    "mlnet_mnist_conv": {},
    "omz_samplenet.pb": {},
    "pose_cpm.pb": {"range": (0, 255)},
    "pose_hourglass.pb": {"range": (0, 255)},
    "ps_deeplab.pb": {"outputs": ["SemanticProbabilities"], "range": (0, 255)},
    "ps_deeplab_qat.pb": {"outputs": ["SemanticPredictions"], "range": (0, 255)},
    "str_ww.h5": {},
    "t2o_gru.pb": {"constants": {"keep_prob": 1.0}, "shape": (784,), "fixed": True},
    "t2o_lstm.pb": {"constants": {"keep_prob": 1.0}},
    "tinymaix_mbnet96_0.25.h5": {},
    "tinymaix_mnist_dw.h5": {},
    "tinymaix_mnist_resnet.h5": {},
    "utensor_buggy.pb": {"constants": {"keep_prob": 1.0}},
    "utensor_cifar10_cnn.pb": {},
    "vww_96.h5": {},
    "basic_pitch": {},
}
REAL: Mapping[str, Mapping[str, Any]] = {
    "resnet8_cifar10/resnet8.pb": {"data": "resnet8_cifar10/cifar10_part.npz:x_calibration[:8]"},
    "ds_cnn_kws/ds_cnn.pb": {"data": "ds_cnn_kws/mfcc.npz:x[:8]"},
    "arm_kws/DS_CNN_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s320_d10.npz:x[:8]"},
    "arm_kws/CNN_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s320_d10.npz:x[:8]"},
    "arm_kws/DNN_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s640_d10.npz:x[:8]"},
    "arm_kws/LSTM_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s640_d10.npz:x[:8]"},
    "kwt1/kwt1.pb": {"data": "kwt1/features_98x40.npz:x[:8]"},
    "mnist/fc_layers.pb": {"range": (0, 255)},
}
COLUMNS = ("model", "verify", "integer", "stock", "bytes", "stock", "ms", "stock", "dB", "stock", "s")


def cases(group: str, shared: Path) -> Iterator[str]:
    """The names of a group's networks that are there."""
    if group == "applications":
        yield from APPLICATIONS
    elif group == "modern":
        yield from MODERN
    else:
        names = {"wild": WILD, "real": REAL}[group]
        missing = [name for name in names if not (shared / group / name).exists()]
        if missing:
            print(f"{group}: left out, not in {shared / group}: {', '.join(missing)}")
        yield from (name for name in names if name not in missing)


def samples(graph: Any, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Smooth noise, or small whole numbers, for every input."""
    from calibrant.graph.run import input_shapes

    random, low_high = np.random.default_rng(0), options.get("range", (-1.0, 1.0))
    fed: dict[str, np.ndarray] = {}
    for key, (shape, dtype) in input_shapes(graph).items():
        shape = (None, *options["shape"]) if shape is None else shape
        rest = [size or options.get("sizes", OPEN_SIZE) for size in shape[1:]]
        if dtype.kind in "iub" and "range" not in options:
            fed[key] = random.integers(0, 2 if dtype.kind == "b" or key == "used" else INTEGERS_BELOW, (SAMPLES, *rest))
            fed[key] = fed[key].astype(dtype)
            continue
        values = random.normal(0, 1, (SAMPLES, *rest))
        for axis in range(1, len(rest)):
            values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / 1.7
        share = (np.clip(values, -3, 3) + 3) / 6
        fed[key] = (low_high[0] + share * (low_high[1] - low_high[0])).astype(dtype)
    return fed


def prepared(group: str, name: str, shared: Path, seed: int) -> tuple[Any, dict[str, Any], dict[str, np.ndarray]]:
    """The model, how it is loaded, and its data."""
    from calibrant.data.input_spec import inputs_of
    from calibrant.data.open_data import open_data
    from calibrant.graph.load import load

    if group in ("applications", "modern"):
        import keras

        keras.utils.set_random_seed(seed)
        model = application(name) if group == "applications" else MODERN[name]()
        graph = load(model)
        takes_bytes = name.lower().startswith(("mobilenetv3", "mobilenet_v3", "efficientnet", "convnext"))
        fed = samples(graph, {"range": (0, 255)} if takes_bytes else {})
        names = dict(zip((tensor.name for tensor in model.inputs), fed, strict=True))
        enliven(model, {tensor: fed[key] for tensor, key in names.items()})
        return model, {}, fed
    options = dict({"wild": WILD, "real": REAL}[group][name])
    loading = {key: options[key] for key in ("inputs", "outputs", "constants") if key in options}
    path = shared / group / name
    graph = load(path, **loading)
    if "data" in options:
        batches = list(open_data(str(shared / group / options["data"]), inputs_of(graph)))
        return path, loading, {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return path, loading, samples(graph, options)


def stock_file(graph: Any, fed: Mapping[str, np.ndarray]) -> tuple[bytes, str]:
    """What TensorFlow's converter makes with representative data, and whether in full."""
    import tensorflow as tf

    function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph.graph_def(), name=""), [])
    ends = [[function.graph.as_graph_element(tensor) for tensor in group] for group in (graph.inputs, graph.outputs)]
    pruned = function.prune(*ends)
    ops = tf.lite.OpsSet
    problem: Exception | None = None
    for how, sets in (("full", [ops.TFLITE_BUILTINS_INT8]), ("mixed", [ops.TFLITE_BUILTINS_INT8, ops.TFLITE_BUILTINS])):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([pruned], None)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [values[at : at + 1] for values in fed.values()] for at in range(SAMPLES)
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
    for at in range(SAMPLES):
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


def measure(group: str, name: str, shared: Path, seed: int = 0) -> dict[str, Any]:
    """Everything about one network."""
    import calibrant
    from calibrant.graph.load import load
    from calibrant.graph.run import input_shapes, run_once

    row: dict[str, Any] = {"model": name}
    options = {"wild": WILD, "real": REAL}.get(group, {}).get(name, {})
    model, loading, fed = prepared(group, name, shared, seed)
    graph = load(model, **loading)
    fixed = next(iter(input_shapes(graph).values()))[0]
    size = fixed[0] if fixed and fixed[0] else 1 if options.get("fixed") else SAMPLES // 2
    batches = [{key: values[at : at + size] for key, values in fed.items()} for at in range(0, SAMPLES, size)]
    outputs = [run_once(graph, batch) for batch in batches]
    expected = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    ours = None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        start = time.perf_counter()
        shape = {key: batches[0][key].shape for key in batches[0]} if options.get("fixed") else None
        try:
            result = calibrant.quantize(
                model,
                f"batch_num: {len(batches)}",
                batches,
                out,
                export="tflite",
                name="model",
                bias_correction=False,
                tflite_shape=shape,
                **loading,
            )
            if result.refused:
                raise result.refused["tflite"]
            row["s"] = round(time.perf_counter() - start)
            row["floats"] = result.export_notes["tflite"]["operators_in_float"]
            ours = (out / "model_int8.tflite").read_bytes()
            row["verify"] = "passes" if calibrant.verify(out, batches).passed else "FAILS"
        except calibrant.CalibrantError as error:
            row["verify"] = "refused"
            row["problem"] = str(error)
    try:
        stock, row["how"] = stock_file(graph, fed)
    except (RuntimeError, ValueError) as error:
        stock, row["stock_problem"] = None, str(error)
    for key, content in (("ours", ours), ("stock", stock)):
        if content is None:
            continue
        row[f"{key}_integers"], row[f"{key}_bytes"] = integers(content), len(content)
        try:
            row[f"{key}_db"] = decibels(expected, run(content, fed))
        except (RuntimeError, ValueError) as error:
            row[f"{key}_runs"] = str(error).splitlines()[0]
    if ours is not None and stock is not None and "stock_runs" not in row and "ours_runs" not in row:
        row["ours_ms"], row["stock_ms"] = milliseconds([ours, stock], [values[:1] for values in fed.values()])
    return row


def in_process(group: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row that a process of its own makes."""
    command = [sys.executable, __file__, "--child", f"{group}:{name}", "--shared", str(options.shared)]
    command += ["--seed", str(options.seed)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        try:
            done = subprocess.run(
                [*command, "--answer", str(answer)],
                capture_output=True,
                text=True,
                timeout=options.seconds,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            return {"model": name, "verify": f"> {options.seconds} s"}
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return {"model": name, "verify": "error", "problem": last, "trace": done.stderr[-3000:]}
        return json.loads(answer.read_text())


def cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """One line of the table."""

    def of(key: str, form: Callable[[Any], str]) -> str | None:
        return form(row[key]) if row.get(key) is not None else None

    stock = row.get("how", "fails" if "stock_problem" in row else "")
    share = of("stock_integers", lambda pair: f"{pair[0]}/{pair[1]} {stock}") or stock
    return (
        *(row["model"], row["verify"], of("ours_integers", lambda pair: f"{pair[0]}/{pair[1]}"), share),
        *(row.get("ours_bytes"), row.get("stock_bytes")),
        *(of("ours_ms", "{:.2f}".format), of("stock_ms", "{:.2f}".format)),
        *(of("ours_db", "{:.1f}".format), of("stock_db", "{:.1f}".format), row.get("s")),
    )


def main() -> None:
    """Print one row per network, and what was refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--groups", default="applications,modern,real,wild")
    parser.add_argument("--only", help="networks, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--seconds", type=int, default=900, help="time that one network may take")
    parser.add_argument("--rows", type=Path, help="add every row to this file, one JSON object a line")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        group, _, name = options.child.partition(":")
        options.answer.write_text(json.dumps(measure(group, name, options.shared, options.seed)))
        return
    from calibrant.cli.show import table

    for group in options.groups.split(","):
        rows = []
        for name in cases(group, options.shared):
            if options.only and name not in options.only.split(","):
                continue
            rows.append(in_process(group, name, options))
            print(*cells(rows[-1]), rows[-1].get("problem", ""), file=sys.stderr, flush=True)
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(json.dumps({"group": group, **rows[-1]}) + "\n")
        table(group, COLUMNS, [cells(row) for row in rows])
        for row in rows:
            if "problem" in row:
                print(f"{row['model']}: {row['problem']}")


if __name__ == "__main__":
    main()
