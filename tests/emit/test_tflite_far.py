"""A LiteRT file whose tensors between layers lose what the fake-quantized model keeps."""

from __future__ import annotations

import logging

import pytest
from tflite_networks import exported

from graphs import dense, graph_def, placeholder, tf


def masked(least):
    """Attention to the first two places alone: scores of the others get a large negative number."""
    x = placeholder([None, 8, 16])
    scores = tf.matmul(x, x, transpose_b=True) / 4 + tf.constant([0.0] * 2 + [least] * 6)
    tf.identity(dense(tf.matmul(tf.nn.softmax(scores), x)), name="out")


@pytest.mark.parametrize(
    ("ops", "least", "warned"), [("all", -1e9, True), ("layers", -1e9, False), ("all", -9.0, False)]
)
def test_it_is_said(caplog, ops, least, warned):
    with caplog.at_level(logging.WARNING):
        exported(graph_def(lambda: masked(least)), tflite_ops=ops)
    said = [record.getMessage() for record in caplog.records if "SQNR beside" in record.getMessage()]
    assert bool(said) == warned
    assert all(text.startswith("model_int8.tflite: output out has ") and "--tflite-ops layers" in text for text in said)
