"""What is said of a model once it is folded."""

from __future__ import annotations

import logging

from calibrant.config import load_config
from calibrant.graph.reading.load import load
from calibrant.steps.planned import folded_model
from graphs import conv, graph_def, numbers, placeholder, tf


def bias_behind_a_squeeze():
    x = tf.squeeze(conv(placeholder([None, 1, 6, 3])), [1])
    tf.identity(tf.nn.bias_add(x, tf.constant(numbers(4))), name="out")


def test_fusions_are_counted_by_their_kinds(caplog):
    caplog.set_level(logging.DEBUG, "calibrant")
    folded = folded_model(load(graph_def(bias_behind_a_squeeze)), load_config(None)).folded
    [fusion] = folded.fusions
    assert caplog.messages == [f"fusions: 1 {fusion.kind}; norms left: 0"]
