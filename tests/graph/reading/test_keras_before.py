"""What files of earlier versions of Keras meant."""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import pytest

from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf

keras = tf.keras


@pytest.fixture
def without_keras_2(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)


def without_reset_after(value):
    if isinstance(value, dict):
        kept = {key: without_reset_after(part) for key, part in value.items() if key != "reset_after"}
        return {key: part for key, part in kept.items() if key != "time_major"}
    return [without_reset_after(part) for part in value] if isinstance(value, list) else value


def write_before(model, path, version="2.0.8", backend="tensorflow"):
    """As Keras wrote the model before 2.1.3."""
    model.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(without_reset_after(json.loads(file.attrs["model_config"])))
        for part in (file, file["model_weights"]):
            part.attrs["keras_version"], part.attrs["backend"] = version, backend


def recurrent(layers, use_bias):
    def cell(units):
        return layers.GRUCell(units, use_bias=use_bias, reset_after=False)

    return {
        "layer": layers.GRU(6, use_bias=use_bias, reset_after=False, recurrent_activation="hard_sigmoid"),
        "both ways": layers.Bidirectional(layers.GRU(6, use_bias=use_bias, reset_after=False)),
        "cells": layers.RNN([cell(6), cell(5)]),
    }


@pytest.mark.parametrize("kind", ["layer", "both ways", "cells"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_gru_that_does_not_say_reset_after(kind, use_bias, keras2, tmp_path):
    x = keras2.Input([7, 3], name="x")
    model = keras2.Model(x, keras2.layers.Dense(4)(recurrent(keras2.layers, use_bias)[kind](x)))
    own = keras2.layers.GRU.__dict__.get("from_config")
    write_before(model, tmp_path / "m.h5")
    data = numbers(5, 7, 3)
    np.testing.assert_allclose(run_once(load(tmp_path / "m.h5"), {"x": data})[0], model(data), atol=1e-5)
    assert keras2.layers.GRU.__dict__.get("from_config") is own
    assert keras2.layers.GRU(2).reset_after


@pytest.mark.parametrize("kind", ["layer", "both ways", "cells"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.usefixtures("without_keras_2")
def test_a_gru_that_does_not_say_reset_after_without_keras_2(kind, use_bias, monkeypatch, tmp_path):
    then = keras.activations.hard_sigmoid.__globals__["ops"]
    monkeypatch.setattr(then, "hard_sigmoid", lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1))
    x = keras.Input([7, 3], name="x")
    model = keras.Model(x, keras.layers.Dense(4)(recurrent(keras.layers, use_bias)[kind](x)))
    write_before(model, tmp_path / "m.h5")
    data = numbers(5, 7, 3)
    np.testing.assert_allclose(run_once(load(tmp_path / "m.h5"), {"x": data})[0], model(data), atol=1e-5)
    assert keras.layers.GRU(2).reset_after


def test_hard_sigmoid_without_keras_2(keras2, monkeypatch, tmp_path):
    x = keras2.Input([6], name="x")
    y = keras2.layers.Dense(5, activation="hard_sigmoid")(keras2.layers.Activation("hard_sigmoid")(x))
    model = keras2.Model(x, y)
    model.save(tmp_path / "m.h5")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    data = numbers(4, 6) * 3
    np.testing.assert_allclose(run_once(load(tmp_path / "m.h5"), {"x": data})[0], model(data), atol=1e-6)


@pytest.mark.usefixtures("without_keras_2")
def test_hard_sigmoid_of_either_version(tmp_path):
    x = keras.Input([6], name="x")
    model = keras.Model(x, keras.layers.Activation("hard_sigmoid")(x))
    model.save(tmp_path / "now.h5")
    write_before(model, tmp_path / "then.h5")
    data = numbers(4, 6) * 3
    then, now = (run_once(load(tmp_path / f"{when}.h5"), {"x": data})[0] for when in ("then", "now"))
    np.testing.assert_allclose(then, np.clip(0.2 * data + 0.5, 0, 1), atol=1e-6)
    np.testing.assert_allclose(now, np.clip(data / 6 + 0.5, 0, 1), atol=1e-6)


def convolutions(layers):
    return [
        layers.Conv2D(3, (3, 2), use_bias=True),
        layers.SeparableConv2D(3, 3),
        layers.DepthwiseConv2D(3),
        layers.Conv2DTranspose(2, 3),
        layers.TimeDistributed(layers.Conv1D(2, 3)),
    ]


@pytest.mark.usefixtures("without_keras_2")
def test_kernels_of_theano(tmp_path):
    x = y = keras.Input([11, 12, 2], name="x")
    for layer in convolutions(keras.layers):
        y = layer(y)
    z = keras.layers.ConvLSTM2D(2, (3, 2))(keras.layers.Reshape([7, 7, 2, 1])(y))
    model = keras.Model(x, z)
    data = numbers(2, 11, 12, 2)
    wanted = model(data).numpy()
    for layer in model._flatten_layers():
        if type(layer).__name__ in ("Conv1D", "Conv2D", "Conv2DTranspose"):
            layer.kernel.assign(np.flip(layer.kernel.numpy(), range(layer.kernel.ndim - 2)))
        if type(layer).__name__ == "ConvLSTM2D":
            for kernel in (layer.cell.kernel, layer.cell.recurrent_kernel):
                kernel.assign(np.flip(kernel.numpy(), (0, 1)))
    write_before(model, tmp_path / "m.h5", backend="theano")
    np.testing.assert_allclose(run_once(load(tmp_path / "m.h5"), {"x": data})[0], wanted, atol=1e-5)
