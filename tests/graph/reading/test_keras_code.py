"""What files of Keras 2 and HDF5 would run on loading is not run unasked."""

from __future__ import annotations

import json

import h5py
import pytest

from calibrant.errors import ModelError
from calibrant.graph.reading.keras_code import what_runs
from calibrant.graph.reading.load import load
from graphs import tf


def with_lambda(keras2, where, mark):
    """A model whose Lambda layer leaves a mark when it is called, as it is on loading."""
    layers = keras2.layers

    runs = layers.Lambda(lambda y, mark=mark: (__import__("pathlib").Path(mark).touch(), y)[1])
    x = keras2.Input([5, 4], name="x")
    if where == "nested":
        inner = keras2.Sequential([keras2.Input([5, 4]), keras2.Sequential([keras2.Input([5, 4]), runs])])
        return keras2.Model(x, layers.Dense(3)(inner(x)))
    return keras2.Model(x, layers.Dense(3)(layers.TimeDistributed(runs)(x) if where == "wrapped" else runs(x)))


@pytest.mark.parametrize("where", ["plain", "nested", "wrapped"])
@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_lambda_layers_are_not_run(keras2, where, suffix, tmp_path):
    path, mark = tmp_path / f"m.{suffix}", tmp_path / "mark"
    with_lambda(keras2, where, str(mark)).save(path)
    mark.unlink()
    with pytest.raises(ModelError, match=r"has a Lambda layer[^\n]*\n.*--trust-model"):
        load(path)
    assert not mark.exists()
    assert len(load(path, trust_model=True).outputs) == 1
    assert mark.exists()


def test_a_lambda_layer_in_hdf5_of_keras_3(tmp_path):
    keras = tf.keras
    x = keras.Input([4])
    keras.Model(x, keras.layers.Lambda(lambda y: y + 1.0)(x)).save(tmp_path / "m.h5")
    with pytest.raises(ModelError, match="has a Lambda layer"):
        load(tmp_path / "m.h5")


def test_a_function_that_a_layer_calls_on_loading(keras2, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "m.h5"
    victim.touch()
    x = keras2.Input([4], name="x")
    keras2.Model(x, tf.add(keras2.layers.Dense(3)(x), 1.0)).save(path)
    assert len(load(path).outputs) == 1
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        removes = {"name": "r", "trainable": True, "dtype": "float32", "function": "io.gfile.remove"}
        called = [["_CONSTANT_VALUE", -1, str(victim), {}]]
        model["config"]["layers"].append(
            {"class_name": "TFOpLambda", "config": removes, "name": "r", "inbound_nodes": called}
        )
        file.attrs["model_config"] = json.dumps(model).encode()
    with pytest.raises(ModelError, match=r"calls tf.io.gfile.remove on loading[^\n]*\n.*--trust-model"):
        load(path)
    assert victim.exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"class_name": "ResidualWrapper", "config": {"residual_fn_type": "lambda", "residual_fn": ["…"]}},
        {"class_name": "TFOpLambda", "config": {"function": "load_op_library"}},
        {"class_name": "SlicingOpLambda", "config": {"function": "compat.v1.write_file"}},
        {"class_name": "ClassMethod", "config": {"cls_symbol": "io.gfile.GFile", "method_name": "write"}},
        {"class_name": "InstanceMethod", "config": {"attr_name": "__class__"}},
        {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"},
        {"class_name": "function", "module": "builtins", "config": "exec", "registered_name": "exec"},
        {"class_name": "get_file", "module": "keras.utils", "config": {}, "registered_name": None},
        {"class_name": "X", "module": "os", "config": {}, "registered_name": "system"},
        {"class_name": "__lambda__", "config": {"value": "…"}},
    ],
    ids=lambda entry: entry["class_name"],
)
def test_what_is_refused(entry):
    assert what_runs({"config": {"layers": [{"cell": [entry]}]}}, ()) is not None


@pytest.mark.parametrize(
    "entry",
    [
        {"class_name": "TFOpLambda", "config": {"function": "math.is_finite"}},
        {"class_name": "TFOpLambda", "config": {"function": "meshgrid"}},
        {"class_name": "TFOpLambda", "config": {"function": "compat.v1.expand_dims"}},
        {"class_name": "SlicingOpLambda", "config": {"function": "__operators__.getitem"}},
        {"class_name": "ClassMethod", "config": {"cls_symbol": "RaggedTensor", "method_name": "from_row_lengths"}},
        {"class_name": "InstanceProperty", "config": {"attr_name": "flat_values"}},
        {"class_name": "function", "module": "builtins", "config": "relu", "registered_name": "function"},
        {"class_name": "function", "module": "mine", "config": "mine>own", "registered_name": "function"},
        {"class_name": "Own", "module": "mine.layers", "config": {}, "registered_name": "mine>Own"},
        {"class_name": "GlorotUniform", "module": "keras.initializers", "config": {}, "registered_name": None},
    ],
    ids=lambda entry: entry["class_name"],
)
def test_what_is_not(entry):
    assert what_runs({"config": {"layers": [{"cell": [entry]}]}}, {"mine>own"}) is None
