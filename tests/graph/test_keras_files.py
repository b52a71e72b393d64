"""Keras files: of which Keras, and what is said of those that cannot be read."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.load import load
from calibrant.graph.run import run_once
from graphs import numbers, tf

keras = tf.keras


@pytest.fixture
def keras2():
    """The module; the test is skipped where it is not installed."""
    return pytest.importorskip("tf_keras", reason="tf_keras, which reads Keras 2 files, is not installed")


def layers_of_keras_2(keras2):
    layers = keras2.layers
    x = keras2.Input([8, 8, 3], name="x")
    y = layers.DepthwiseConv2D(3, name="block/depthwise")(x)
    y = layers.SpatialDropout2D(0.1)(layers.BatchNormalization()(y))
    y = tf.nn.relu(y) * 2.0 + 0.5
    return keras2.Model(x, [layers.Dense(3, name="a/b")(layers.LSTM(4)(layers.Reshape([6, 18])(y))), y])


@pytest.mark.parametrize("suffix", ["h5", "keras", "memory"])
def test_keras_2(keras2, suffix, tmp_path):
    model = layers_of_keras_2(keras2)
    path = tmp_path / f"m.{suffix}"
    if suffix != "memory":
        model.save(path)
    graph = load(model if suffix == "memory" else path)
    assert [layer.type for layer in find_layers(graph)[0]][:1] == ["DepthwiseConv2dNative"]
    data = numbers(2, 8, 8, 3)
    for found, wanted in zip(run_once(graph, {"x": data}), model(data, training=False), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_layer_norm_of_keras_2_is_no_batch_norm(keras2):
    x = keras2.Input([5, 6], name="x")
    model = keras2.Model(x, keras2.layers.Dense(3)(keras2.layers.LayerNormalization()(x)))
    graph = load(model)
    assert any(node.op == "FusedBatchNormV3" for node in graph.nodes.values())
    data = numbers(3, 5, 6)
    together = run_once(graph, {"x": data})[0]
    np.testing.assert_allclose(together, model(data), atol=1e-5)
    np.testing.assert_allclose(run_once(graph, {"x": data[1:2]})[0], together[1:2], atol=1e-5)


def test_keras_2_without_tf_keras_names_it(keras2, tmp_path, monkeypatch):
    layers_of_keras_2(keras2).save(tmp_path / "m.h5")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ModelError, match="tf_keras"):
        load(tmp_path / "m.h5")


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_custom_objects_are_named(suffix, tmp_path):
    class ImplicitA(keras.layers.Layer):
        def call(self, x):
            return x + 1.0

    x = keras.Input([4])
    keras.Model(x, keras.layers.Dense(3)(ImplicitA()(x))).save(tmp_path / f"m.{suffix}")
    with pytest.raises(ModelError, match="needs custom objects: ImplicitA"):
        load(tmp_path / f"m.{suffix}")


def test_a_lambda_layer_is_not_run(tmp_path):
    x = keras.Input([4])
    keras.Model(x, keras.layers.Lambda(lambda y: y + 1.0)(x)).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="Lambda") as caught:
        load(tmp_path / "m.keras")
    assert "--trust-model" in str(caught.value)
    assert len(load(tmp_path / "m.keras", trust_model=True).outputs) == 1


def test_weights_only(tmp_path):
    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(3, name="dense")])
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ModelError, match="holds weights only, not a model"):
        load(tmp_path / "m.weights.h5")


def test_a_litert_file_is_called_what_it_is(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    with pytest.raises(ModelError, match="is a LiteRT"):
        load(tmp_path / "m.tflite")
