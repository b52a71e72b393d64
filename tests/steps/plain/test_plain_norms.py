"""FusedBatchNorms that no layer absorbs, as products and sums."""

from __future__ import annotations

import numpy as np
import pytest
from plain_graphs import check_numbers, ops

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.steps.plain.norms import with_plain_norms
from graphs import conv, graph_def, numbers, placeholder, tf


def norm(x, version="V3", **attributes):
    """Of four channels."""
    parts = ("scale", "offset", "mean")
    parameters = {part: tf.constant(numbers(4, seed=seed)) for seed, part in enumerate(parts)}
    parameters["variance"] = tf.constant(np.abs(numbers(4, seed=7)) + 0.5)
    operation = getattr(tf.raw_ops, f"FusedBatchNorm{version}")
    return operation(x=x, **parameters, is_training=False, name="norm", **attributes)[0]


@pytest.mark.parametrize("version", ["", "V2", "V3"])
@pytest.mark.parametrize("shape", [(None, 6, 6, 4), (None, None, None, 4)])
def test_values_and_names_stay(version, shape):
    graph = load(graph_def(lambda: tf.nn.relu(norm(placeholder(shape), version), name="out")))
    plain = with_plain_norms(graph)
    assert plain.nodes["norm"].op == "AddV2" and plain.nodes["norm/product"].op == "Mul"
    check_numbers(plain, graph, numbers(2, 6, 6, 4, seed=5), rtol=1e-5, atol=1e-5)


def test_channels_first():
    graph = load(graph_def(lambda: tf.nn.relu(norm(placeholder((None, 4, 6, 5)), data_format="NCHW"), name="out")))
    x = numbers(2, 4, 6, 5, seed=5)
    last = load(graph_def(lambda: tf.nn.relu(norm(placeholder((None, 6, 5, 4))), name="out")))
    [wanted] = run_once(last, {last.input_keys[0]: np.moveaxis(x, 1, -1)})
    [found] = run_once(with_plain_norms(graph), {graph.input_keys[0]: x})
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), wanted, rtol=1e-5, atol=1e-5)


def halves():
    return tf.cast(norm(tf.cast(placeholder((None, 6, 6, 4)), tf.float16)), tf.float32)


def fed():
    x = placeholder((None, 6, 6, 4))
    mean = tf.reduce_mean(x, [0, 1, 2])
    ones = tf.ones([4])
    return tf.raw_ops.FusedBatchNormV3(x=x, scale=ones, offset=ones, mean=mean, variance=ones, is_training=False)[0]


@pytest.mark.parametrize("build", [halves, fed])
def test_others_stay(build):
    graph = load(graph_def(lambda: tf.identity(build(), name="out")))
    assert with_plain_norms(graph) is graph


def before_activations():
    """As in networks whose norms and activations come before their layers, behind sums."""
    y = conv(placeholder((None, 8, 8, 4)), name="one")
    z = conv(tf.nn.relu(norm(y)), name="two", seed=4)
    return tf.nn.relu(y + z)


def test_all_files_of_an_export_to_litert_have_them():
    model, x = graph_def(lambda: tf.identity(before_activations(), name="out")), numbers(8, 8, 8, 4, seed=5)
    plain = calibrant.quantize(model, "batch_num : 1", [x])
    lite = calibrant.quantize(model, "batch_num : 1", [x], export="tflite")
    assert "FusedBatchNormV3" in ops(plain.fakequant) and "FusedBatchNormV3" not in ops(lite.fakequant)
    assert lite.export_notes["tflite"]["operators_in_float"] == []
    [first], [second] = (run_once(each.fakequant, {"x": x}) for each in (plain, lite))
    assert np.mean(np.abs(first - second)) < 1e-3 * np.abs(first).max()
