"""Keras models, in memory and in files."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.load import load
from calibrant.graph.run import input_shapes, run_once
from graphs import numbers, tf

keras = tf.keras
DATA = numbers(16, 6, 6, 2)


def small(name="image"):
    """Convolution, norm, dense."""
    x = keras.Input([6, 6, 2], name=name)
    y = keras.layers.Conv2D(4, 3, padding="same", name="conv", use_bias=False)(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(y))
    y = keras.layers.Dropout(0.5)(keras.layers.AveragePooling2D(2)(y))
    return keras.Model(x, keras.layers.Dense(3, name="dense")(keras.layers.Flatten()(y)))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return small()


def test_a_model_in_memory(model):
    graph = load(model)
    assert graph.input_keys == ("image",)
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "AvgPool", "MatMul"]
    assert input_shapes(graph)["image"] == ((None, 6, 6, 2), np.dtype(np.float32))
    np.testing.assert_allclose(run_once(graph, {"image": DATA})[0], model(DATA, training=False), atol=1e-5)
    result = quantize(model, data=DATA)
    assert len(result.network.layers) == 3 and len(result.folded.fusions) >= 1
    assert result.name == "model"


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(model, suffix, tmp_path):
    model.save(tmp_path / f"small.{suffix}")
    graph = load(tmp_path / f"small.{suffix}")
    np.testing.assert_allclose(run_once(graph, {"image": DATA})[0], model(DATA, training=False), atol=1e-5)


def test_the_same_model_gives_the_same_bytes(model):
    first, second = (load(model).graph_def().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_inner_tensors_by_name(model):
    graph = load(model)
    conv = next(name for name, node in graph.nodes.items() if node.op == "Conv2D")
    assert load(model, outputs=[conv]).outputs == (f"{conv}:0",)
    assert [layer.type for layer in find_layers(load(model, inputs=[conv]))[0]] == ["AvgPool", "MatMul"]


def two_by_two(form):
    """Two inputs and two outputs, whose names are not in alphabetical order."""
    b, a = keras.Input([3], name="b"), keras.Input([4], name="a")
    left, right = keras.layers.Dense(2, name="z")(b), keras.layers.Dense(5, name="y")(a)
    if form == "dicts":
        return keras.Model({"b": b, "a": a}, {"z": left, "y": right})
    return keras.Model([b, a], [left, right])


@pytest.mark.parametrize("form", ["lists", "dicts"])
@pytest.mark.parametrize("saved", [False, True])
def test_several_inputs_and_outputs(form, saved, tmp_path):
    model = two_by_two(form)
    data = {"b": numbers(16, 3), "a": numbers(16, 4)}
    expected = model(data if form == "dicts" else [data["b"], data["a"]])
    named = expected if form == "dicts" else dict(zip("zy", expected, strict=True))
    if saved:
        model.save(tmp_path / "model.keras")
        model = tmp_path / "model.keras"
    graph = load(model)
    assert sorted(graph.input_keys) == ["a", "b"]
    assert sorted(graph.output_keys) == ["y", "z"]
    for key, value in zip(graph.output_keys, run_once(graph, data), strict=True):
        np.testing.assert_allclose(value, named[key], atol=1e-5)
    assert len(quantize(model, data=data).network.layers) == 2


def test_a_sequential_model_built_and_not():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    with pytest.raises(ModelError, match="call it once"):
        load(model)
    model(DATA)
    assert [layer.type for layer in find_layers(load(model))[0]] == ["Conv2D", "MatMul"]


def test_a_subclassed_model_says_what_to_do(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(numbers(2, 4))
    with pytest.raises(ModelError, match="export"):
        load(model)
    model.export(str(tmp_path / "own"), verbose=False)
    assert [layer.type for layer in find_layers(load(tmp_path / "own"))[0]] == ["MatMul"]


def test_a_model_that_cannot_be_run_is_named():
    class Broken(keras.layers.Layer):
        def call(self, x, training=None):
            if training is False:
                raise RuntimeError("not made for inference")
            return x

    x = keras.Input([4])
    with pytest.raises(ModelError, match="not made for inference"):
        load(keras.Model(x, Broken()(x)))


def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = small("mixed")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    result = quantize(model, data=DATA)
    assert {layer.layer.type for layer in result.network.layers} == {"Conv2D", "MatMul"}
    assert any(entry["type"] == "AvgPool" for entry in result.report["left_in_float"])
    before, after = (run_once(graph, {"mixed": DATA})[0] for graph in (result.original, result.fakequant))
    np.testing.assert_allclose(before.astype(np.float32), after.astype(np.float32), atol=0.2)


def test_recurrent_layers_are_reported():
    x = keras.Input([5, 3])
    model = keras.Model(x, keras.layers.Dense(2, name="last")(keras.layers.GRU(4, unroll=False)(x)))
    result = quantize(model, data=numbers(16, 5, 3))
    assert [layer.layer.type for layer in result.network.layers][-1] == "MatMul"
    assert any("inside" in entry["reason"] for entry in result.report["left_in_float"])
