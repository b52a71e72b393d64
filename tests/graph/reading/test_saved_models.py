"""SavedModel folders: signatures, variables, what was saved along."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading import saved_model
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
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


@pytest.fixture
def frozen_by(monkeypatch):
    """The ways by which models were frozen, in order."""
    ways = []
    for name in ("frozen_from_checkpoint", "_from_revived", "_from_session"):
        real = getattr(saved_model, name)

        def spy(*arguments, real=real, name=name):
            found = real(*arguments)
            ways.extend([name] if found is not None else [])
            return found

        monkeypatch.setattr(saved_model, name, spy)
    return ways


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


def test_an_output_of_the_saver_is_said_to_be_one(tmp_path):
    model = tf.Module()
    model.call = tf.function(lambda x: tf.nn.relu(x), input_signature=[tf.TensorSpec([None, 3], name="x")])
    tf.saved_model.save(model, str(tmp_path), model.call)
    with pytest.raises(ModelError, match="saver_filename: .*\n.*that saves the model: name one of the network"):
        load(tmp_path, outputs=["StatefulPartitionedCall"])


def test_a_folder_and_its_file_are_the_same(saved):
    folder, file = load(saved / "default"), load(saved / "default" / "saved_model.pb")
    assert [str(node) for node in folder.nodes.values()] == [str(node) for node in file.nodes.values()]
    assert load(saved / "several" / "saved_model.pb", signature="two").output_keys == ("class", "logits")


def test_two_keys_for_one_tensor_and_variables_of_old(tmp_path, frozen_by):
    """As estimators of TensorFlow 1.x wrote them."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        kernel = v1.get_variable("kernel", initializer=numbers(3, 2), use_resource=False)
        logits = tf.matmul(x, kernel, name="logits")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "old"), {"x": x}, {"logits": logits, "scores": logits})
    graph = load(tmp_path / "old")
    assert frozen_by == ["_from_session"]
    assert graph.output_keys == ("logits", "scores") and len(set(graph.outputs)) == 2
    assert [layer.type for layer in find_layers(graph)[0]] == ["MatMul"]
    assert run_once(graph, {"x": numbers(2, 3)})[0].shape == (2, 2)


def test_missing_variables(saved, tmp_path):
    shutil.copytree(saved / "default", tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "variables")
    with pytest.raises(ModelError, match="SavedModel"):
        load(tmp_path / "broken")


def test_variables_of_another_model_are_named(saved, tmp_path):
    other = tf.Module()
    other.kernel = tf.Variable(numbers(3, 3, 2, 5))
    other.dense = tf.Variable(numbers(144, 3))
    tf.saved_model.save(other, str(tmp_path / "other"))
    shutil.copytree(saved / "default", tmp_path / "mixed")
    shutil.rmtree(tmp_path / "mixed" / "variables")
    shutil.copytree(tmp_path / "other" / "variables", tmp_path / "mixed" / "variables")
    with pytest.raises(ModelError, match=r"kernel: the values .* have shape \[3, 3, 2, 5\], the model's .*, 4\]"):
        load(tmp_path / "mixed")


def test_functions_that_are_missing_are_named(saved, tmp_path):
    message = saved_model_pb2.SavedModel.FromString((saved / "default" / "saved_model.pb").read_bytes())
    message.meta_graphs[0].graph_def.ClearField("library")
    shutil.copytree(saved / "default", tmp_path / "broken")
    (tmp_path / "broken" / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(ModelError, match="it lacks '__inference_"):
        load(tmp_path / "broken")


def test_a_second_run_gives_the_same_graph(saved):
    first, second = (load(saved / "default").graph_def().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


class Lookup(tf.Module):
    """A variable that an operation uses without reading the whole of it."""

    def __init__(self):
        super().__init__()
        self.rows = tf.Variable(numbers(5, 3, seed=3))
        self.dense = tf.Variable(numbers(3, 2, seed=4))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="row")])
    def look_up(self, row):
        """One product for each row."""
        return tf.matmul(tf.gather(self.rows, row), self.dense)


class Mixed(tf.Module):
    """Variables of several dtypes, one of them read twice and inside a nested function, and one not read at all."""

    def __init__(self):
        super().__init__()
        self.half = tf.Variable(tf.cast(numbers(3, 4, seed=5), tf.float16))
        self.shift = tf.Variable(tf.cast(numbers(4, seed=6), tf.bfloat16))
        self.whole = tf.Variable([[1, 2, 3, 4]])
        self.unread = tf.Variable(numbers(4))

    @tf.function
    def scaled(self, x):
        """Called twice."""
        return tf.cast(x, tf.float16) @ self.half

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="x")])
    def all(self, x):
        """The sum of everything."""
        shifted = tf.cast(self.scaled(x), tf.float32) + tf.cast(self.shift, tf.float32)
        return shifted * tf.cast(self.whole, tf.float32) + tf.cast(self.scaled(2 * x), tf.float32)


def outputs_of_both_ways(folder, feeds, monkeypatch, **options):
    quick = run_once(load(folder, **options), feeds)
    monkeypatch.setattr(saved_model, "frozen_from_checkpoint", lambda *arguments: None)
    return quick, run_once(load(folder, **options), feeds)


@pytest.mark.parametrize("signature", ["one", "two"])
def test_variables_come_from_the_checkpoint_and_are_those_of_a_session(saved, signature, frozen_by, monkeypatch):
    feeds = {"image": DATA, "unused": np.zeros(16, np.int32)}
    both = outputs_of_both_ways(saved / "several", feeds, monkeypatch, signature=signature)
    assert frozen_by == ["frozen_from_checkpoint", "_from_revived"]
    for quick, slow in zip(*both, strict=True):
        np.testing.assert_array_equal(quick, slow)


def test_variables_of_other_dtypes(tmp_path, frozen_by, monkeypatch):
    module = Mixed()
    tf.saved_model.save(module, str(tmp_path / "mixed"), module.all)
    x = numbers(7, 3)
    quick, slow = outputs_of_both_ways(tmp_path / "mixed", {"x": x}, monkeypatch)
    assert frozen_by == ["frozen_from_checkpoint", "_from_revived"]
    np.testing.assert_array_equal(quick[0], slow[0])
    np.testing.assert_array_equal(quick[0], module.all(x))


def test_rows_that_are_looked_up_in_a_variable(tmp_path, frozen_by):
    module = Lookup()
    tf.saved_model.save(module, str(tmp_path / "lookup"), module.look_up)
    graph = load(tmp_path / "lookup")
    assert frozen_by == ["frozen_from_checkpoint"]
    rows = np.array([4, 0, 4], np.int32)
    np.testing.assert_array_equal(run_once(graph, {"row": rows})[0], module.look_up(rows))


def test_a_keras_export_comes_from_the_checkpoint(tmp_path, frozen_by):
    model = tf.keras.Sequential(
        [tf.keras.Input((6, 6, 2)), tf.keras.layers.Conv2D(4, 3), tf.keras.layers.BatchNormalization()]
    )
    model.layers[1].set_weights([numbers(4, seed=seed) ** 2 + 1 for seed in range(4)])
    model.export(str(tmp_path / "keras"), verbose=False)
    graph = load(tmp_path / "keras")
    assert frozen_by == ["frozen_from_checkpoint"]
    found = run_once(graph, dict.fromkeys(graph.input_keys, DATA))[0]
    np.testing.assert_allclose(found, model(DATA, training=False), rtol=1e-5, atol=1e-6)
