"""A LiteRT file whose tensors between layers lose what the fake-quantized model keeps."""

from __future__ import annotations

import logging

import pytest

from calibrant.emit.tflite.far_outputs import far_outputs
from calibrant.graph.reading.load import load
from graphs import dense, graph_def, numbers, placeholder, tf
from tflite_networks import exported


def far_away(offset):
    """A large number is added and taken away again."""
    y = tf.nn.relu(tf.tanh(dense(placeholder([None, 16]), name="one")) + offset) - offset
    tf.identity(dense(y), name="out")


@pytest.mark.parametrize(
    ("ops", "offset", "warned"), [("all", 1e4, True), ("layers", 1e4, False), ("all", 10.0, False)]
)
def test_it_is_said(caplog, ops, offset, warned):
    with caplog.at_level(logging.WARNING):
        exported(graph_def(lambda: far_away(offset)), tflite_ops=ops)
    said = [record.getMessage() for record in caplog.records if "SQNR beside" in record.getMessage()]
    assert bool(said) == warned
    assert all(text.startswith("model_int8.tflite: output out has ") and "--tflite-ops layers" in text for text in said)


def test_a_file_that_is_nearer_to_the_float_model_than_the_fake_quantized_one_is_not_far():
    def graph(offset):
        return load(graph_def(lambda: tf.identity(placeholder([None, 3]) * 2.0 + offset, name="out")))

    x = numbers(4, 3)
    original, fakequant = graph(0.0), graph(9.0)
    assert far_outputs(original, fakequant, {0: x}, [2 * x]) == {}
    assert list(far_outputs(original, fakequant, {0: x}, [2 * x - 20])) == [0]
