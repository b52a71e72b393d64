"""What a graph prints is left out; what it checks is not."""

import numpy as np
import pytest

import calibrant
from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf

X = numbers(8, 4)


def old():
    x = tf.compat.v1.Print(placeholder([None, 4]), [tf.constant("x is ")], name="printed")
    tf.nn.relu(dense(x, name="layer"), name="out")


def new():
    x = dense(placeholder([None, 4]), name="layer")
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x < 1e6), [x], name="check")]):
        said = tf.print("x is ", x, name="said")
    with tf.control_dependencies([said]):
        again = tf.print("again", name="again")
    with tf.control_dependencies([again]):
        tf.nn.relu(x, name="out")


@pytest.mark.parametrize("build", [old, new])
def test_prints_are_left_out(build, capfd):
    definition = graph_def(build)
    assert any(node.op.startswith("Print") for node in definition.node)
    graph = load(definition, outputs=["out"])
    assert not any(node.op.startswith(("Print", "StringFormat")) for node in graph.nodes.values())
    [found] = run_once(graph, {graph.input_keys[0]: X})
    kernel, bias = (graph.constant(nd.data_inputs(graph.nodes[name])[1]) for name in ("layer", "layer/bias"))
    np.testing.assert_allclose(found, np.maximum(X @ kernel + bias, 0), atol=1e-5)
    assert "x is" not in capfd.readouterr().err


def test_what_a_print_waited_for_is_waited_for():
    graph = load(graph_def(new), outputs=["out"])
    assert any("check" in name for name in nd.control_inputs(graph.nodes["out"]))
    with pytest.raises(ModelError, match="assertion failed"):
        run_once(graph, {graph.input_keys[0]: 1e9 * X})


def test_a_constant_that_waits_for_a_print_stays_in_its_loop():
    def step(at, x):
        with tf.control_dependencies([tf.print("step", at)]):
            return at + 1, x + tf.constant(2.0, name="two")

    def network():
        x = dense(placeholder([None, 4]), name="layer")
        tf.identity(tf.compat.v1.while_loop(lambda at, _: at < 3, step, [0, x])[1], name="out")

    tf.compat.v1.disable_control_flow_v2()
    try:
        definition = graph_def(network)
    finally:
        tf.compat.v1.enable_control_flow_v2()
    graph = load(definition, outputs=["out"])
    assert not any(node.op == "PrintV2" for node in graph.nodes.values())
    found, before = run_once(graph, {graph.input_keys[0]: X}, ["out:0", "layer/bias:0"])
    np.testing.assert_allclose(found, before + 6, atol=1e-5)


@pytest.mark.parametrize("build", [old, new])
def test_a_graph_that_prints_has_a_litert_file(build, tmp_path):
    result = calibrant.quantize(
        graph_def(build), "batch_num : 1", [X], tmp_path / "out", export="tflite", outputs=["out"], name="model"
    )
    assert not result.refused and (tmp_path / "out" / "model_int8.tflite").exists()


def loop_of_today():
    def step(at, x):
        before = tf.print("step", at)
        with tf.control_dependencies([before]):
            shown = tf.compat.v1.Print(x, [x, at], "now")
            return at + 1, tf.nn.relu(shown) + tf.constant(2.0)

    x = dense(placeholder([4, 4]), name="layer")
    looped = tf.while_loop(lambda at, _: at < 3, step, [0, x])[1]
    tf.identity(tf.cond(looped[0, 0] > 1e9, lambda: noisy(looped), lambda: looped), name="out")


def noisy(x):
    with tf.control_dependencies([tf.print("large")]):
        return x / 2


def test_loops_and_branches_that_print(tmp_path, capfd):
    definition = graph_def(loop_of_today)
    assert {"Print", "PrintV2"} <= {node.op for function in definition.library.function for node in function.node_def}
    graph = load(definition, outputs=["out"])
    assert not any(node.op.startswith("Print") for function in graph.library.function for node in function.node_def)
    [found], [layer] = (run_once(graph, {graph.input_keys[0]: X[:4]}, [name]) for name in ("out:0", "layer/bias:0"))
    np.testing.assert_allclose(found, np.maximum(layer, 0) + 2 + 4 * 1, atol=1e-5)
    result = calibrant.quantize(
        definition, "batch_num : 1", [X[:4]], tmp_path / "out", export="tflite", outputs=["out"], name="model"
    )
    assert not result.refused and calibrant.verify(tmp_path / "out", X[:4]).passed
    assert "now" not in capfd.readouterr().err
