"""Keras files: of which Keras, and what is said of those that cannot be read."""

from __future__ import annotations

import inspect
import random
import re
import subprocess
import sys
import threading
import zipfile

import h5py
import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.keras_bounds import weights_bounded
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf

keras = tf.keras


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


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_all_custom_objects_are_named_and_the_hint_works(suffix, tmp_path):
    @keras.utils.register_keras_serializable("own")
    class Registered(keras.layers.Layer):
        def call(self, x):
            return x * 2.0

    class Plain(keras.layers.Layer):
        def call(self, x):
            return x + 1.0

    class Metric(keras.metrics.MeanSquaredError):
        pass

    x = keras.Input([4], name="x")
    inner = keras.Sequential([keras.Input([3]), Plain()])
    model = keras.Model(x, inner(keras.layers.Dense(3)(Registered()(x))))
    model.compile("adam", "mse", metrics=[Metric()])
    model.save(tmp_path / f"m.{suffix}")
    registered = keras.utils.get_custom_objects()
    name, _ = "own>Registered", registered.pop("own>Registered")
    with pytest.raises(ModelError, match="needs custom objects: ") as caught:
        load(tmp_path / f"m.{suffix}")
    if suffix == "h5":
        name = "Registered" if "own>Registered" not in str(caught.value) else name
    assert f"needs custom objects: {name}, Plain\n" in str(caught.value)
    told = re.search(r"keras\.models\.(load_model\(.*compile=False\))", str(caught.value))[1]
    given = told.replace("FILE", repr(str(tmp_path / f"m.{suffix}")))
    for key, kind in ((name, "Registered"), ("Plain", "Plain")):
        given = given.replace(f"'{key}': ...", f"'{key}': {kind}")
    loaded = eval(given, {"load_model": keras.models.load_model, "Registered": Registered, "Plain": Plain})
    data = numbers(2, 4)
    np.testing.assert_allclose(loaded(data), model(data))


def test_operations_of_keras_in_hdf5(tmp_path):
    ops, layers = keras.ops, keras.layers
    x = keras.Input([4], name="x")
    y = layers.Dense(3)(x)
    z = ops.concatenate([ops.cos(y), y + 0.5, layers.Add()([y, y])], axis=-1)
    z = layers.Concatenate(axis=1)([z, ops.softmax(z, axis=1), layers.Softmax()(z), ops.reshape(y, [-1, 3])])
    model = keras.Model(x, layers.Dense(2)(z[:, 1:]))
    model.save(tmp_path / "m.h5")
    data = numbers(5, 4)
    np.testing.assert_allclose(run_once(load(tmp_path / "m.h5"), {"x": data})[0], model(data), atol=1e-6)


def test_a_layer_of_others_with_the_name_of_an_operation(tmp_path):
    class Cos(keras.layers.Layer):
        def call(self, x):
            return x + 1.0

    x = keras.Input([4])
    keras.Model(x, keras.layers.Dense(3)(Cos()(x))).save(tmp_path / "m.h5")
    with pytest.raises(ModelError, match="needs custom objects: Cos"):
        load(tmp_path / "m.h5")


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_classes_that_only_keras_2_has(suffix, keras2, tmp_path, monkeypatch):
    x = keras2.Input([4], name="x")
    keras2.Model(x, keras2.layers.ThresholdedReLU(0.5)(x)).save(tmp_path / f"m.{suffix}")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ModelError, match="tf_keras==") as caught:
        load(tmp_path / f"m.{suffix}")
    assert "custom objects" not in str(caught.value)


def test_an_activation_without_a_name_is_a_custom_object(tmp_path):
    x = keras.Input([4])
    keras.Model(x, keras.layers.Dense(3, activation="relu")(x)).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"relu"', '"<lambda>"')
    with pytest.raises(ModelError, match="needs custom objects: <lambda>") as caught:
        load(tmp_path / "m.h5")
    assert "keras.models.load_model(FILE, custom_objects={'<lambda>': ...}, compile=False)" in str(caught.value)


def test_a_name_that_keras_does_not_take_is_said_without_its_configuration(tmp_path):
    x = keras.Input([4], name="x")
    keras.Model(x, keras.layers.Dense(3)(x)).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"x"', '"a/x"')
    with pytest.raises(ModelError, match="cannot contain character `/`") as caught:
        load(tmp_path / "m.h5")
    assert "config=" not in str(caught.value)


