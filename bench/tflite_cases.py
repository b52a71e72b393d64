"""The networks whose LiteRT files are measured, with data for each: four groups of models, and single operators."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from more_networks import MORE
from networks import APPLICATIONS, MODERN, application, enliven

SAMPLES = 8
OPERATOR_SAMPLES = 16
OPEN_SIZE = 64
INTEGERS_BELOW = 20
WILD: Mapping[str, Mapping[str, Any]] = {
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
    "tinymaix_mnist_dw.h5": {"range": (0, 1), "samples": 64},
    "tinymaix_mnist_resnet.h5": {"range": (0, 1), "samples": 64},
    "utensor_buggy.pb": {"constants": {"keep_prob": 1.0}},
    "utensor_cifar10_cnn.pb": {},
    "vww_96.h5": {},
    "basic_pitch": {},
}
REAL: Mapping[str, Mapping[str, Any]] = {
    "resnet8_cifar10/resnet8.pb": {"data": "resnet8_cifar10/cifar10_part.npz:x_calibration"},
    "ds_cnn_kws/ds_cnn.pb": {"data": "ds_cnn_kws/mfcc.npz:x"},
    "arm_kws/DS_CNN_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s320_d10.npz:x"},
    "arm_kws/CNN_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s320_d10.npz:x"},
    "arm_kws/DNN_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s640_d10.npz:x"},
    "arm_kws/LSTM_S.pb": {"inputs": ["Mfcc:0"], "data": "arm_kws/mfcc_w640_s640_d10.npz:x"},
    "kwt1/kwt1.pb": {"data": "kwt1/features_98x40.npz:x"},
    "mnist/fc_layers.pb": {"range": (0, 1)},
    "autoencoder/ad01.pb": {},
    "autoencoder/ad01.h5": {},
    "wake_word/wake_word.pb": {"data": "wake_word/calibration_samples.npz:specs"},
}
OPERATORS = "cases/17_tflite_ops_matrix.py"
"""Where the table ``OPS`` of operators is: name → what makes of a Keras tensor another one."""
PLACES = ("mid", "end")
ONE_SAMPLE = frozenset({"detector"})
GROUPS = ("operators", "applications", "modern", "more", "real", "wild")


@dataclass(frozen=True, eq=False)
class Case:
    """A network to be measured.

    Parameters
    ----------
    model : what ``calibrant.quantize`` takes.
    fed : inputs by name, one sample after the other.
    loading : options with which the model is read.
    fixed : whether its shapes have to be fixed for LiteRT.
    """

    model: Any
    fed: Mapping[str, np.ndarray]
    loading: Mapping[str, Any] = field(default_factory=dict)
    fixed: bool = False


def names(group: str, shared: Path) -> Sequence[str]:
    """The names of a group's networks that are there."""
    if group == "applications":
        return APPLICATIONS
    if group in ("modern", "more"):
        return tuple(MODERN if group == "modern" else MORE)
    if group == "operators":
        return [f"{name}:{place}" for name in _operators(shared) for place in PLACES]
    known = {"wild": WILD, "real": REAL}[group]
    missing = [name for name in known if not (shared / group / name).exists()]
    if missing:
        print(f"{group}: left out, not in {shared / group}: {', '.join(missing)}")
    return [name for name in known if name not in missing]


def case(group: str, name: str, shared: Path, seed: int, count: int = SAMPLES) -> Case:
    """One of them, with so many samples; operators have OPERATOR_SAMPLES."""
    if group == "operators":
        return _operator(name, shared, seed)
    if group in ("real", "wild"):
        return _stored(group, name, shared, count)
    return _keras_network(group, name, seed, count)


def _operators(shared: Path) -> dict[str, Any]:
    """The table of operators, run by itself out of the script that holds it."""
    import keras
    import tensorflow as tf

    path = shared / OPERATORS
    if not path.exists():
        print(f"operators: left out, there is no {path}")
        return {}
    scope = {"np": np, "keras": keras, "tf": tf, "L": keras.layers, "K": keras.ops}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") in ("F", "OPS"):
            exec(compile(ast.Module([statement], []), str(path), "exec"), scope)
    return scope["OPS"]


def _operator(name: str, shared: Path, seed: int) -> Case:
    """An operator after a convolution, and before another one or at the end."""
    import keras
    from keras import layers

    operator, _, place = name.rpartition(":")
    keras.utils.set_random_seed(seed + 1)
    made = _operators(shared)[operator]
    inputs = keras.Input((16, 16, 3))
    result = made(layers.Conv2D(8, 3, padding="same")(inputs))
    model = keras.Model(inputs, layers.Conv2D(4, 1)(result) if place == "mid" else result)
    values = np.random.default_rng(0).normal(size=(OPERATOR_SAMPLES, 16, 16, 3)).astype(np.float32)
    return Case(model, {model.inputs[0].name: values})


def _keras_network(group: str, name: str, seed: int, count: int) -> Case:
    import keras

    from calibrant.graph.reading.load import load

    keras.utils.set_random_seed(seed)
    model = application(name) if group == "applications" else {**MODERN, **MORE}[name]()
    takes_bytes = name.lower().startswith(("mobilenetv3", "mobilenet_v3", "efficientnet", "convnext"))
    fed = samples(load(model), {"range": (0, 255)} if takes_bytes else {}, count)
    by_tensor = dict(zip((tensor.name for tensor in model.inputs), fed.values(), strict=True))
    enliven(model, by_tensor)
    return Case(model, fed, fixed=name in ONE_SAMPLE)


def _stored(group: str, name: str, shared: Path, count: int) -> Case:
    from calibrant.data.input_spec import inputs_of
    from calibrant.data.open_data import open_data
    from calibrant.graph.reading.load import load

    options = {"wild": WILD, "real": REAL}[group][name]
    loading = {key: options[key] for key in ("inputs", "outputs", "constants") if key in options}
    path = shared / group / name
    graph = load(path, **loading)
    if "data" in options:
        batches = list(open_data(f"{shared / group / options['data']}[:{count}]", inputs_of(graph)))
        fed = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    else:
        fed = samples(graph, options, count)
    return Case(path, fed, loading, bool(options.get("fixed")))


def samples(graph: Any, options: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    """Smooth noise, or small whole numbers, for every input."""
    from calibrant.graph.running.run import input_shapes

    random, low_high = np.random.default_rng(0), options.get("range", (-1.0, 1.0))
    count = max(count, options.get("samples", 0))
    fed: dict[str, np.ndarray] = {}
    for key, (shape, dtype) in input_shapes(graph).items():
        shape = (None, *options["shape"]) if shape is None else shape
        rest = [size or options.get("sizes", OPEN_SIZE) for size in shape[1:]]
        if dtype.kind in "iub" and "range" not in options:
            fed[key] = random.integers(0, 2 if dtype.kind == "b" or key == "used" else INTEGERS_BELOW, (count, *rest))
            fed[key] = fed[key].astype(dtype)
            continue
        values = random.normal(0, 1, (count, *rest))
        for axis in range(1, len(rest)):
            values = (values + np.roll(values, 1, axis) + np.roll(values, 2, axis)) / 1.7
        share = (np.clip(values, -3, 3) + 3) / 6
        fed[key] = (low_high[0] + share * (low_high[1] - low_high[0])).astype(dtype)
    return fed
