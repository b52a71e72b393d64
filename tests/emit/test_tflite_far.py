"""A LiteRT file whose tensors between layers lose what the fake-quantized model keeps."""

from __future__ import annotations

import logging

import pytest
from tflite_networks import exported

from graphs import dense, graph_def, placeholder, tf


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