def test_a_lambda_layer_is_not_run(tmp_path):
    x = keras.Input([4])
    keras.Model(x, keras.layers.Lambda(lambda y: y + 1.0)(x)).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="Lambda") as caught:
        load(tmp_path / "m.keras")
    assert "--trust-model" in str(caught.value)
    assert len(load(tmp_path / "m.keras", trust_model=True).outputs) == 1


def test_a_layer_that_loads_another_model_is_not_run(tmp_path):
    inner = keras.Model(x := keras.Input([4]), keras.layers.Dense(3)(x))
    inner.export(tmp_path / "inner", verbose=False)
    x = keras.Input([4])
    keras.Model(x, keras.layers.TFSMLayer(str(tmp_path / "inner"), "serve")(x)).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="TFSMLayer") as caught:
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


@pytest.mark.parametrize(
    ("written", "read", "layer"),
    [
        ('"units": 7', '"units": 700000000', "wide"),
        ('"input_dim": 77', '"input_dim": 1000000000', "table"),
        ('"units": 3', '"units": 30000', "lstm_cell"),
    ],
)
def test_layers_of_more_weights_than_the_file_can_hold_are_not_made(written, read, layer, tmp_path):
    x = keras.Input([5], dtype="int32")
    y = keras.layers.LSTM(3)(keras.layers.Embedding(77, 6, name="table")(x))
    keras.Model(x, keras.layers.Dense(7, name="wide")(y)).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = parts["config.json"].decode()
    assert written in config
    with zipfile.ZipFile(tmp_path / "large.keras", "w") as archive:
        for name, part in {**parts, "config.json": config.replace(written, read).encode()}.items():
            archive.writestr(name, part)
    made = keras.layers.Layer.add_weight
    with pytest.raises(
        ModelError, match=rf"describes layers whose weights take [\d,]+ bytes up to '{layer}\w*', but has"
    ):
        load(tmp_path / "large.keras")
    assert keras.layers.Layer.add_weight is made
    assert len(find_layers(load(tmp_path / "m.keras"))[0]) >= 1


def test_a_chain_deeper_than_python_calls(tmp_path):
    """Keras calls itself for each layer of a chain."""
    before = sys.getrecursionlimit()
    x = y = keras.Input([4], name="x")
    for layer in [keras.layers.Dense(2), *(keras.layers.ReLU() for _ in range(160))]:
        y = layer(y)
    keras.Model(x, y).save(tmp_path / "m.keras")
    low = len(inspect.stack(0)) + 150
    sys.setrecursionlimit(low)
    try:
        assert len(load(tmp_path / "m.keras").nodes) > 160
        assert sys.getrecursionlimit() == low
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("description", ["5", "[]", "null"])
def test_a_description_that_is_no_object(description, tmp_path):
    keras.Sequential([keras.Input([4]), keras.layers.Dense(2)]).save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "m.keras", "w") as damaged:
        for name in whole.namelist():
            damaged.writestr(name, description if name == "config.json" else whole.read(name))
    with pytest.raises(ModelError, match="is no JSON object"):
        load(tmp_path / "m.keras")


@pytest.mark.parametrize("description", [3, np.zeros(3)])
def test_a_description_that_is_no_text(description, tmp_path):
    keras.Sequential([keras.Input([4]), keras.layers.Dense(2)]).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as content:
        content.attrs["model_config"] = description
    with pytest.raises(ModelError, match="is no text"):
        load(tmp_path / "m.h5")


@pytest.mark.parametrize(
    "setting",
    [
        "tf.compat.v1.disable_v2_behavior()",
        "tf.compat.v1.disable_eager_execution()",
        "tf.Graph().as_default().__enter__()",
    ],
)
def test_where_operations_do_not_run_at_once(setting, tmp_path):
    model = keras.Sequential([keras.Input([6, 4], name="x"), keras.layers.LSTM(3), keras.layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    script = (
        f"import tensorflow as tf; {setting}; "
        "from calibrant.graph.reading.load import load; print(load('m.keras').inputs)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "('x:0',)", done.stderr


def test_weights_that_another_thread_makes_are_not_counted():
    with weights_bounded(keras, 10):
        thread = threading.Thread(target=keras.layers.Dense(1000).build, args=((None, 1000),))
        thread.start()
        thread.join()
        layer = keras.layers.Dense(1000)
        with pytest.raises(ValueError, match="describes layers whose weights take"):
            layer.build((None, 1_000_000_000))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_callers_random_numbers_stay_the_same(tmp_path, suffix):
    layers = [keras.layers.Input([4]), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
    keras.Sequential(layers).save(tmp_path / f"m.{suffix}")
    before = random.getstate(), np.random.get_state()[1].tolist()
    load(tmp_path / f"m.{suffix}")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
