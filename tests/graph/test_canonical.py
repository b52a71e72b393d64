"""Products in canonical form: the same numbers, one node of the user's name that is a layer."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.fold import fold
from calibrant.graph.canonical import canonicalize
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

raw = tf.raw_ops
C = "constant"

# equation, operands (a shape; behind C, a constant) -> the operation that it becomes
EINSUMS = [
    ("abc,cde->abde", [None, 6, 8], (C, 8, 2, 4), "BatchMatMulV2"),
    ("abcd,cde->abe", [None, 6, 2, 4], (C, 2, 4, 8), "BatchMatMulV2"),
    ("abc,cd->abd", [None, None, 8], (C, 8, 5), "BatchMatMulV2"),
    ("ab,bc->ac", [None, 8], (C, 8, 5), "MatMul"),
    ("ab,bcd->acd", [None, 8], (C, 8, 5, 2), "MatMul"),
    ("abc,cde->adbe", [None, 6, 8], (C, 8, 2, 4), "BatchMatMulV2"),
    ("cde,abc->abde", (C, 8, 2, 4), [None, 6, 8], "BatchMatMulV2"),
    ("abc,bc->a", [None, 6, 8], (C, 6, 8), "MatMul"),
    ("aecd,abcd->acbe", [None, 5, 2, 4], [None, 6, 2, 4], "BatchMatMulV2"),
    ("acbe,aecd->abcd", [None, 2, 6, 5], [None, 5, 2, 4], "BatchMatMulV2"),
    ("bqhd,bkhd->bhqk", [None, None, 2, 8], [None, None, 2, 8], "BatchMatMulV2"),
    ("abcd,acd->ab", [None, 4, 5, 2], [None, 5, 2], "BatchMatMulV2"),
    ("...a,ab->...b", [None, 3, 8], (C, 8, 5), "BatchMatMulV2"),
    ("...ab,...bc->...ac", [None, 3, 4, 5], [None, 3, 5, 2], "BatchMatMulV2"),
    ("bnqd,nkd->bnqk", [None, 2, 4, 5], (C, 2, 3, 5), "BatchMatMulV2"),
    ("abcd,cd->ab", [None, None, 3, 5], (C, 3, 5), "BatchMatMulV2"),
    ("bdxe,bcyd->bxcye", [None, 3, 2, 4], [None, 5, 2, 3], "BatchMatMulV2"),
    ("ab,cd->abcd", [None, 4], (C, 3, 2), "Einsum"),
    ("abc,cd->ab", [None, 4, 5], (C, 5, 3), "Einsum"),
    ("aabc,cd->abd", [3, 3, 4, 5], (C, 5, 3), "Einsum"),
]


def einsum(equation, *operands):
    """A graph with one Einsum, ``layer``, and what reads it."""

    def build():
        inputs = [
            tf.constant(numbers(*shape[1:], seed=index)) if shape[0] == C else placeholder(shape, f"x{index}")
            for index, shape in enumerate(operands)
        ]
        tf.identity(tf.nn.relu(raw.Einsum(inputs=inputs, equation=equation, name="layer")), name="out")

    return load(graph_def(build), outputs=["out", "layer"])


def batch(graph, size=4):
    return {
        key: numbers(*[axis or size for axis in graph.shape(tensor)], seed=index)
        for index, (key, tensor) in enumerate(zip(graph.input_keys, graph.inputs, strict=True))
    }


@pytest.mark.parametrize("equation, first, second, op", EINSUMS, ids=[case[0] for case in EINSUMS])
def test_einsum(equation, first, second, op):
    graph = einsum(equation, first, second)
    canonical = canonicalize(graph)
    assert canonical.graph.nodes["layer"].op == op
    for before, after in zip(*(run_once(found, batch(graph)) for found in (graph, canonical.graph)), strict=True):
        assert before.shape == after.shape and np.abs(before - after).max() <= 1e-6 * np.abs(before).max()
    layers, rejected = find_layers(graph)
    assert [layer.name for layer in layers] == ["layer"] * (op != "Einsum")
    assert [entry.name for entry in rejected] == ["layer"] * (op == "Einsum")
    assert canonicalize(canonical.graph).graph is canonical.graph


@pytest.mark.parametrize("equation, first, second", [case[:3] for case in (EINSUMS[0], EINSUMS[5], EINSUMS[9])])
def test_outputs_of_a_quantized_einsum_keep_name_and_order(equation, first, second):
    graph = einsum(equation, first, second)
    result = quantize(graph, data=batch(graph, 16))
    assert result.fakequant.outputs == graph.outputs == ("out:0", "layer:0")
    for before, after in zip(*(run_once(found, batch(graph)) for found in (graph, result.fakequant)), strict=True):
        assert before.shape == after.shape and 0 < np.abs(before - after).max() < 0.05 * np.abs(before).max()


def test_a_bias_behind_separate_heads_is_the_layers():
    def build():
        heads = raw.Einsum(inputs=[placeholder([None, 6, 8]), tf.constant(numbers(8, 2, 4))], equation="abc,cde->abde")
        tf.nn.relu(raw.AddV2(x=heads, y=tf.constant(numbers(2, 4, seed=3))) * 0.5, name="out")

    graph = load(graph_def(build))
    folded = fold(graph)
    (layer,), _ = find_layers(folded.graph)
    assert layer.bias == f"{layer.name}/bias" and {fusion.layer for fusion in folded.fusions} == {layer.name}
    assert [node.op for node in folded.graph.nodes.values() if node.op in ("AddV2", "Mul")] == []
    before, after = (run_once(found, batch(graph))[0] for found in (graph, folded.graph))
    assert np.abs(before - after).max() <= 1e-6 * np.abs(before).max()


def test_einsums_that_read_each_other():
    def build():
        x = placeholder([None, 5, 2, 4])
        scores = raw.Einsum(inputs=[x, tf.nn.relu(x)], equation="aecd,abcd->acbe", name="scores")
        mixed = raw.Einsum(inputs=[scores, x], equation="acbe,aecd->abcd", name="mixed")
        raw.Einsum(inputs=[mixed, tf.constant(numbers(2, 4, 8))], equation="abcd,cde->abe", name="out")

    graph = load(graph_def(build))
    canonical = canonicalize(graph).graph
    before, after = (run_once(found, batch(graph))[0] for found in (graph, canonical))
    assert np.abs(before - after).max() <= 1e-6 * np.abs(before).max()
    assert [layer.name for layer in find_layers(graph)[0]] == ["scores", "mixed", "out"]


def test_a_constant_that_is_transposed_twice_is_written_down_once():
    def build():
        x, value = placeholder([None, 4]), tf.constant(numbers(3, 4))
        one, two = (tf.matmul(y, value, transpose_b=True, name=name) for y, name in ((x, "one"), (x * 2.0, "two")))
        tf.add(one, two, name="out")

    one, two = quantize(graph_def(build), data=numbers(8, 4)).network.layers
    assert one.layer.constant == two.layer.constant and one.weights is two.weights


def test_weights_behind_any_stateless_operation():
    def build():
        kernel = tf.nn.l2_normalize(tf.concat([tf.constant(numbers(3, 3, 4, 2)), tf.ones([3, 3, 4, 1])], 3), [0, 1, 2])
        tf.nn.conv2d(placeholder([None, 6, 6, 4]), tf.split(kernel, 3, 3)[0], 1, "SAME", name="layer")

    (layer,), rejected = find_layers(load(graph_def(build)))
    assert rejected == () and layer.weights_shape == (3, 3, 4, 1)
