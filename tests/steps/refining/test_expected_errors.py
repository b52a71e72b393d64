"""Errors that are expected from gradients: against loops over all values, and against running the candidates."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.arithmetic import Quantizer
from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.errors import ModelError
from calibrant.graph.logits import compared_tensors
from calibrant.graph.reading.load import load
from calibrant.graph.running.gradients import OutputGradients
from calibrant.progress import no_progress
from calibrant.steps.refining.expected_errors import ExpectedErrors, _TensorErrors
from calibrant.steps.refining.float_runs import FloatRuns
from calibrant.steps.refining.output_errors import OutputErrors, outputs_of, pieces_of
from calibrant.steps.refining.range_search import NARROWEST, STEP, WIDEST, ClippingRange
from graphs import conv, graph_def, numbers, placeholder, tf

RANDOM = np.random.default_rng(3)


def slow_squares(values, gradients, quantizer):
    """Rounding as independent errors spread over a step, and clipping as it is, one value after the other."""
    found = []
    for row in range(len(values)):
        of_sums = []
        for gradient in gradients:
            rounded = clipped = 0.0
            for x, slope in zip(values[row], gradient[row], strict=True):
                low, high = quantizer.range
                rounded += slope**2 * quantizer.scale**2 / 12 if x != 0 else 0.0
                clipped += slope * (min(max(x, low), high) - x)
            of_sums.append(rounded + clipped**2)
        found.append(np.mean(of_sums))
    return np.array(found)


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize(("low", "high"), [(-3.0, 5.0), (0.0, 5.0), (-4.0, 0.0), (-0.5, 5.0)])
def test_equals_the_sum_over_all_values(low, high, asymmetric):
    values = RANDOM.uniform(1.5 * min(low, -0.1), 1.5 * max(high, 0.1), (5, 40)).astype(np.float32)
    values[:, ::4] = 0
    gradients = [RANDOM.normal(0, 1, values.shape).astype(np.float32) for _ in range(2)]
    present = ClippingRange(low, high, asymmetric=asymmetric)
    errors = _TensorErrors(present)
    errors.add(values[:2], [each[:2] for each in gradients])
    errors.add(values[2:], [each[2:] for each in gradients])
    powers = [WIDEST, 0, -3, NARROWEST]
    quantizers = [Quantizer(present.quantizer.scale * STEP**power, present.quantizer.offset) for power in powers]
    expected = [slow_squares(values, gradients, quantizer) for quantizer in quantizers]
    assert errors.squares(quantizers) == pytest.approx(np.array(expected), rel=1e-4)
    between = Quantizer(present.quantizer.scale * STEP**0.5, present.quantizer.offset)
    assert errors.squares([between]).mean() == pytest.approx(slow_squares(values, gradients, between).mean(), rel=0.1)


def network(data):
    def build():
        hidden = tf.nn.relu(conv(placeholder([None, 6, 6, 2]), name="first"))
        out = tf.nn.relu(conv(hidden, name="second"))
        tf.identity(tf.linalg.matmul(tf.reduce_mean(out, [1, 2]), numbers(4, 3, seed=5)), name="out")

    return calibrant.quantize(load(graph_def(build)), None, data, samples="all").network


def test_nearly_equals_what_is_measured():
    data = numbers(64, 6, 6, 2)
    found = network(data)
    units = [[entry] for entry in found.every_input()]
    ranges = [ClippingRange(unit[0].search.low, unit[0].search.high) for unit in units]
    pieces = pieces_of(found.graph, open_data(data, inputs_of(found.graph)), 32, 64)
    candidates = {
        place: [entry.scaled(("low", "high"), power).quantizer for power in (2, 0, -4, -8)]
        for place, entry in enumerate(ranges)
    }
    reference = outputs_of(found.graph, compared_tensors(found.graph), pieces)
    expected = ExpectedErrors(FloatRuns(found.graph, units), ranges, pieces, reference, no_progress)
    with OutputErrors(found.graph, units, float16_scale=False) as errors:
        measured = errors.measure(candidates, pieces)
    for place, row in expected.measure(candidates).items():
        sums = [np.square(each).sum(axis=1) for each in (row, measured[place])]
        assert sums[0] == pytest.approx(sums[1], rel=0.6)
        assert row.shape == (4, 64)
    again = ExpectedErrors(FloatRuns(found.graph, units), ranges, pieces, reference, no_progress).measure(
        candidates, 32
    )
    assert all((again[place] == row[:, :32]).all() for place, row in expected.measure(candidates).items())


def test_values_at_the_end_of_float32():
    values, gradients = np.full((2, 8), 1e38, np.float32), [np.full((2, 8), 1e30, np.float32)] * 2
    errors = _TensorErrors(ClippingRange(0.0, 5e37))
    with np.errstate(over="raise", invalid="raise"):
        errors.add(values, gradients)
        narrow, wide = errors.squares([Quantizer(scale, -128) for scale in (1e30, 1e35)]).mean(axis=1)
    assert np.isfinite(narrow) and narrow > wide > 0


def test_of_values_that_are_not_finite_nothing_is_expected():
    def build():
        x = placeholder([None, 4])
        masked = tf.where(x > 0, x, tf.fill(tf.shape(x), -np.inf), "masked")
        tf.nn.softmax(tf.matmul(x, tf.constant(numbers(4, 4)), name="layer") + tf.nn.softmax(masked, name="shares"))

    data = np.abs(numbers(16, 4)) * np.float32([1, 1, 1, -1])
    found = calibrant.quantize(load(graph_def(build)), None, data, samples="all").network
    (entry,) = found.every_input()
    units = [[entry], [replace(entry, node="shares", index=0, tensor="masked:0")]]
    ranges = [ClippingRange(unit[0].search.low, unit[0].search.high) for unit in units]
    pieces = pieces_of(found.graph, open_data(data, inputs_of(found.graph)), 32, 64)
    reference = outputs_of(found.graph, compared_tensors(found.graph), pieces)
    with np.errstate(invalid="raise"):
        assert ExpectedErrors(FloatRuns(found.graph, units), ranges, pieces, reference, no_progress).known == {0}


def without_gradient():
    tf.raw_ops.TruncateMod(x=placeholder([None, 3]) * 3.0, y=tf.constant(2.0), name="out")


def with_a_loop():
    (found,) = tf.while_loop(lambda x: tf.reduce_sum(x) < 1, lambda x: [x + 1], [placeholder([None, 3])])
    tf.identity(found, name="out")


@pytest.mark.parametrize("build", [without_gradient, with_a_loop])
def test_graphs_without_gradients_are_refused(build):
    graph = load(graph_def(build), outputs="out")
    with pytest.raises(ModelError, match="the outputs have no gradients: "):
        OutputGradients(graph, graph.inputs, graph.outputs)


def test_a_tensor_that_no_real_number_depends_on_has_none():
    def build():
        x = placeholder([None, 3])
        tf.add(tf.cast(tf.argmax(x, 1), tf.float32), tf.reduce_sum(tf.identity(x, "other"), 1), name="out")

    graph = load(graph_def(build))
    with closing(OutputGradients(graph, ["ArgMax:0", "other:0"], graph.outputs)) as gradients:
        batch = {"x": np.ones((2, 3), np.float32)}
        found = gradients.back(batch, gradients.ahead(batch), [[np.full(2, 2, np.float32)]])
    assert list(found) == ["other:0"]
    assert found["other:0"][1][0].tolist() == [[2.0] * 3] * 2
