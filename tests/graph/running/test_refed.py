"""A session that runs again with other constants gives what a new one does."""

from contextlib import closing

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.reading.load import load
from calibrant.graph.running import refed
from calibrant.graph.running.refed import RefedRunner
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf


def network():
    hidden = tf.nn.relu(conv(placeholder([None, 6, 6, 2]), name="first") * tf.constant(2.0, name="factor"))
    tf.matmul(tf.reduce_mean(hidden, [1, 2]), tf.constant(numbers(4, 3), name="weights"), name="out")


def changed(graph, **constants):
    edit = graph.edit()
    for name, value in constants.items():
        edit.put(nd.constant_node(name, np.asarray(value, np.float32)))
    return edit.finish()


def test_other_constants_in_the_same_session():
    graph, batch = load(graph_def(network)), {"x": numbers(3, 6, 6, 2)}
    other = changed(graph, factor=3.0, weights=numbers(4, 3, seed=4))
    with closing(RefedRunner(graph, graph.outputs, ())) as runner:
        assert runner.takes(other)
        for each in (graph, other, graph):
            assert runner(each, [batch])[0][0].tobytes() == run_once(each, batch)[0].tobytes()


def test_what_else_differs_needs_a_session_of_its_own():
    graph = load(graph_def(network))
    with closing(RefedRunner(graph, graph.outputs, {"weights"})) as runner:
        assert runner.takes(changed(graph, factor=3.0))
        assert not runner.takes(changed(graph, factor=[3.0]))
        assert not runner.takes(changed(graph, weights=numbers(4, 3, seed=4)))
        assert not runner.takes(load(graph_def(lambda: placeholder([None, 6, 6, 2]) + 1.0)))


def test_many_constants_are_not_fed(monkeypatch):
    monkeypatch.setattr(refed, "MOST_BYTES", 0)
    graph, batch = load(graph_def(network)), {"x": numbers(3, 6, 6, 2)}
    with closing(RefedRunner(graph, graph.outputs, ())) as runner:
        assert not runner.can_be_refed and not runner.takes(changed(graph, factor=3.0))
        assert runner(graph, [batch])[0][0].tobytes() == run_once(graph, batch)[0].tobytes()
