import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sketch import Sketch, computing, difference, ops
from tensorflow.python.framework import dtypes

from calibrant.fold import fold, fusible_nodes
from calibrant.graph.reading.load import load

INPUT = {"NHWC": (6, 6, 3), "NCHW": (3, 6, 6)}


def everything():
    """Conv → Add → norm → Mul → written-out norm, and a dense layer with an added bias."""
    sketch = Sketch()
    data = sketch.conv(sketch.input(6, 6, 3))
    data = sketch.node("Add", "sum", data, sketch.constant("b", sketch.values(4)))
    data = sketch.fused_norm(data, "norm")
    data = sketch.node("Mul", "product", sketch.constant("number", 0.5), data)
    data = sketch.decomposed_batch_norm(data, "written")
    data = sketch.node("Relu", "relu", data)
    flat = sketch.node("Reshape", "flat", data, sketch.constant("shape", [-1, 144], np.int32), Tshape=dtypes.int32)
    data = sketch.matmul(flat, "dense", (144, 5))
    return sketch.graph(sketch.node("AddV2", "logits", data, sketch.constant("dense/b", sketch.values(5))))


def test_fusions_apply_to_each_others_results():
    graph = everything()
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd", "Relu", "Reshape", "MatMul", "BiasAdd"]
    assert difference(graph, folded.graph) < 1e-6
    assert [(fusion.kind, fusion.layer, fusion.absorbed) for fusion in folded.fusions] == [
        ("bias", "conv", ("sum",)),
        ("batch norm", "conv", ("norm",)),
        ("scalar multiplication", "conv", ("product",)),
        ("written-out batch norm", "conv", ("written/mul_1", "written")),
        ("bias", "dense", ("logits",)),
    ]
    assert folded.left == ()


def test_folding_twice_changes_nothing_more():
    once = fold(everything())
    again = fold(once.graph)
    assert again.graph is once.graph and again.fusions == ()


def test_folding_is_deterministic():
    graph_def = everything().graph_def()
    first, second = (fold(load(graph_def, outputs=["logits"])) for _ in range(2))
    assert first.fusions == second.fusions
    assert [node.SerializeToString(deterministic=True) for node in first.graph.nodes.values()] == [
        node.SerializeToString(deterministic=True) for node in second.graph.nodes.values()
    ]


def test_the_original_is_not_changed():
    graph = everything()
    before = graph.graph_def().SerializeToString(deterministic=True)
    fold(graph)
    assert graph.graph_def().SerializeToString(deterministic=True) == before


def test_do_fusion_false_changes_nothing_but_constants():
    graph = everything()
    folded = fold(graph, do_fusion=False)
    assert computing(folded.graph) == computing(graph) and folded.fusions == () and folded.left == ()


def test_a_skipped_layer_is_not_changed():
    graph = everything()
    folded = fold(graph, skip_fusion_layers=["conv"])
    assert folded.graph.nodes["sum"].op == "Add" and folded.graph.nodes["norm"].op == "FusedBatchNormV3"
    assert folded.graph.nodes["logits"].op == "BiasAdd"
    reasons = dict(folded.left)
    assert reasons["norm"] == "'conv' (Conv2D) in front of it is left alone: skip_fusion_layers names it"


def test_a_skipped_layer_keeps_its_added_bias():
    graph = everything()
    folded = fold(graph, skip_fusion_layers=["dense"])
    assert folded.graph.nodes["logits"].op == "AddV2" and "norm" not in folded.graph.nodes


@pytest.mark.parametrize(
    "named, last", [("norm", "sum"), ("product", "norm"), ("written", "product"), ("written/mul_1", "product")]
)
def test_a_skipped_norm_is_not_folded_but_what_comes_before_it_is(named, last):
    graph = everything()
    folded = fold(graph, skip_fusion_layers=[named])
    assert folded.graph.nodes[named].op == graph.nodes[named].op
    assert folded.graph.nodes[last].op == "BiasAdd"
    assert difference(graph, folded.graph) < 1e-6
    assert dict(folded.left)[named] == "skip_fusion_layers names it"


def test_what_may_be_named():
    names = fusible_nodes(everything())
    assert names == {"conv", "dense", "sum", "norm", "product", "written", "written/mul_1", "logits"}


