"""Pieces of the data: the first samples, whatever their shapes."""

import numpy as np
import pytest

import calibrant
from calibrant.data.open_data import InputSpec, open_data
from calibrant.graph.reading.load import load
from calibrant.steps.refining.output_errors import pieces_of
from graphs import conv, graph_def, numbers, placeholder, tf


def pooled(shape):
    def build():
        tf.reduce_mean(tf.nn.relu(conv(placeholder(shape), name="conv")), [1, 2], name="out")

    return load(graph_def(build))


def sizes_of(shape, batches, size, most):
    graph = pooled(shape)
    data = open_data(batches, [InputSpec("x", tuple(shape), np.dtype(np.float32))])
    return [piece.samples for piece in pieces_of(graph, data, size, most)]


def test_batches_of_one_shape_are_cut_anew():
    assert sizes_of([None, 6, 6, 2], [numbers(5, 6, 6, 2) for _ in range(5)], 8, 20) == [8, 8, 4]


def test_batches_of_several_shapes_are_cut_each():
    batches = [numbers(5, 6 + number, 6, 2) for number in range(3)]
    assert sizes_of([None, None, None, 2], batches, 4, 12) == [4, 1, 4, 1, 2]


def test_a_fixed_number_of_samples_is_kept():
    assert sizes_of([5, 6, 6, 2], [numbers(5, 6, 6, 2) for _ in range(4)], 4, 12) == [5, 5, 5]


@pytest.mark.parametrize("options", [{"refine": True}, {"budget": 1.0}], ids=["refine", "budget"])
def test_images_of_several_sizes(options):
    batches = [numbers(8, 6 + number, 6, 2, seed=number) for number in range(4)]
    assert calibrant.quantize(pooled([None, None, None, 2]), None, batches, samples="all", **options).network.layers
