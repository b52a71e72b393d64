"""Functions of TensorFlow 2 in memory, and SavedModels that only TensorFlow itself can freeze."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf

keras = tf.keras
DATA = numbers(16, 6, 6, 2)
SPEC = tf.TensorSpec([None, 6, 6, 2], name="x")


class Network(tf.Module):
    """A convolution and a constant that is captured."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(numbers(3, 3, 2, 4))
        self.shift = tf.constant(numbers(4))

    @tf.function
    def __call__(self, x):
        """With a constant from outside."""
        return {"y": tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.shift}


def test_a_concrete_function():
    network = Network()
    graph = load(network.__call__.get_concrete_function(SPEC))
    assert (graph.input_keys, graph.output_keys) == (("x",), ("y",))
    np.testing.assert_allclose(run_once(graph, {"x": DATA})[0], network(DATA)["y"], atol=1e-5)
    assert len(quantize(network.__call__.get_concrete_function(SPEC), data=DATA).network.layers) == 1


def test_a_function_with_and_without_a_signature():
    network = Network()
    assert load(tf.function(network.__call__, input_signature=[SPEC])).output_keys == ("y",)
    with pytest.raises(ModelError, match="input_signature"):
        load(network.__call__)


def test_a_model_of_which_a_twin_is_alive(tmp_path):
    keras.Sequential([keras.Input([6, 6, 2]), keras.layers.Conv2D(4, 3)]).export(str(tmp_path / "m"), verbose=False)
    alive = [tf.saved_model.load(str(tmp_path / "m")) for _ in range(2)]
    graph = load(alive[1].signatures["serving_default"])
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: DATA})[0], alive[0].serve(DATA), atol=1e-5)


def normed():
    layers = [keras.Input([6, 6, 2]), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])


class Wrapped(tf.Module):
    """A Keras model inside a module."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[SPEC])
    def __call__(self, x):
        """Inference."""
        return self.model(x, training=False)


@pytest.mark.parametrize("form", ["model", "function", "module", "no signature"])
def test_keras_3_saved_by_tensorflow(form, tmp_path):
    model, folder = normed(), str(tmp_path / "m")
    wrapped = Wrapped(model)
    if form == "model":
        tf.saved_model.save(model, folder)
    elif form == "function":
        function = tf.function(lambda x: {"y": model(x, training=False)}, input_signature=[SPEC])
        tf.saved_model.save(model, folder, signatures=function.get_concrete_function())
    else:
        signatures = {"serving_default": wrapped.__call__.get_concrete_function()} if form == "module" else None
        tf.saved_model.save(wrapped, folder, signatures=signatures)
    graph = load(folder)
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "MatMul"]
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: DATA})[0], model(DATA), atol=1e-5)


@pytest.mark.parametrize("cell", ["Bidirectional", "stacked", "embedded"])
def test_recurrent_layers_of_keras_2(cell, tmp_path):
    keras2 = pytest.importorskip("tf_keras", reason="tf_keras is not installed")
    layers = keras2.layers
    forms = {
        "Bidirectional": [layers.Input([5, 4]), layers.Bidirectional(layers.LSTM(3, return_sequences=True))],
        "stacked": [layers.Input([5, 4]), layers.GRU(3, return_sequences=True), layers.LSTM(3)],
        "embedded": [layers.Input([5]), layers.Embedding(9, 4), layers.LSTM(3, recurrent_dropout=0.2)],
    }
    model = keras2.Sequential([*forms[cell], layers.Dense(2)])
    tf.saved_model.save(model, str(tmp_path / "m"))
    data = np.abs(numbers(2, 5, 4)) if cell != "embedded" else np.array([[1, 2, 3, 4, 5]] * 2, np.float32)
    graph = load(tmp_path / "m")
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: data})[0], model(data), atol=1e-5)


def test_another_tag(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        y = tf.matmul(x, tf.constant(numbers(4, 3)), name="y")
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "m"))
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["mine"], {"serving_default": signature})
        builder.save()
    assert load(tmp_path / "m").output_keys == ("y",)


def test_an_input_is_named_by_its_key_or_its_tensor(tmp_path):
    network = Network()
    tf.saved_model.save(network, str(tmp_path / "m"), network.__call__.get_concrete_function(SPEC))
    for name in ("x", "serving_default_x", "X"):
        assert load(tmp_path / "m", inputs=[name]).inputs == ("serving_default_x:0",)
    for name in ("x", "serving_default_x", "serving_default_x:0"):
        result = quantize(tmp_path / "m", data={name: DATA}, out=tmp_path / "out")
        assert len(result.network.layers) == 1


def test_a_function_that_other_implementations_may_replace():
    """Keras 2 marks its LSTM and GRU so; in a call that is left, nothing can be observed."""
    kernel = tf.constant(numbers(2, 4))

    @tf.function(experimental_attributes={"api_implements": "dense_by_hand", "api_preferred_device": "CPU"})
    def product(x):
        return tf.matmul(x, kernel)

    model = tf.function(lambda x: tf.nn.relu(product(x)), input_signature=[tf.TensorSpec([None, 2], name="x")])
    graph = load(model)
    assert [layer.type for layer in find_layers(graph)[0]] == ["MatMul"]
    assert not any(node.op.endswith("PartitionedCall") for node in graph.nodes.values())
    x = numbers(5, 2)
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: x})[0], model(x), atol=1e-6)
