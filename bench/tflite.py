"""Size, latency and operators of INT8 LiteRT files beside the float ones that the same converter makes.

    python bench/tflite.py [--shared ../shared] [--threads 1] [--only resnet8,ds_cnn] [--operators]

The two files of a model take turns on one interpreter each, one sample a run; a time is that of the fastest of 9
rounds. With ``--operators`` every operator is listed with the types that it reads and makes, and the quantized layer
that it runs. Models that are not in the shared folder are left out.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from latency import milliseconds

import calibrant
from calibrant.cli.show import table
from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.reading.load import load

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


def float_file(graph) -> bytes:
    """The float model through the converter, nothing quantized."""
    import tensorflow as tf

    function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph.graph_def(), name=""), [])
    ends = [[function.graph.as_graph_element(tensor) for tensor in group] for group in (graph.inputs, graph.outputs)]
    return tf.lite.TFLiteConverter.from_concrete_functions([function.prune(*ends)], None).convert()


def types_of(operator: Operator) -> tuple[str, str]:
    """What an operator reads and makes, shapes and axes left out."""
    return tuple(
        " × ".join(_type(tensor) for tensor in tensors if tensor is not None and _is_data(tensor))
        for tensors in (operator.inputs, operator.outputs)
    )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype) if tensor.dtype is not None else "other"


def _is_data(tensor: Tensor) -> bool:
    return tensor.scale.size > 0 or (tensor.dtype is not None and tensor.dtype.kind == "f")


def layers_by_tensor(file: File, result: calibrant.Result) -> dict[int, str]:
    """Index of the tensor that an operator makes → the quantized layer it runs, by the node map."""
    content = next(value for key, value in result.exported.items() if key.endswith("_int8_quant.json"))
    names = {each.outputs[0].name: each.outputs[0].index for each in file.operators()}
    layers = {layer.layer.name for layer in result.network.layers}
    found: dict[int, str] = {}
    for entry in json.loads(content)["graph"][0]["op"]:
        stands_for = [name for attribute in entry["attr"] for name in attribute["value"]["list"]["s"]]
        for name in layers.intersection(stands_for):
            if entry["name"] in names:
                found[names[entry["name"]]] = name
    return found


def main() -> None:
    """Print one row per model, and the operators of its file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(CASES), help="models, separated by commas")
    parser.add_argument("--operators", action="store_true", help="list every operator of each file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in options.only.split(","):
        model, inputs, data = CASES[name]
        path = DIGITS / "digits.pb" if model is None else options.shared / "real" / model
        if not path.exists():
            print(f"{name}: left out, there is no {path}")
            continue
        config = "batch_num: 64" if inputs else "batch_num: 4"
        source = str(DIGITS / "calibration.npz" if data is None else options.shared / "real" / data)
        result = calibrant.quantize(path, config, source, inputs=inputs, export="tflite")
        content = next(value for key, value in result.exported.items() if key.endswith(".tflite"))
        plain = float_file(load(path, inputs))
        file = File(content)
        layers = layers_by_tensor(file, result)
        operators = list(file.operators())
        if options.operators:
            listed = [(each.name, *types_of(each), layers.get(each.outputs[0].index)) for each in operators]
            table(f"{name}: operators", ("operator", "reads", "makes", "quantized layer"), listed)
        kinds = Counter(f"{each.name}{'' if each.is_integer else ' (float)'}" for each in operators)
        print(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
        integer = sum(each.is_integer for each in operators if each.outputs[0].index in layers)
        fed = [np.random.default_rng(0).normal(0, 1, (1, *file.inputs()[0].shape[1:])).astype(np.float32)]
        slow, quick = milliseconds([plain, content], fed, options.threads)
        sizes = (len(plain), len(content), f"{len(content) / len(plain):.2f}")
        rows.append(
            (
                name,
                f"{integer} of {len(result.network.layers)}",
                *sizes,
                f"{slow:.3f}",
                f"{quick:.3f}",
                f"{slow / quick:.2f}",
            )
        )
    columns = ("model", "layers on int8 kernels", "float B", "int8 B", "ratio", "float ms", "int8 ms", "times faster")
    table(f"one sample, {options.threads} thread", columns, rows)


if __name__ == "__main__":
    main()
