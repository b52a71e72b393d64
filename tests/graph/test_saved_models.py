"""SavedModel folders: signatures, variables, what was saved along."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.load import load
from calibrant.graph.run import run_once
from graphs import numbers, tf, v1

DATA = numbers(16, 6, 6, 2)


class Network(tf.Module):
    """Two signatures on one set of variables."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(numbers(3, 3, 2, 4, seed=1), name="kernel")
        self.dense = tf.Variable(numbers(144, 3, seed=2), name="dense")

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 2], name="image")])
    def features(self, image):
        """Features only."""
        return {"features": tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME", name="conv"))}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 6, 6, 2], name="image"), tf.TensorSpec([None], tf.int32, name="unused")]
    )
    def classify(self, image, unused):
        """Logits and the class; one input leads nowhere."""
        flat = tf.reshape(self.features(image)["features"], [-1, 144])
        logits = tf.matmul(flat, self.dense, name="logits")
        return {"logits": logits, "class": tf.argmax(logits, -1)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    network = Network()
    tf.saved_model.save(network, str(folder / "several"), {"one": network.features, "two": network.classify})
    tf.saved_model.save(network, str(folder / "default"), network.features)
    tf.saved_model.save(network, str(folder / "none"))
    return folder


def test_the_default_signature_and_the_only_one_are_chosen(saved):
    graph = load(saved / "default")
    assert graph.input_keys == ("image",) and graph.output_keys == ("features",)
    (layer,), _ = find_layers(graph)
    assert layer.type == "Conv2D"
    assert not any(node.op.startswith(("Var", "Read")) for node in graph.nodes.values())


def test_a_signature_by_name_with_several_outputs_and_an_input_that_is_not_used(saved):
    graph = load(saved / "several", signature="two")
    assert graph.output_keys == ("class", "logits")
    assert "image" in graph.input_keys
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "MatMul"]
    feeds = {"image": DATA, "unused": np.zeros(16, np.int32)}
    classes, logits = run_once(graph, feeds)
    np.testing.assert_array_equal(classes, logits.argmax(-1))
    result = quantize(saved / "several", signature="two", data={key: feeds[key] for key in graph.input_keys})
    assert len(result.network.layers) == 2


@pytest.mark.parametrize("name, text", [("several", "one, two"), ("none", "signature")])
def test_none_or_several_signatures(saved, name, text):
    with pytest.raises(ModelError, match=text):
        load(saved / name)


def test_outputs_inside_the_function_can_be_named(saved):
    graph = load(saved / "several", signature="two")
    conv = next(name for name, node in graph.nodes.items() if node.op == "Conv2D")
    inner = load(saved / "several", signature="two", outputs=[conv])
    assert inner.outputs == (f"{conv}:0",) and inner.input_keys[0] == "image"
    assert run_once(inner, {"image": DATA, "unused": np.zeros(16, np.int32)})[0].shape == (16, 6, 6, 4)
    relu = next(name for name, node in graph.nodes.items() if node.op == "Relu")
    cut = load(saved / "several", signature="two", inputs=[relu])
    assert [layer.type for layer in find_layers(cut)[0]] == ["MatMul"]
    assert cut.output_keys == ("class", "logits")


@pytest.mark.parametrize("option", ["inputs", "outputs"])
def test_names_that_do_not_exist(saved, option):
    with pytest.raises(ModelError, match="nowhere"):
        load(saved / "default", **{option: ["nowhere"]})


def test_a_folder_and_its_file_are_the_same(saved):
    folder, file = load(saved / "default"), load(saved / "default" / "saved_model.pb")
    assert [str(node) for node in folder.nodes.values()] == [str(node) for node in file.nodes.values()]


def test_two_keys_for_one_tensor_and_variables_of_old(tmp_path):
    """As estimators of TensorFlow 1.x wrote them."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        kernel = v1.get_variable("kernel", initializer=numbers(3, 2), use_resource=False)
        logits = tf.matmul(x, kernel, name="logits")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "old"), {"x": x}, {"logits": logits, "scores": logits})
    graph = load(tmp_path / "old")
    assert [layer.type for layer in find_layers(graph)[0]] == ["MatMul"]
    assert run_once(graph, {"x": numbers(2, 3)})[0].shape == (2, 2)


def test_missing_variables(saved, tmp_path):
    shutil.copytree(saved / "default", tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "variables")
    with pytest.raises(ModelError, match="SavedModel"):
        load(tmp_path / "broken")


def test_a_second_run_gives_the_same_graph(saved):
    first, second = (load(saved / "default").graph_def().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
