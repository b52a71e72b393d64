"""Functions are named by their content, everywhere they are called, and compute what they did."""

import numpy as np

from calibrant.graph.functions.unique_functions import with_unique_functions
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf


def looped():
    x = placeholder([None, 6, 6, 4])
    _, last = tf.while_loop(lambda at, _: at < 3, lambda at, z: (at + 1, conv(z, name="inside")), [tf.constant(0), x])
    tf.identity(last, name="out")


def functions(definition):
    return {function.signature.name for function in definition.library.function}


def test_every_call_has_the_new_name():
    definition = graph_def(looped)
    renamed = with_unique_functions(definition)
    assert functions(renamed) and functions(renamed).isdisjoint(functions(definition))
    assert not any(name.encode() + b"\n" in renamed.SerializeToString() for name in functions(definition))
    data = {"x": numbers(2, 6, 6, 4)}
    first, second = (run_once(load(each, outputs=["out"]), data) for each in (definition, renamed))
    assert np.array_equal(first[0], second[0])


def test_other_content_has_another_name():
    def deeper():
        x = placeholder([None, 6, 6, 4])
        _, last = tf.while_loop(lambda at, _: at < 5, lambda at, z: (at + 1, conv(z, name="inside")), [0, x])
        tf.identity(last, name="out")

    assert functions(with_unique_functions(graph_def(looped))).isdisjoint(
        functions(with_unique_functions(graph_def(deeper)))
    )


def inner_nodes(definition):
    return [node for function in definition.library.function for node in function.node_def]


def test_nodes_are_in_the_order_in_which_they_get_ready_with_all_attributes():
    """As TensorFlow writes a function that it traces: nodes at the front of a body get behind what is ready before."""
    definition = graph_def(looped)
    body = next(each for each in definition.library.function if len(each.node_def) > 3)
    body.node_def.sort(key=lambda node: node.op != "Conv2D")
    for node in body.node_def:
        node.attr.pop("dilations", None)
    written = with_unique_functions(definition)
    names = [node.name for node in inner_nodes(written)]
    for node in inner_nodes(written):
        made_before = [reference.partition(":")[0] for reference in node.input if reference.partition(":")[0] in names]
        assert all(names.index(name) < names.index(node.name) for name in made_before)
    assert all("dilations" in node.attr for node in inner_nodes(written) if node.op == "Conv2D")
    again = with_unique_functions(written)
    assert [node.name for node in inner_nodes(again)] == names


def test_a_graph_without_functions_is_left_alone():
    definition = graph_def(lambda: tf.identity(placeholder([2]), name="out"))
    assert with_unique_functions(definition) is definition
