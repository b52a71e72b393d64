"""Branches that a known size decides, be the number of samples open."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.graph.graph import Graph
from calibrant.graph.inference.decided import decided_values
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf, v1

SIZES = (None, 5, None, 2)
KNOWN = {
    "one": (lambda shape: shape[1], 5),
    "from the end": (lambda shape: shape[-1], 2),
    "a slice": (lambda shape: tf.slice(shape, [3], [1]), [2]),
    "gathered": (lambda shape: tf.gather(shape, [3, 1]), [2, 5]),
    "unpacked": (lambda shape: tf.unstack(shape)[3], 2),
    "split": (lambda shape: tf.split(shape, 2)[1][1], 2),
    "split in parts": (lambda shape: tf.split(shape, [1, 1, 2])[1], [5]),
    "packed again": (lambda shape: tf.stack([shape[0], shape[3], 7])[1:], [2, 7]),
    "joined": (lambda shape: tf.concat([shape[:2], [9]], 0)[1:], [5, 9]),
    "in a table": (lambda shape: tf.reshape(shape, [2, 2])[:, 1], [5, 2]),
    "of another type": (lambda shape: tf.cast(tf.cast(shape, tf.float32), tf.int64)[1], 5),
    "computed": (lambda shape: shape[1] * 2 - shape[3], 8),
    "a whole shape": (lambda shape: tf.shape(tf.zeros([shape[1], shape[3]]))[1:], [2]),
    "the length": (lambda shape: tf.shape(shape)[0], 4),
}
OPEN = {
    "samples": lambda shape: shape[0],
    "a length": lambda shape: shape[2],
    "the whole": lambda shape: shape,
    "an open one among known ones": lambda shape: shape[1:],
    "computed": lambda shape: shape[1] * shape[2],
    "a sum": lambda shape: tf.reduce_sum(shape),
    "compared": lambda shape: tf.cast(shape > 0, tf.int32)[2],
    "as a truth": lambda shape: tf.cast(tf.cast(shape, tf.bool), tf.int32)[2],
    "without a sign": lambda shape: tf.cast(tf.cast(shape, tf.uint8), tf.int32)[2],
    "gathered where an open one says": lambda shape: tf.gather(shape, shape[0]),
    "from an open one on": lambda shape: shape[shape[0] : 4],
    "of unknown length": lambda shape: tf.shape(placeholder(None, "any"))[1],
}


def picked(pick, dtype):
    def build():
        sizes = pick(tf.shape(placeholder(SIZES), out_type=dtype))
        tf.identity(tf.cast(sizes, tf.float32), name="out")

    return load(graph_def(build), outputs=["out"], inputs=["x"])


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize(("pick", "value"), KNOWN.values(), ids=KNOWN)
def test_known_sizes(pick, value, dtype):
    found = decided_values(picked(pick, dtype), ["out:0"])
    np.testing.assert_array_equal(found["out:0"], np.array(value, np.float32), strict=True)


@pytest.mark.parametrize("pick", OPEN.values(), ids=OPEN)
def test_open_sizes(pick):
    def build():
        tf.identity(pick(tf.shape(placeholder(SIZES))), name="out")

    assert decided_values(load(graph_def(build), outputs=["out"]), ["out:0"]) == {}


def expected(definition, data):
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(definition, name="")
        return session.run("out:0", {"x:0": data})


def assert_same(build, *lengths):
    """The graph as it is loaded, which gives what the model gives for samples of these lengths."""
    definition = graph_def(build)
    graph = load(definition, outputs=["out"])
    for samples, length in ((1, lengths[0]), *((3, length) for length in lengths)):
        data = numbers(samples, length, 4)
        np.testing.assert_allclose(run_once(graph, {"x": data})[0], expected(definition, data), atol=1e-5)
    return {node.op for node in graph.nodes.values()}


CONDITIONAL = {"If", "StatelessIf", "Switch", "Merge"}


def by_size(x, axis, more, less=tf.identity, than=1):
    return v1.cond(tf.shape(x)[axis] > than, lambda: more(x), lambda: less(x))


def test_the_branch_for_a_known_size_is_taken(control_flow):
    def build():
        y = by_size(placeholder([None, 6, 4]), 1, lambda x: dense(tf.reshape(x, [-1, 4]), 4, "inside"))
        tf.identity(dense(tf.reshape(y, [-1, 4])), name="out")

    assert not assert_same(build, 6) & CONDITIONAL
    result = calibrant.quantize(graph_def(build), "batch_num: 1", [numbers(4, 6, 4)], outputs=["out"])
    assert len(result.network.layers) == 2 and not result.network.weight_only


def test_the_branch_for_an_open_size_stays(control_flow):
    def build():
        y = by_size(placeholder([None, None, 4]), 1, lambda x: x * 2.0)
        tf.identity(dense(tf.reshape(y, [-1, 4])), name="out")

    assert assert_same(build, 1, 3) & CONDITIONAL


def test_branches_in_branches(control_flow):
    """The outer one is open in one model and known in the other."""

    def within(axis, other):
        def build():
            y = by_size(placeholder([None, None, 4]), axis, lambda x: by_size(x, other, tf.nn.relu, tf.abs, than=3))
            tf.identity(dense(tf.reshape(y, [-1, 4])), name="out")

        return build

    assert_same(within(1, 2), 1, 3, 5)
    assert_same(within(2, 1), 1, 3, 5)
    assert not assert_same(within(2, 2), 1, 3, 5) & CONDITIONAL


def test_what_grows_in_a_loop_has_no_size(control_flow):
    def build():
        x = placeholder([None, 2, 4])
        longer = lambda y: tf.concat([by_size(y, 1, tf.nn.relu, tf.abs, than=3), x], 1)  # noqa: E731
        invariants = [tf.TensorShape([]), tf.TensorShape([None, None, 4])]
        loop = v1.while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, longer(y)), [0, x], shape_invariants=invariants)
        y = by_size(loop[1], 1, lambda y: y * 2.0, tf.negative, than=5)
        tf.identity(dense(tf.reshape(y, [-1, 4])), name="out")

    assert_same(build, 2)


def test_a_size_that_a_loop_keeps(control_flow):
    def build():
        x = placeholder([None, 2, 4])
        step = lambda n, y: (n + 1, by_size(x, 1, lambda x: x + y, lambda x: x - y))  # noqa: E731
        y = v1.while_loop(lambda n, y: n < 3, step, [0, x])[1]
        tf.identity(dense(tf.reshape(y, [-1, 4])), name="out")

    assert_same(build, 2)


def test_a_select_by_a_known_size():
    def build():
        x = placeholder([None, 6, 4])
        y = tf.where(tf.shape(x)[1] > 1, tf.nn.relu(x), tf.abs(x))
        tf.identity(dense(tf.reshape(y, [-1, 4])), name="out")

    assert not assert_same(build, 6) & {"SelectV2", "Abs"}


def test_a_graph_that_tensorflow_refuses_has_no_known_sizes():
    definition = graph_def(lambda: tf.identity(tf.shape(placeholder(SIZES))[1], name="out"))
    definition.node.add(name="refused", op="Unheard", input=["out"])
    nodes = {node.name: node for node in definition.node}
    assert decided_values(Graph(nodes, ("x:0",), ("refused:0",)), ["out:0"]) == {}
