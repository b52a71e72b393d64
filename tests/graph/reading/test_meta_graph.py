"""Checkpoints of TensorFlow 1.x compute what a session computes into which they are restored."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import calibrant
from calibrant.errors import ModelError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.graph.tf_core import MetaGraphDef
from command_line import run
from graphs import numbers, tf

tf1 = tf.compat.v1
X = numbers(5, 6, 6, 2)


def written(folder, build, prefix="net.ckpt-7", saver=None):
    """A checkpoint of a network with what its 'out' gives; the path of its graph."""
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        feeds = build()
        session.run(tf1.global_variables_initializer())
        (saver() if saver else tf1.train.Saver()).save(session, str(folder / prefix))
        return folder / f"{prefix}.meta", session.run(graph.get_tensor_by_name("out:0"), feeds)


def network(resources=True, train=False):
    """A convolution and a dense layer; with a loss and Adam, where they are trained."""
    x = tf1.placeholder(tf.float32, [None, 6, 6, 2], "x")
    with tf1.variable_scope("net", use_resource=resources):
        kernel = tf1.get_variable("kernel", initializer=numbers(3, 3, 2, 4, seed=1))
        weights = tf1.get_variable("weights", initializer=numbers(64, 3, seed=2))
        bias = tf1.get_variable("bias", initializer=numbers(3, seed=3))
    flat = tf.reshape(tf.nn.relu(tf1.nn.conv2d(x, kernel, [1, 1, 1, 1], "VALID")), [-1, 64])
    logits = tf.nn.bias_add(tf.matmul(flat, weights), bias, name="logits")
    tf.nn.softmax(logits, name="out")
    if train:
        labels = tf1.placeholder(tf.int32, [None], "labels")
        loss = tf1.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        tf1.train.AdamOptimizer().minimize(tf.reduce_mean(loss))
    return {"x:0": X}


@pytest.mark.parametrize("resources", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_outputs_are_those_of_a_session(resources, train, tmp_path):
    path, expected = written(tmp_path, lambda: network(resources, train))
    graph = load(path, outputs="out" if train else None)
    assert graph.inputs == ("x:0",)
    np.testing.assert_allclose(run_once(graph, {"x": X})[0], expected, atol=1e-6)


def test_it_is_quantized(tmp_path):
    path, expected = written(tmp_path, network)
    result = calibrant.quantize(path, None, X)
    assert len(result.network.layers) == 2
    np.testing.assert_allclose(run_once(result.fakequant, {"x": X})[0], expected, atol=0.1)


def test_inner_tensors_can_be_fed(tmp_path):
    path, _ = written(tmp_path, lambda: network(train=True))
    graph = load(path, inputs="Reshape", outputs="logits")
    assert [node.op for node in graph.nodes.values()].count("Conv2D") == 0


def test_a_saver_may_take_averages_for_variables(tmp_path):
    """As exponential moving averages are restored for inference."""

    def build():
        x = tf1.placeholder(tf.float32, [None, 3], "x")
        weights = tf1.get_variable("weights", initializer=numbers(3, 2))
        average = tf1.get_variable("average", initializer=numbers(3, 2, seed=9))
        savers.append(tf1.train.Saver({"weights": average, "average": weights}))
        tf.matmul(x, weights, name="out")
        return {"x:0": numbers(4, 3)}

    savers = []
    path, _ = written(tmp_path, build, saver=lambda: savers[0])
    found = run_once(load(path), {"x": numbers(4, 3)})[0]
    np.testing.assert_allclose(found, numbers(4, 3) @ numbers(3, 2), atol=1e-6)


def test_a_switch_for_training_is_named(tmp_path):
    def build():
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        training = tf1.placeholder(tf.bool, [], "training")
        weights = tf1.get_variable("weights", initializer=numbers(4, 3))
        y = tf1.cond(training, lambda: tf.nn.dropout(x, rate=0.5), lambda: x)
        tf.matmul(y, weights, name="out")
        return {"x:0": numbers(2, 4), "training:0": False}

    path, expected = written(tmp_path, build)
    with pytest.raises(ModelError, match="training"):
        load(path)
    found = run_once(load(path, constants={"training": False}), {"x": numbers(2, 4)})[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_variables_read_in_branches_and_loops(control_flow_v1, tmp_path):
    def build():
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        training = tf1.placeholder_with_default(False, [], "training")
        with tf1.variable_scope("net", use_resource=True):
            mean = tf1.get_variable("mean", initializer=numbers(4, seed=1))
            weights = tf1.get_variable("weights", initializer=numbers(4, 4, seed=2))
        y = x - tf1.cond(training, lambda: tf.reduce_mean(x, 0), mean.read_value)
        _, y = tf1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, weights))), (0, y))
        tf.identity(y, name="out")
        return {"x:0": numbers(5, 4)}

    path, expected = written(tmp_path, build)
    graph = load(path, outputs="out")
    assert not {"VarHandleOp", "ReadVariableOp"} & {node.op for node in graph.nodes.values()}
    np.testing.assert_allclose(run_once(graph, {"x": numbers(5, 4)})[0], expected, atol=1e-6)


def test_outputs_that_are_not_named_are_guessed_for_the_message(tmp_path):
    path, _ = written(tmp_path, lambda: network(train=True))
    with pytest.raises(ModelError, match=r"for example logits, .*out") as caught:
        load(path)
    assert "--outputs" in str(caught.value)
    assert "gradients" not in str(caught.value) and "Adam" not in str(caught.value)


def test_an_unknown_output_is_said_to_be_one(tmp_path):
    path, _ = written(tmp_path, network)
    with pytest.raises(ModelError, match="no node 'Out_1' to be an output"):
        load(path, outputs="Out_1")


def test_values_that_are_absent_or_of_another_model(tmp_path):
    path, _ = written(tmp_path, network)
    (tmp_path / "alone").mkdir()
    shutil.copy(path, tmp_path / "alone" / "net.meta")
    with pytest.raises(ModelError, match=r"values of its variables cannot be read[^$]*net\.index"):
        load(tmp_path / "alone" / "net.meta")

    def other():
        weights = tf1.get_variable("net/kernel", initializer=numbers(2))
        return {} if tf.identity(weights, name="out") is None else {}

    (tmp_path / "other").mkdir()
    written(tmp_path / "other", other, "net")
    shutil.copy(path, tmp_path / "other" / "net.meta")
    with pytest.raises(ModelError, match=r"'net/kernel' has shape \[2\]|no value of the variable 'net/"):
        load(tmp_path / "other" / "net.meta")


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\x0a\x02", None])
def test_a_damaged_graph(content, tmp_path):
    path, _ = written(tmp_path, network)
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(ModelError, match=r"net\.ckpt-7\.meta"):
        load(path)


def test_a_prefix_may_be_a_folder(tmp_path):
    path, expected = written(tmp_path, network)
    for file in tmp_path.glob("net.ckpt-7.*"):
        (tmp_path / "net").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "net" / file.name.removeprefix("net.ckpt-7"))
    np.testing.assert_allclose(run_once(load(tmp_path / "net" / ".meta"), {"x": X})[0], expected, atol=1e-6)
    assert calibrant.quantize(tmp_path / "net" / ".meta", None, X).name == "net"


def test_what_an_iterator_gives_is_proposed_to_be_fed(tmp_path):
    def build():
        dataset = tf1.data.Dataset.from_tensor_slices(X).batch(5)
        x = tf1.data.make_one_shot_iterator(dataset).get_next("numbers")
        weights = tf1.get_variable("weights", initializer=numbers(72, 3, seed=2))
        tf.matmul(tf.reshape(x, [-1, 72]), weights, name="out")

    path, expected = written(tmp_path, build)
    with pytest.raises(ModelError, match="no placeholder(.|\n)*read from 'OneShotIterator'\n.*: --inputs numbers "):
        load(path)
    np.testing.assert_allclose(run_once(load(path, inputs="numbers"), {"numbers": X})[0], expected, rtol=0, atol=1e-5)


def test_its_nodes_can_be_listed(tmp_path):
    path, _ = written(tmp_path, lambda: network(train=True))
    listed = run("inspect", path, "--nodes")
    assert listed.code == 0
    assert "logits" in listed.out


def test_a_loss_is_not_taken_for_the_output(tmp_path):
    def build():
        feeds = network()
        wanted = tf1.placeholder(tf.float32, [None, 3], "wanted")
        graph = tf1.get_default_graph()
        loss = tf.reduce_mean(tf.square(graph.get_tensor_by_name("out:0") - wanted), name="loss")
        tf1.train.AdamOptimizer().minimize(loss)
        return feeds

    path, expected = written(tmp_path, build)
    with pytest.raises(ModelError, match="does not say which tensors are outputs"):
        load(path)
    np.testing.assert_allclose(run_once(load(path, outputs="out"), {"x": X})[0], expected, atol=1e-6)


@pytest.mark.parametrize("resources", [True, False])
def test_variables_in_parts(resources, tmp_path):
    def build():
        x = tf1.placeholder(tf.float32, [None, 5], "x")
        with tf1.variable_scope("net", use_resource=resources, partitioner=tf1.fixed_size_partitioner(2)):
            weights = tf1.get_variable("weights", [5, 4], initializer=tf1.random_normal_initializer(seed=1))
        tf.matmul(x, tf.convert_to_tensor(weights), name="out")
        return {"x:0": numbers(3, 5)}

    path, expected = written(tmp_path, build)
    np.testing.assert_allclose(run_once(load(path), {"x": numbers(3, 5)})[0], expected, atol=1e-6)


@pytest.mark.parametrize("damage", ["absent", "cut", "flipped"])
def test_damaged_values(damage, tmp_path):
    path, _ = written(tmp_path, network)
    (data,) = tmp_path.glob("*.data-*")
    content = data.read_bytes()
    if damage == "absent":
        data.unlink()
    else:
        data.write_bytes(
            content[:100] if damage == "cut" else content[:100] + bytes([content[100] ^ 1]) + content[101:]
        )
    with pytest.raises(ModelError, match="value of the variable 'net/|values of its variables"):
        load(path)


def test_a_saver_without_its_constants(tmp_path):
    path, _ = written(tmp_path, network)
    meta_graph = MetaGraphDef.FromString(path.read_bytes())
    kept = [node for node in meta_graph.graph_def.node if node.name != "save/RestoreV2/tensor_names"]
    del meta_graph.graph_def.node[:]
    meta_graph.graph_def.node.extend(kept)
    path.write_bytes(meta_graph.SerializeToString())
    with pytest.raises(ModelError, match=r"net\.ckpt-7\.meta: cannot be read"):
        load(path)


def test_the_name_of_a_checkpoint_leads_to_its_graph(tmp_path):
    path, _ = written(tmp_path, network, "m.ckpt")
    with pytest.raises(ModelError, match="there is no such model") as caught:
        load(tmp_path / "m.ckpt")
    assert f"the checkpoint, {path}" in str(caught.value)
    (tmp_path / "m.ckpt").write_bytes(b"values of an older form")
    with pytest.raises(ModelError, match="is a part of a checkpoint") as caught:
        load(tmp_path / "m.ckpt")
    assert f"its graph, {path}" in str(caught.value)
