"""Reductions of seven axes, which XNNPACK cannot take."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import calibrant
from calibrant.emit.tflite.rewrites.many_axes import reduce_fewer_axes
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

SHAPE = (2, 3, 1, 2, 2, 3, 2)


@pytest.mark.parametrize("op", ["Max", "Mean", "Min", "Sum"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [[5, 6], [-1], [1, 2, 4], [0, 1, 2], list(range(7))])
def test_they_reduce_the_same(op, keepdims, axes):
    reduce = getattr(tf, f"reduce_{op.lower()}")
    graph = load(graph_def(lambda: reduce(placeholder([None, *SHAPE[1:]]), axes, keepdims, name="out")))
    edit = graph.edit()
    reduce_fewer_axes(edit, graph.nodes["out"])
    changed = edit.finish()
    [made] = [node for node in changed.nodes.values() if node.op == op]
    assert len(changed.shape(made.input[0])) <= 6
    assert changed.shape("out:0") == graph.shape("out:0")
    x = numbers(*SHAPE)
    expected, found = (run_once(each, {each.input_keys[0]: x})[0] for each in (graph, changed))
    assert expected.shape == found.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [([None, 2, 2, 2], [1]), ([None, None, 2, 2, 2, 2, 2], [1]), (SHAPE, [0, 2, 4, 6])],
    ids=["few axes", "open sizes", "axes that alternate"],
)
def test_others_stay(shape, axes):
    graph = load(graph_def(lambda: tf.reduce_sum(placeholder(shape), axes, name="out")))
    edit = graph.edit()
    reduce_fewer_axes(edit, graph.nodes["out"])
    assert edit.finish().nodes["out"].op == "Sum"


def test_attention_over_two_axes_has_a_file(tmp_path):
    x = keras.Input((3, 4, 4, 4))
    attention = layers.MultiHeadAttention(2, 3, attention_axes=(2, 3))
    model = keras.Model(x, layers.Dense(4)(attention(x, x)))
    data = numbers(8, 3, 4, 4, 4)
    result = calibrant.quantize(model, "batch_num: 1", [data], tmp_path / "out", export="tflite")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", data).passed
