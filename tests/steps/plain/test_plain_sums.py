"""Sums of several tensors as sums of two."""

from __future__ import annotations

import pytest
from plain_graphs import check_on_integers, last_op, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.steps.plain.sums import with_plain_sums
from graphs import conv, graph_def, numbers, placeholder, tf


def network(count):
    x = placeholder([None, 4, 4, 4])
    return tf.identity(tf.add_n([conv(x, name=f"part{at}", seed=at) for at in range(count)]), name="out")


@pytest.mark.parametrize("count", [2, 3, 9, 10, 17, 20])
def test_the_numbers_are_the_same_bit_for_bit(count):
    graph = load(graph_def(lambda: network(count)))
    plain = with_plain_sums(graph)
    assert "AddN" not in ops(plain)
    assert last_op(plain, graph) == "AddV2"
    x = {"x": numbers(3, 4, 4, 4, seed=5)}
    [found], [wanted] = (run_once(each, x) for each in (plain, graph))
    assert found.tobytes() == wanted.tobytes()


def test_others_stay():
    def build():
        x = placeholder([None, 4])
        whole = tf.cast(tf.add_n([tf.cast(x, tf.int32)] * 3), tf.float32)
        tf.identity(tf.raw_ops.AddN(inputs=[x]) + whole, name="out")

    graph = load(graph_def(build))
    assert with_plain_sums(graph) is graph


def test_they_run_on_integers():
    check_on_integers(graph_def(lambda: network(4)), numbers(8, 4, 4, 4, seed=3), 30)


def test_tables_that_are_summed_have_codes():
    def build():
        rows = placeholder([None, 4], dtype=tf.int32)
        read = [tf.gather(tf.constant(numbers(2000, 8, seed=at)), rows[:, at]) for at in range(4)]
        tf.matmul(tf.add_n(read), tf.constant(numbers(8, 2, seed=9), name="weights"), name="out")

    rows = abs(numbers(64, 4, seed=2) * 500).astype("int32") % 2000
    result = calibrant.quantize(graph_def(build), data=rows, export="tflite")
    assert not result.export_notes["tflite"]["operators_in_float"]
    [content] = [value for name, value in result.exported.items() if name.endswith("_int8.tflite")]
    assert len(content) < 4 * 2000 * 8 * 1.2
