"""Large weights that the converter never sees: its file is the one that it makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.conversion import stand_ins
from calibrant.emit.tflite.conversion.convert import convert
from calibrant.emit.tflite.conversion.stand_ins import converted_file, put_weights_back, with_stand_ins
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.reading.load import load
from graphs import graph_def, numbers, placeholder, tf


@pytest.fixture(autouse=True)
def _small_weights_are_large(monkeypatch):
    monkeypatch.setattr(stand_ins, "LEAST_BYTES", 64)


def image():
    return placeholder([None, 6, 6, 4])


def weights(*shape, seed=3):
    return tf.constant(numbers(*shape, seed=seed))


def square_both_ways():
    y = tf.matmul(placeholder([None, 5]), weights(5, 5), transpose_b=True)
    return tf.matmul(tf.sin(y), weights(5, 5, seed=4))


def table_that_is_a_weight_too():
    table = weights(16, 5)
    rows = tf.gather(table, tf.cast(placeholder([None]), tf.int32))
    return tf.matmul(tf.sin(rows), tf.identity(table), transpose_b=True)


def transposed_convolution():
    return tf.nn.conv2d_transpose(image(), weights(3, 3, 5, 4), [1, 12, 12, 5], 2)


BUILDERS = {
    "dense": lambda: tf.matmul(placeholder([None, 5]), weights(5, 7)),
    "square_both_ways": square_both_ways,
    "table_that_is_a_weight_too": table_that_is_a_weight_too,
    "convolution": lambda: tf.nn.conv2d(image(), weights(3, 3, 4, 4), 1, "SAME"),
    "grouped_convolution": lambda: tf.nn.conv2d(image(), weights(3, 3, 2, 6), 2, "VALID"),
    "transposed_convolution": transposed_convolution,
    "batches": lambda: tf.matmul(placeholder([None, 3, 4, 5]), weights(5, 5)),
    "a_batch_of_weights": lambda: tf.matmul(placeholder([None, 3, 4, 5]), weights(3, 5, 5)),
    "a_turned_batch": lambda: tf.matmul(placeholder([None, 3, 4, 5]), weights(3, 5, 5), transpose_b=True),
}


def operators(file):
    """Each operator: its name, the tensors between as numbers in the order of their making, and the constants."""
    seen = {}
    return [
        (
            each.name,
            [
                None
                if tensor is None
                else tensor.values.tobytes()
                if tensor.values is not None
                else seen.setdefault(tensor.index, len(seen))
                for tensor in each.inputs
            ],
            [seen.setdefault(tensor.index, len(seen)) for tensor in each.outputs],
        )
        for each in file.operators()
    ]


@pytest.mark.parametrize("name", BUILDERS)
def test_the_file_is_that_of_the_weights(name):
    graph = load(graph_def(lambda: tf.identity(BUILDERS[name](), name="out")))
    light, found = with_stand_ins(graph)
    assert found
    file = File(convert(light))
    assert put_weights_back(file, graph, found)
    assert operators(file) == operators(File(convert(graph)))


def with_factors(*factors):
    """A dense layer whose results are multiplied, and which another one shares its weight with."""
    shared = weights(5, 5)
    y = tf.matmul(placeholder([None, 5]), shared)
    return tf.matmul(tf.sin(y), shared) * tf.constant(np.float32(factors))


@pytest.mark.parametrize(
    "build",
    [
        lambda: tf.matmul(placeholder([None, 5]), weights(5, 7)) * weights(7, seed=5),
        lambda: tf.matmul(placeholder([None, 5]), weights(5, 4)) * tf.constant([1.0, 0.5, 1.0, 1.0]),
        lambda: tf.matmul(placeholder([None, 5]) * tf.constant([1.0, 0, 1, 0, 1]), weights(5, 7)),
        lambda: tf.nn.conv2d(image(), weights(3, 3, 4, 4), 1, "SAME") * 3.0,
        lambda: tf.nn.conv2d(image(), weights(3, 3, 4, 4), 1, "SAME") * tf.constant([1, 1, 1, 1.01]),
        lambda: with_factors(1, 1, 1, 1, 0.99),
        lambda: with_factors(2, 1, 1, 1, 1),
    ],
)
def test_a_weight_that_the_converter_computes_with_is_converted(build):
    graph = load(graph_def(lambda: tf.identity(build(), name="out")))
    light, found = with_stand_ins(graph)
    assert found
    assert not put_weights_back(File(convert(light)), graph, found)
    assert operators(converted_file(graph)) == operators(File(convert(graph)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: placeholder([None, 5]) + weights(64, 5)[0],
        lambda: tf.matmul(placeholder([None, 5]) @ weights(5, 5), weights(5, 1)) + weights(1, 20),
        lambda: tf.gather(weights(16, 5), tf.constant([3])) + placeholder([None, 5]),
        lambda: tf.matmul(tf.gather(weights(16, 5), [3, 2, 1, 0]), weights(5, 5)) + placeholder([None, 4, 5]),
    ],
)
def test_what_is_no_weight_alone_stays(build):
    graph = load(graph_def(lambda: tf.identity(build(), name="out")))
    light, found = with_stand_ins(graph)
    assert {reader.op for each in found.values() for reader in each.readers} <= {"MatMul"}
    replaced = {each.name for each in found.values()}
    assert all(light.nodes[name] == node for name, node in graph.nodes.items() if name not in replaced)


def test_no_two_numbers_are_the_same_and_none_is_left_in_the_file():
    graph = load(graph_def(lambda: tf.identity(square_both_ways(), name="out")))
    _, found = with_stand_ins(graph)
    assert len(found) == 2
    for tensor in converted_file(graph).tensors():
        if tensor.values is not None and tensor.dtype == np.float32:
            assert not np.isin(tensor.values, [np.float32(number) for number in found]).any()
