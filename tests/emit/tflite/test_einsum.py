"""Einsums that are no products of matrices, in LiteRT files."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.rewrites.plain_einsum import einsum_as_sums
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf
from tflite_networks import computed, exported, image

EQUATIONS = [
    ("abc->acb", (4, 5)),
    ("abc->ab", (4, 5)),
    ("abb->ba", (4, 4)),
    ("abb->a", (4, 4)),
    ("abbc,b->ac", (4, 4, 3), (4,)),
    ("abbb->a", (4, 4, 4)),
    ("abc,c->abc", (4, 5), (5,)),
    ("abc,cb->acb", (4, 5), (5, 4)),
    ("ab,cd->dabc", (4,), (2, 3)),
    ("abcd,de->abe", (4, 5, 3), (3, 6)),
    ("abcd,def->aebc", (4, 5, 3), (3, 6, 2)),
    ("abc,de->ab", (4, 5), (2, 3)),
    ("a...b,b->a...b", (4, 5, 3), (3,)),
    ("...ab,cb->...a", (4, 5), (6, 5)),
]


def einsum(equation, first, constants):
    operands = [placeholder([None, *first]), *(tf.constant(numbers(*shape, seed=3)) for shape in constants)]
    return tf.raw_ops.Einsum(inputs=operands, equation=equation, name="out")


@pytest.mark.parametrize("equation, first, constants", [(row[0], row[1], row[2:]) for row in EQUATIONS])
def test_products_of_elements_and_sums_have_the_same_values(equation, first, constants):
    graph = load(graph_def(lambda: einsum(equation, first, constants)))
    edit = graph.edit()
    einsum_as_sums(edit, graph.nodes["out"])
    plain = edit.finish()
    assert "Einsum" not in {node.op for node in plain.nodes.values()}
    x = {graph.input_keys[0]: numbers(6, *first, seed=5)}
    np.testing.assert_allclose(run_once(plain, x)[0], run_once(graph, x)[0], rtol=1e-5, atol=1e-5)


def test_two_operands_that_are_computed():
    def build():
        x = placeholder([None, 4, 5])
        tf.raw_ops.Einsum(inputs=[x, tf.nn.relu(x[:, :, 0])], equation="abc,ad->bda", name="out")

    graph = load(graph_def(build))
    edit = graph.edit()
    einsum_as_sums(edit, graph.nodes["out"])
    x = {graph.input_keys[0]: numbers(6, 4, 5, seed=5)}
    np.testing.assert_allclose(run_once(edit.finish(), x)[0], run_once(graph, x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("equation", "shape"), [("aab->b", (None, 3)), ("ab->abb", (3,))])
def test_a_diagonal_of_unknown_size_or_in_the_result_is_left_alone(equation, shape):
    graph = load(graph_def(lambda: einsum(equation, shape, ())))
    edit = graph.edit()
    einsum_as_sums(edit, graph.nodes["out"])
    assert edit.finish().nodes["out"].op == "Einsum"


def shared_key():
    return tf.raw_ops.Einsum(
        inputs=[placeholder([None, 2, 6, 4]), placeholder([None, 1, 5, 4], "k")],
        equation="...qd,...kd->...qk",
        name="out",
    )


def whole_numbers():
    x = tf.cast(placeholder([None, 4, 4]), tf.int32)
    return tf.raw_ops.Einsum(inputs=[x], equation="abb->ab", name="out")


@pytest.mark.parametrize("build", [shared_key, whole_numbers])
def test_products_of_matrices_and_other_types_are_left_to_the_converter(build):
    graph = load(graph_def(build))
    edit = graph.edit()
    einsum_as_sums(edit, graph.nodes["out"])
    assert edit.finish().nodes["out"].op == "Einsum"


@pytest.mark.parametrize("equation, shape", [("abcd,d->abcd", (4,)), ("abcd,de->abe", (4, 5)), ("abbd->abd", ())])
def test_files_run_and_multiply_on_integers(equation, shape):
    def build():
        y = conv(image(8, 8, 4), name="one")
        constants = [tf.constant(numbers(*shape, seed=3))] if shape else []
        tf.raw_ops.Einsum(inputs=[y, *constants], equation=equation, name="out")

    result, x = exported(graph_def(build))
    assert not result.refused
    [made], [simulated], names = computed(result, x)
    np.testing.assert_allclose(made, simulated, atol=1e-4)
    assert not {"BATCH_MATMUL", "FULLY_CONNECTED"} & names
    [expected] = run_once(result.network.graph, {result.network.graph.input_keys[0]: x})
    assert np.square(made - expected).sum() < 1e-2 * np.square(expected).sum()
