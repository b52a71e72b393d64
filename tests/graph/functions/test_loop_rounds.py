"""How often loops run that compare a counter with a limit."""

import pytest

from calibrant.graph.functions.loop_rounds import loop_rounds
from calibrant.graph.reading.load import load
from graphs import graph_def, numbers, placeholder, tf, v1

STEPS = [None, 6, 3]


def rounds(condition, body, more=(), shape=STEPS, start=0):
    """Of a loop that multiplies, with a counter in front and other variables behind what is multiplied."""

    def build():
        v1.enable_control_flow_v2()
        x, weights = placeholder(shape), tf.constant(numbers(3, 3))
        shape_of = tf.shape(tf.transpose(x, [1, 0, 2]))
        sizes = [shape_of[0], shape_of[1]]
        given = [tf.constant(start), x[:, 0], *(each(sizes) for each in more)]
        found = tf.while_loop(
            lambda i, y, *others: condition(i, y, sizes, *others),
            lambda i, y, *others: [body(i), tf.matmul(y, weights), *(each + 1 for each in others)],
            given,
        )
        tf.identity(found[1], name="out")

    graph = load(graph_def(build), outputs=["out"])
    [loop] = [node for node in graph.nodes.values() if node.op in ("While", "StatelessWhile")]
    return loop_rounds(graph, loop)


def up(i):
    return i + 1


LIMITED = {
    "by a number": (lambda i, y, sizes: i < 7, 7),
    "by the steps of a sequence": (lambda i, y, sizes: i < sizes[0], 6),
    "by both": (lambda i, y, sizes: tf.logical_and(i < sizes[0], i < 4), 4),
    "by the numbers, too": (lambda i, y, sizes: tf.logical_and(i < 5, tf.reduce_sum(y) < 9), 5),
}


@pytest.mark.parametrize("what", LIMITED)
def test_a_loop_runs_as_often_as_its_counter_allows(what):
    condition, wanted = LIMITED[what]
    assert rounds(condition, up) == wanted
    assert rounds(condition, up, start=2) == wanted - 2
    assert rounds(condition, up, start=9) is None


def test_other_counters_other_limits_and_other_steps_are_not_known():
    assert rounds(lambda i, y, sizes: i < sizes[1], up) is None  # the number of samples
    assert rounds(lambda i, y, sizes: i < sizes[0], up, shape=[None, None, 3]) is None
    assert rounds(lambda i, y, sizes: i < sizes[0], lambda i: i + 2) is None
    assert rounds(lambda i, y, sizes: i < sizes[0], lambda i: i * 2 + 1) is None
    assert rounds(lambda i, y, sizes, limit: i < limit, up, more=[lambda sizes: sizes[0]]) is None  # it moves
    assert rounds(lambda i, y, sizes: tf.reduce_sum(y) < 9, up) is None
