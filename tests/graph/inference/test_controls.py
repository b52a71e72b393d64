"""Control inputs that come from constants alone go, and what they have kept; all others stay."""

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.inference.controls import without_idle_controls
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf


def waiting():
    x = placeholder([None, 4])
    weights = tf.identity(tf.constant(numbers(4, 3), name="weights"), name="read")
    with tf.control_dependencies([weights]):
        idle = tf.no_op(name="idle")
    check = tf.debugging.Assert(tf.reduce_all(x < 1e6), [x], name="check")
    with tf.control_dependencies([idle, check]):
        tf.identity(tf.nn.relu(x), name="out")


def test_only_those_that_wait_for_constants_go_when_a_graph_is_read():
    definition = graph_def(waiting)
    assert {"weights", "read", "idle"} <= {node.name for node in definition.node}
    graph = load(definition, outputs=["out"])
    assert not {"weights", "read", "idle"} & graph.nodes.keys()
    controls = {name for node in graph.nodes.values() for name in nd.control_inputs(node)}
    assert controls and all(name.startswith("check") for name in controls)
    batch = {"x": numbers(2, 4)}
    np.testing.assert_array_equal(run_once(graph, batch)[0], np.maximum(batch["x"], 0))


def test_weights_of_an_inlined_call_are_not_kept_by_what_waits_for_its_arguments():
    def waiting_for_both():
        x, y = tf.nn.relu(placeholder([None, 4]), name="early"), placeholder([None, 4], "y")
        with tf.control_dependencies([x]):
            arguments = tf.no_op(name="arguments")
        with tf.control_dependencies([arguments]):
            weights = tf.identity(tf.constant(numbers(4, 3), name="weights"), name="weights_read")
        check = tf.debugging.Assert(tf.reduce_all(x < 1e6), [x], name="check")
        with tf.control_dependencies([tf.identity(weights, name="again"), check]):
            tf.tanh(y, name="out")

    graph = load(graph_def(waiting_for_both), outputs=["out"])
    assert not {"weights", "weights_read", "again"} & graph.nodes.keys()
    assert {"arguments", "early"} <= graph.nodes.keys() and "arguments" in nd.control_inputs(graph.nodes["out"])
    batch = {"x": numbers(2, 4), "y": numbers(2, 4, seed=1)}
    np.testing.assert_allclose(run_once(graph, batch)[0], np.tanh(batch["y"]), rtol=1e-5)


def test_a_graph_without_control_inputs_keeps_its_nodes():
    graph = load(graph_def(lambda: tf.nn.relu(placeholder([None, 4]), name="out")))
    left = without_idle_controls(graph)
    assert all(left.nodes[name] is node for name, node in graph.nodes.items())


def test_what_lies_before_a_cut_is_not_waited_for():
    def looking_up():
        words = placeholder([None, 4], "words", tf.string)
        found = tf.strings.length(words, name="found")
        hidden = tf.cast(found, tf.float32, name="hidden")
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, name="table")
        with tf.control_dependencies([tf.group(found, table, name="wait")]):
            tf.identity(tf.nn.relu(hidden), name="out")

    graph = load(graph_def(looking_up), inputs=["hidden"], outputs=["out"])
    assert graph.inputs == ("hidden:0",) and not {"words", "found", "table"} & graph.nodes.keys()
    batch = numbers(2, 4)
    np.testing.assert_array_equal(run_once(graph, {"hidden": batch})[0], np.maximum(batch, 0))


def test_a_table_before_a_cut_is_not_waited_for_where_its_keys_are_fed():
    def looking_up():
        keys = placeholder([None, 4], "keys", tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(np.arange(9), np.arange(9), tf.int64, tf.int64)
        found = tf.lookup.StaticHashTable(initializer, 0).lookup(keys)
        hidden = tf.cast(found, tf.float32, name="hidden") + tf.cast(keys, tf.float32)
        with tf.control_dependencies([tf.group(found, name="wait")]):
            tf.identity(tf.nn.relu(hidden), name="out")

    graph = load(graph_def(looking_up), inputs=["hidden", "keys"], outputs=["out"])
    assert not any("able" in node.op for node in graph.nodes.values())
    batch = {"hidden": numbers(2, 4), "keys": np.ones((2, 4), np.int64)}
    np.testing.assert_array_equal(run_once(graph, batch)[0], np.maximum(batch["hidden"] + 1, 0))
