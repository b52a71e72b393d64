"""Weights handed over beside the graph: the same numbers, whatever holds them; and graphs as bytes."""

import os
import sys

import numpy as np
import pytest

from calibrant.graph.reading.load import load
from calibrant.graph.running import session as session_module
from calibrant.graph.running.run import run_once
from calibrant.graph.running.session import LARGE_ELEMENTS, is_large_constant, open_session
from calibrant.graph.tensorflow import _PoolsBySession, tensorflow
from graphs import graph_def, numbers, placeholder, small_network, tf, v1


def large_network():
    """x [?, 80] times large weights, plus a large bias, looked up in a large table of half precision."""
    weights = tf.constant(numbers(80, 64), name="weights")
    y = tf.nn.relu(placeholder([None, 80]) @ tf.identity(weights, "read")) @ tf.constant(
        numbers(64, 80), name="resident/w"
    )
    table = tf.constant(numbers(2, LARGE_ELEMENTS).astype(np.float16), name="table")
    picked = tf.gather(table, tf.constant([1, 0, 1]), name="picked")
    half = tf.cast(tf.reduce_sum(picked), tf.float32) + tf.reduce_sum(tf.zeros([90, 90]))
    tf.identity(y + half, name="out")


def test_large_constants_become_variables_with_the_same_results(monkeypatch):
    monkeypatch.setattr(session_module, "FEW_BYTES", 0)
    graph = load(graph_def(large_network))
    large = [name for name, node in graph.nodes.items() if is_large_constant(node)]
    assert {"weights", "table", "resident/w"} <= set(large)
    batch = {"x": numbers(5, 80, seed=3)}
    with v1.Session(graph=tf.Graph()) as session:
        tf.graph_util.import_graph_def(graph.graph_def(), name="")
        expected = session.run("out:0", {"x:0": batch["x"]})
    for _ in range(2):
        assert run_once(graph, batch)[0].tobytes() == expected.tobytes()
    with open_session(graph) as session:
        operations = session.graph.get_operations()
    assert {operation.type for operation in operations if operation.name in large} == {"ReadVariableOp"}


def test_few_large_constants_stay():
    graph = load(graph_def(large_network))
    with open_session(graph) as session:
        assert not {"ReadVariableOp"} & {operation.type for operation in session.graph.get_operations()}


def test_a_constant_of_a_loop_stays_a_constant():
    def loop():
        x = placeholder([4])
        y = v1.while_loop(
            lambda step, value: step < 3,
            lambda step, value: (step + 1, value + tf.reduce_sum(tf.constant(numbers(100, 100), name="large"))),
            [tf.constant(0), x],
        )
        tf.identity(y[1], name="out")

    v1.disable_control_flow_v2()
    try:
        graph = load(graph_def(loop), outputs=["out"])
    finally:
        v1.enable_control_flow_v2()
    assert not any(is_large_constant(node) for name, node in graph.nodes.items() if node.input)
    expected = 1 + 3 * numbers(100, 100).sum()
    np.testing.assert_allclose(run_once(graph, {"x": np.ones(4, np.float32)})[0], expected, rtol=1e-5)


@pytest.mark.parametrize("build", [small_network, large_network])
def test_serialized_is_the_message_serialized(build):
    graph = load(graph_def(build))
    assert graph.serialized() == graph.graph_def().SerializeToString(deterministic=True)


def test_a_rewritten_graph_has_its_own_values_for_changed_constants_only():
    graph = load(graph_def(large_network))
    before = graph.constant("weights:0")
    edit = graph.edit()
    edit.nodes["resident/w"] = graph.edit().graph.nodes["table"]  # another constant under this name
    changed = edit.finish()
    assert changed.constant("weights:0") is before
    assert changed.constant("resident/w:0").shape == (2, LARGE_ELEMENTS)


@pytest.mark.parametrize(("given", "during"), [(None, "1"), ("0", "0")])
def test_the_environment_asks_for_threads_by_session_until_one_is_open(given, during, monkeypatch):
    name = "TF_OVERRIDE_GLOBAL_THREADPOOL"
    monkeypatch.delenv(name, raising=False) if given is None else monkeypatch.setenv(name, given)
    monkeypatch.setattr(sys.modules[_PoolsBySession.__module__], "_pools", _PoolsBySession())
    tensorflow()
    assert os.environ[name] == during
    graph = load(graph_def(small_network))
    open_session(graph).close()
    tensorflow()
    assert os.environ.get(name) == given
