"""Names of tensors and attributes of nodes, and rewriting a graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.python.framework import dtypes

from calibrant.graph import nodes as nd
from calibrant.graph.graph import ordered
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, small_network, tf

NAMES = st.from_regex(r"[A-Za-z0-9.][A-Za-z0-9_./-]{0,20}", fullmatch=True)


@given(NAMES, st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_every_form_of_a_name_means_the_same(name, index):
    tensor = f"{name}:{index}"
    assert nd.tensor_name(tensor) == tensor == nd.tensor_name(nd.input_reference(tensor))
    assert nd.split_tensor(tensor) == (name, index)
    assert nd.node_name(tensor) == nd.node_name(f"^{name}") == nd.node_name(name) == name
    assert nd.input_reference(f"{name}:0") == name and nd.tensor_name(name) == f"{name}:0"


@given(
    st.sampled_from(["float32", "float16", "float64", "int8", "int32", "int64", "uint8", "bool"]),
    st.lists(st.integers(0, 3), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_constants_keep_type_shape_and_values(kind, shape):
    from tensorflow.python.framework import tensor_util

    value = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    node = nd.constant_node("c", value)
    back = tensor_util.MakeNdarray(node.attr["value"].tensor)
    assert back.dtype == value.dtype and back.shape == value.shape and np.array_equal(back, value)


@pytest.mark.parametrize(
    "value", [True, False, 3, -1, 0.5, "SAME", [1, 2, 2, 1], ["a", "b"], [0.5, 1.5], dtypes.float16], ids=str
)
def test_attributes_are_read_as_they_were_written(value):
    node = nd.make_node("Op", "n", [], key=value)
    assert nd.attribute(node, "key") == value
    assert nd.attribute(node, "other", "default") == "default"


def test_inputs_and_control_inputs_apart():
    node = nd.make_node("Op", "n", ["a:0", "b:2", "^c"])
    assert list(node.input) == ["a", "b:2", "^c"]
    assert nd.data_inputs(node) == ("a:0", "b:2") and nd.control_inputs(node) == ("c",)
    assert nd.control_references(node) == ("^c",)


def test_an_edit_gives_a_new_graph_and_leaves_the_old_one():
    graph = load(graph_def(small_network))
    before = graph.graph_def().SerializeToString(deterministic=True)
    edit = graph.edit()
    half = edit.add_constant("half", np.float32(0.5))
    edit.set_input("out", 0, edit.add("Mul", "relu", ["dense/bias:0", half], T=dtypes.float32))
    changed = edit.finish()
    assert graph.graph_def().SerializeToString(deterministic=True) == before
    assert "relu_1" in changed.nodes and nd.data_inputs(changed.nodes["out"]) == ("relu_1:0",)
    data = {"x": numbers(2, 6, 6, 2)}
    np.testing.assert_array_equal(run_once(changed, data)[0], run_once(graph, data)[0] / 2)
    shared = [name for name in graph.nodes if changed.nodes[name] is graph.nodes[name]]
    assert len(shared) == len(graph.nodes) - 1


def test_nodes_come_after_what_they_read_in_the_same_order_every_time():
    graph = load(graph_def(small_network))
    place = {name: number for number, name in enumerate(graph.nodes)}
    assert all(place[nd.node_name(read)] < place[node.name] for node in graph.nodes.values() for read in node.input)
    backwards = dict(reversed(graph.nodes.items()))
    assert list(ordered(backwards, graph.outputs)) == list(ordered(graph.nodes, graph.outputs))


def test_who_reads_a_node():
    def build():
        parts = tf.split(placeholder([None, 20]), 10, axis=1, name="split")
        tf.add(parts[0], parts[9], name="sum")
        with tf.control_dependencies([tf.identity(parts[3], name="waited_for")]):
            tf.identity(parts[0], name="out")

    graph = load(graph_def(build), outputs=["sum", "out"])
    assert graph.read_outputs("split") == (0, 3, 9)
    assert [node.name for node, _ in graph.consumers("split")] == ["sum", "out"]
    assert graph.only_consumer("split") is None and graph.only_consumer("waited_for") is None
    assert graph.only_consumer("sum") is None, "it is a result"
    assert graph.only_consumer("x")[0].name == "split"


def test_shapes_are_known_where_tensorflow_knows_them():
    def build():
        tf.nn.relu(conv(placeholder([None, None, 6, 2])), name="out")

    graph = load(graph_def(build))
    assert graph.shape("out:0") == (None, None, 6, 4) and graph.dtype("out") == dtypes.float32


def test_running_a_batch_that_the_graph_refuses_is_a_model_error():
    from calibrant.errors import ModelError

    def build():
        x = placeholder([None, None])
        tf.reshape(x, [-1, 7], name="out")

    graph = load(graph_def(build))
    with pytest.raises(ModelError, match="out"):
        run_once(graph, {"x": numbers(2, 3)})
    with pytest.raises(ModelError, match="shape"):
        run_once(graph, {"x": numbers(2)})