def test_what_may_be_named_where_nothing_can_be_folded():
    sketch = Sketch()
    norm = sketch.fused_norm(sketch.node("Relu", "relu", sketch.conv(sketch.input(6, 6, 3))))
    assert fusible_nodes(sketch.graph(norm)) == {"conv", "norm"}


def test_identities_between_are_passed():
    sketch = Sketch()
    data = sketch.node("Identity", "dropout", sketch.conv(sketch.input(6, 6, 3)))
    graph = sketch.graph(sketch.fused_norm(sketch.node("Identity", "more", data)))
    folded = fold(graph)
    assert ops(folded.graph) == ["Conv2D", "BiasAdd"] and "dropout" not in folded.graph.nodes
    assert difference(graph, folded.graph) < 1e-6


def test_layers_inside_a_loop_stay_inside_it():
    import tensorflow as tf

    v1 = tf.compat.v1
    random = np.random.default_rng(0)
    was = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as built:
            x = v1.placeholder(tf.float32, [None, 4], "x")

            def body(count, value):
                value = tf.matmul(value, tf.constant(random.normal(size=(4, 4)), tf.float32), name="dense")
                return count + 1, tf.nn.tanh(value * 0.5 + tf.constant([1.0, 2.0, 3.0, 4.0]))

            _, result = v1.while_loop(lambda count, value: count < 3, body, [0, x])
            tf.identity(result, "result")
    finally:
        if was:
            v1.enable_control_flow_v2()
    graph = load(built, outputs=["result"])
    folded = fold(graph)
    assert len(folded.fusions) == 2 and folded.fusions[0].layer == "while/dense"
    assert difference(graph, folded.graph) < 1e-6


STEPS = ["bias_add", "add", "scalar", "division", "fused", "written", "centered", "identity", "minus"]


def put(sketch, step, number, data, data_format):
    """One operation that is the same for every position."""
    name, per_channel = f"step{number}", (4,) if data_format == "NHWC" else (4, 1, 1)
    if step == "bias_add":
        return sketch.bias_add(data, name, data_format=data_format)
    if step == "fused":
        return sketch.fused_norm(data, name, data_format=data_format)
    if step == "written":
        return sketch.decomposed_batch_norm(data, name, per_channel)
    if step == "identity":
        return sketch.node("Identity", name, data)
    if step in ("scalar", "division"):
        constant = sketch.constant(f"{name}/c", sketch.values(low=0.5, high=2))
        return sketch.node("Mul" if step == "scalar" else "RealDiv", name, data, constant)
    constant = sketch.constant(f"{name}/c", sketch.values(*per_channel))
    if step == "centered":
        apart = sketch.node("Sub", f"{name}/apart", data, constant)
        return sketch.node("Mul", name, sketch.constant(f"{name}/a", sketch.values(*per_channel)), apart)
    return sketch.node("Sub" if step == "minus" else "AddV2", name, data, constant)


@settings(max_examples=60, deadline=None)
@given(
    op=st.sampled_from(["Conv2D", "DepthwiseConv2dNative"]),
    data_format=st.sampled_from(sorted(INPUT)),
    steps=st.lists(st.sampled_from(STEPS), max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_chain_becomes_one_layer_and_at_most_one_bias(op, data_format, steps, seed):
    sketch = Sketch(seed)
    shape = (6, 6, 2) if data_format == "NHWC" else (2, 6, 6)
    data = sketch.conv(sketch.input(*shape), channels=(2, 4), data_format=data_format, op=op)
    for number, step in enumerate(steps):
        data = put(sketch, step, number, data, data_format)
    graph = sketch.graph(sketch.node("Abs", "magnitude", data))
    folded = fold(graph)
    adds = any(step not in ("scalar", "division", "identity") for step in steps)
    assert ops(folded.graph) == [op, *(["BiasAdd"] if adds else []), "Abs"]
    assert difference(graph, folded.graph) < 2e-5
    absorbed = [name for fusion in folded.fusions for name in fusion.absorbed]
    assert len(absorbed) == len(set(absorbed)) and set(absorbed) <= set(graph.nodes)
