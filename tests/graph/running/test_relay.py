"""Runs in legs against whole runs of a graph that is fed in the middle; and how many nodes the legs have."""

import numpy as np
import pytest

from calibrant.graph.graph import Graph, ordered
from calibrant.graph.reading.load import load
from calibrant.graph.running.relay import STAGE, Relay, can_be_cut
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

X = numbers(2, 4, seed=1)


def relay_of(graph, tensors):
    moving = [node.name for node in graph.nodes.values() if node.op != "Const"]
    return Relay(graph, moving, tensors, graph.outputs)


def chain(length):
    def build():
        x = placeholder([None, 4])
        for number in range(length):
            x = tf.add(x, tf.constant(numbers(4, seed=number)), name=f"add{number}")
        tf.nn.relu(x, name="out")

    return load(graph_def(build))


def with_skips():
    """Halves of a split, a tensor that is read far behind, and one output before the other."""
    x = placeholder([None, 4])
    first, far = tf.split(tf.sin(x, name="begin"), 2, 1, name="halves")
    for number in range(STAGE):
        first = tf.sin(first + far if number % 50 == 0 else first, name=f"sin{number}")
    tf.exp(first, name="early")
    for number in range(STAGE):
        first = tf.cos(first, name=f"cos{number}")
    tf.add(first, far, name="late")


def towers():
    x = placeholder([None, 4])
    left = right = x
    for number in range(STAGE):
        left, right = tf.sin(left, name=f"left{number}"), tf.cos(right, name=f"right{number}")
    tf.add(left, right, name="out")


@pytest.mark.parametrize("tensor", ["begin:0", "halves:0", "halves:1", "sin3:0", "sin250:0", "cos9:0", "cos255:0"])
def test_a_run_in_legs_gives_what_the_whole_one_gives(tensor):
    graph = load(graph_def(with_skips), outputs=["early", "late"])
    relay = relay_of(graph, [tensor])
    around = list(relay.around)
    values = dict(zip(around, run_once(graph, {"x": X}, around), strict=True)) if around else {}
    reached = list(graph.outputs) if not tensor.startswith("cos") else ["late:0"]
    value = run_once(graph, {"x": X}, [tensor])[0] + 1
    changed = relay.run(tensor, value, values)
    relay.close()
    moved = load(graph_def(with_skips), outputs=["early", "late"]).edit()
    one = moved.add("AddV2", "moved", [tensor, moved.add_constant("one", np.float32(1))], T=tf.float32)
    for node, index in graph.consumers(tensor):
        moved.set_input(node.name, index, one)
    expected = run_once(moved.finish(), {"x": X}, reached)
    for name, array in zip(reached, expected, strict=True):
        np.testing.assert_array_equal(changed[name], array)
    assert ("early:0" in changed) == ("early:0" in reached)


def test_runs_from_everywhere_on_a_chain_take_no_more_nodes_than_in_proportion_to_it():
    for stages in (2, 4, 8):
        length = stages * STAGE
        relay = relay_of(chain(length), [f"add{number}:0" for number in range(length)])
        assert len(relay.legs) <= length + stages + 1
        assert sum(len(leg.nodes) for leg in relay.legs) <= length * (STAGE / 2 + 2)
        assert not relay.around


def test_only_what_a_tensor_reaches_runs():
    relay = relay_of(load(graph_def(towers)), ["left3:0"])
    names = [name for leg in relay.legs for name in leg.nodes]
    assert sorted(names) == sorted([*(f"left{number}" for number in range(4, STAGE)), "out"])


def test_an_output_that_is_exchanged_reaches_nothing():
    graph = chain(3)
    relay = relay_of(graph, ["out:0"])
    assert relay.legs == ()
    assert list(relay.run("out:0", X, {})) == ["out:0"]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: tf.exp(x), True),
        (lambda x: x + tf.random.uniform([4]), False),
        (lambda x: tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: (y + 1,), [x])[0], False),
    ],
    ids=["function", "random", "loop"],
)
def test_what_can_be_cut(build, expected):
    definition = graph_def(lambda: tf.identity(build(tf.abs(placeholder([2, 4]))), "out"))
    nodes = ordered({node.name: node for node in definition.node}, ["out"])
    graph = Graph(nodes, ("x:0",), ("out:0",), library=definition.library, versions=definition.versions)
    assert can_be_cut(graph, graph.outputs) is expected
