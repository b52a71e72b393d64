"""Functions, loops and branches: what can be inlined is, what cannot is named with the reason, and all still runs."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.functions.control_flow import calls_of, nodes_in_functions
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.graph.tf_core import FunctionDef, GraphDef, NodeDef
from graphs import conv, dense, graph_def, numbers, placeholder, tf, v1

BATCH = numbers(4, 3, seed=9)


def square(x, name, seed):
    """A layer of three units on three."""
    return tf.matmul(x, tf.constant(numbers(3, 3, seed=seed, scale=0.4)), name=name)


def one_loop(x):
    """Its body holds what folding would take in: a bias and a factor."""

    def body(i, h):
        return i + 1, tf.tanh(0.7 * (square(h, "inside", 2) + tf.constant(numbers(3, seed=6))))

    return tf.while_loop(lambda i, h: i < 3, body, [0, x])[1]


def a_branch(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: square(x, "yes", 2), lambda: square(x, "no", 3))


def nested(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: one_loop(x), lambda: x)


def case(x):
    choice = tf.cast(tf.reduce_sum(x) > 0, tf.int32)
    return tf.switch_case(choice, [lambda: square(x, "first", 2), lambda: square(x, "second", 3)])


def around(inner):
    """before -> inner -> after -> out."""

    def build():
        x = placeholder([None, 3])
        y = inner(square(x, "before", 1))
        y.set_shape([None, 3])
        tf.identity(square(y, "after", 4), name="out")

    return build


@pytest.mark.parametrize("inner, hidden", [(one_loop, 1), (a_branch, 2), (nested, 1), (case, 2)])
def test_of_layers_inside_the_weights_are_quantized(style, inner, hidden):
    definition = graph_def(around(inner))
    graph = load(definition, outputs=["out"])
    layers, rejected = find_layers(graph)
    assert [layer.name for layer in layers] == ["before", "after"]
    assert len(rejected) == hidden
    for entry in rejected:
        assert entry.type == "MatMul" and "inside" in entry.reason
    result = quantize(definition, data=BATCH, outputs=["out"])
    (expected,), (found,) = (run_once(graph, {"x": BATCH}) for graph in (graph, result.fakequant))
    assert 0 < np.abs(expected - found).max() < 0.2
    assert {entry["layer"] for entry in result.report["weight_only"]} == {entry.name for entry in rejected}
    assert result.report["left_in_float"] == []
    assert result.report["totals"]["weight_only_weights"] == 9 * hidden


def test_calls_are_inlined_and_their_layers_quantized():
    @tf.function
    def inner(x):
        return conv(x, name="inner_conv")

    @tf.function
    def outer(x):
        return tf.nn.relu(inner(x))

    def build():
        tf.identity(outer(placeholder([None, 6, 6, 2])), name="out")

    definition = graph_def(build)
    assert not any(node.op == "Conv2D" for node in definition.node)
    graph = load(definition)
    (layer,), rejected = find_layers(graph)
    assert layer.type == "Conv2D" and rejected == ()
    assert not any("Call" in node.op for node in graph.nodes.values())
    assert len(graph.library.function) == 0
    data = numbers(16, 6, 6, 2)
    result = quantize(definition, data=data)
    assert len(result.network.layers) == 1


def test_only_functions_that_are_needed_stay():
    def build():
        x = placeholder([None, 3])
        tf.identity(a_branch(x), name="out")
        tf.identity(one_loop(x), name="other")

    v1.enable_control_flow_v2()
    definition = graph_def(build)
    graph = load(definition, outputs=["out"])
    called = {function.signature.name for function in graph.library.function}
    assert 2 <= len(called) < len(definition.library.function)
    assert run_once(graph, {"x": BATCH})[0].shape == (4, 3)


def test_a_call_that_nobody_defines_is_an_error():
    @tf.function
    def inner(x):
        return tf.nn.relu(x)

    definition = graph_def(lambda: tf.identity(inner(placeholder([None, 3])), name="out"))
    definition.library.Clear()
    with pytest.raises(Exception, match="inner") as caught:
        load(definition)
    assert type(caught.value).__name__ == "ModelError"


def test_a_layer_behind_a_loop_in_an_old_graph_has_its_weights_found():
    v1.disable_control_flow_v2()
    try:
        definition = graph_def(lambda: tf.identity(dense(one_loop(placeholder([None, 3]))), name="out"))
    finally:
        v1.enable_control_flow_v2()
    (layer,), _ = find_layers(load(definition, outputs=["out"]))
    assert layer.name == "dense" and layer.bias == "dense/bias"


def test_a_branch_in_a_loop_that_is_decided_there():
    """What decides is computed in the loop, and constants of the branch wait for it to be there in every turn."""

    @tf.function(input_signature=[tf.TensorSpec([2, 4], name="x")])
    def network(x):
        def step(turn, x):
            taken = tf.logical_not(tf.constant(False))
            return turn + 1, tf.cond(taken, lambda: tf.nn.relu(x) + tf.constant(2.0), lambda: x * tf.constant(3.0))

        return tf.while_loop(lambda turn, x: turn < 3, step, [0, tf.matmul(x, tf.constant(numbers(4, 4)))])[1]

    function = network.get_concrete_function()
    frozen = convert_variables_to_constants_v2(function).graph.as_graph_def()
    assert {"Enter", "LogicalNot"} <= {node.op for node in frozen.node}
    graph = load(frozen)
    assert "LogicalNot" not in {node.op for node in graph.nodes.values()}
    [found] = run_once(graph, {graph.input_keys[0]: numbers(2, 4, seed=3)})
    np.testing.assert_allclose(found, network(numbers(2, 4, seed=3)), atol=1e-5)


@pytest.mark.parametrize("branch", ["then_branch", "else_branch"])
def test_a_branch_without_results(branch):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
    def network(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x * 3.0)

    definition = convert_variables_to_constants_v2(network.get_concrete_function(), lower_control_flow=False)
    definition = definition.graph.as_graph_def()
    [chosen] = [node for node in definition.node if node.op in ("If", "StatelessIf")]
    for function in definition.library.function:
        if function.signature.name == chosen.attr[branch].func.name:
            del function.signature.output_arg[:]
            function.ret.clear()
    with pytest.raises(ModelError, match=f"{chosen.name}: calls the function .*, which has 0 results"):
        load(definition)


@pytest.mark.parametrize("taken", ["cond", "body"])
def test_a_loop_whose_functions_take_another_number_of_arguments(taken):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
    def network(x):
        kernel = tf.constant(numbers(4, 4))
        return tf.while_loop(lambda n, y: n < 2, lambda n, y: (n + 1, tf.tanh(y @ kernel)), [0, x])[1]

    definition = convert_variables_to_constants_v2(network.get_concrete_function(), lower_control_flow=False)
    definition = definition.graph.as_graph_def()
    [loop] = [node for node in definition.node if node.op in ("While", "StatelessWhile")]
    for function in definition.library.function:
        if function.signature.name == loop.attr[taken].func.name:
            del function.signature.input_arg[-1]
    with pytest.raises(ModelError, match=f"{loop.name}: calls the function .* arguments, which takes"):
        quantize(definition, data={"x": numbers(4, 4)})


def test_operations_in_a_loop_that_nobody_knows_are_named(tmp_path):
    definition = graph_def(around(one_loop))
    for function in definition.library.function:
        for node in function.node_def:
            node.op = "SomebodysTanh" if node.op == "Tanh" else node.op
    path = tmp_path / "m.pb"
    path.write_bytes(definition.SerializeToString())
    with pytest.raises(ModelError, match=r"while/\w+: op 'SomebodysTanh', in a loop, is not known to TensorFlow"):
        load(path, outputs=["out"])


def test_functions_that_a_node_calls_have_an_order():
    """The map of its attributes has another one in every process, and by chance in one."""
    library = {name: FunctionDef() for name in ("one", "two", "three")}
    found = set()
    for _ in range(64):
        node = NodeDef(op="If", name="branch")
        node.attr["then_branch"].func.name = "one"
        node.attr["else_branch"].func.name = "two"
        node.attr["more"].list.func.add().name = "three"
        found.add(tuple(name for name, _ in calls_of(node, library)))
    assert found == {("two", "three", "one")}


def test_nodes_of_branches_have_the_same_names_every_time():
    def build():
        x = placeholder([None, 3])
        branches = lambda: tf.sin(x, name="act"), lambda: tf.cos(x, name="act")
        tf.identity(tf.cond(tf.reduce_sum(x) > 0, *branches), name="out")

    content = graph_def(build).SerializeToString()
    found = set()
    for _ in range(32):
        graph = load(GraphDef.FromString(content), outputs=["out"])
        inside = nodes_in_functions(graph.nodes.values(), graph.library)
        found.add(tuple((each.name, each.node.op) for each in inside if each.node.op in ("Sin", "Cos")))
    assert found == {(("cond/act_0", "Cos"), ("cond/act_0_1", "Sin"))}
