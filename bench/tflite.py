"""Size, latency and operators of INT8 LiteRT files beside the float ones that the same converter makes.

python bench/tflite.py [--shared ../shared] [--threads 1]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.load import load

CASES = {
    "digits": (None, None, None),
    "resnet8": ("resnet8_cifar10/resnet8.pb", None, "resnet8_cifar10/cifar10_part.npz:x_calibration[:64]"),
    "ds_cnn": ("ds_cnn_kws/ds_cnn.pb", None, "ds_cnn_kws/mfcc.npz:x[:64]"),
    "DS_CNN_S": ("arm_kws/DS_CNN_S.pb", ["Mfcc:0"], "arm_kws/mfcc_w640_s320_d10.npz:x[:64]"),
    "CNN_S": ("arm_kws/CNN_S.pb", ["Mfcc:0"], "arm_kws/mfcc_w640_s320_d10.npz:x[:64]"),
    "DNN_S": ("arm_kws/DNN_S.pb", ["Mfcc:0"], "arm_kws/mfcc_w640_s640_d10.npz:x[:64]"),
    "kwt1": ("kwt1/kwt1.pb", None, "kwt1/features_98x40.npz:x[:64]"),
}
DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits"
ROUNDS = 7


def float_file(graph) -> bytes:
    """The float model through the converter, nothing quantized."""
    import tensorflow as tf

    function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph.graph_def(), name=""), [])
    ends = [[function.graph.as_graph_element(tensor) for tensor in group] for group in (graph.inputs, graph.outputs)]
    return tf.lite.TFLiteConverter.from_concrete_functions([function.prune(*ends)], None).convert()


def milliseconds(contents: list[bytes], threads: int) -> list[float]:
    """Median time of one sample, the files taking turns."""
    import tensorflow as tf

    interpreters = []
    for content in contents:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        detail = interpreter.get_input_details()[0]
        interpreter.resize_tensor_input(detail["index"], [1, *detail["shape"][1:]])
        interpreter.allocate_tensors()
        values = np.random.default_rng(0).normal(0, 1, [1, *detail["shape"][1:]]).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], values)
        interpreter.invoke()
        interpreters.append(interpreter)
    times = [[] for _ in contents]
    for _ in range(ROUNDS):
        for interpreter, found in zip(interpreters, times, strict=True):
            repeats, start = 0, time.perf_counter()
            while time.perf_counter() - start < 0.2:
                interpreter.invoke()
                repeats += 1
            found.append((time.perf_counter() - start) / repeats * 1000)
    return [float(np.median(found)) for found in times]


def main() -> None:
    """Print one row per model, and the operators of its file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, (model, inputs, data) in CASES.items():
        path = DIGITS / "digits.pb" if model is None else options.shared / "real" / model
        config = "batch_num: 64" if inputs else "batch_num: 4"
        source = str(DIGITS / "calibration.npz" if data is None else options.shared / "real" / data)
        result = calibrant.quantize(path, config, source, inputs=inputs, export="tflite")
        content = next(value for key, value in result.exported.items() if key.endswith(".tflite"))
        plain = float_file(load(path, inputs))
        operators = list(File(content).operators())
        kinds = Counter(f"{entry.name}{'' if entry.is_integer else ' (float)'}" for entry in operators)
        rows.append((name, len(plain), len(content), *milliseconds([plain, content], options.threads)))
        print(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    print(f"\n{'model':10} {'float B':>10} {'int8 B':>10} {'ratio':>6} {'float ms':>9} {'int8 ms':>9}")
    for name, before, after, slow, quick in rows:
        print(f"{name:10} {before:10} {after:10} {after / before:6.2f} {slow:9.3f} {quick:9.3f}")


if __name__ == "__main__":
    main()
