"""A graph that holds a number of samples says it in the shapes of its inputs."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.graph.reading.load import load
from graphs import conv, graph_def, numbers, placeholder, tf


def _first_sizes(build):
    graph = load(graph_def(build))
    return [graph.shape(tensor)[0] for tensor in graph.inputs]


def _of_four():
    flat = tf.reshape(2 * conv(placeholder([None, 6, 6, 2])), [4 * 36, 4])
    tf.reshape(flat, [4, 144], name="out")


def test_the_number_of_samples_that_all_outputs_have_is_that_of_the_inputs():
    assert _first_sizes(_of_four) == [4]


def test_a_number_of_rows_that_other_numbers_of_samples_give_as_well_is_none_of_samples():
    assert _first_sizes(lambda: tf.math.top_k(tf.reshape(placeholder([None, 8]), [-1]), 5, name="best")) == [None]


def test_a_sample_that_is_compared_with_several_rows_is_one():
    def build():
        tf.reduce_sum((placeholder([None, 6]) - numbers(8, 6)) ** 2, -1, name="distances")

    assert _first_sizes(build) == [None]


def test_an_output_with_another_number_leaves_it_open():
    def build():
        x = placeholder([None, 3])
        tf.identity(tf.reshape(x, [4, 3]), name="one")
        tf.reshape(x, [2, 6], name="two")

    graph = load(graph_def(build), outputs=["one", "two"])
    assert graph.shape(graph.inputs[0]) == (None, 3)


def test_data_are_cut_into_batches_of_that_number(caplog):
    caplog.set_level("INFO", "calibrant")
    result = calibrant.quantize(graph_def(_of_four), data=numbers(18, 6, 6, 2), refine=False, export="tflite")
    assert result.report["totals"]["batches"] == 4
    assert result.report["exports"]["tflite"]["samples_a_run"] in (None, 4) and not result.refused
    with pytest.raises(calibrant.DataError, match="batch_size is 8, the model's is fixed at 4"):
        calibrant.quantize(graph_def(_of_four), data=np.zeros((8, 6, 6, 2)), batch_size=8)
