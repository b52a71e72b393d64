"""Kernels whose scale is the same in every model, where that is too coarse."""

from __future__ import annotations

import pytest

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf


def pooled_by_attention():
    """The mean of 600 positions by a softmax over them, of which each is less than half of 1/256."""
    x = placeholder([None, 600, 4])
    scores = tf.reshape(dense(tf.reshape(x, [-1, 4]), 1, "scores"), [-1, 600, 1])
    shares = tf.nn.softmax(0.1 * scores, 1)
    return dense(tf.reduce_sum(shares * x, 1), 4, "last", seed=8)


def attended():
    """The same as a product of two activations, which is a layer."""
    x = placeholder([None, 600, 4])
    shares = tf.nn.softmax(0.1 * tf.matmul(x[:, :8], x, transpose_b=True))
    return dense(tf.reshape(tf.matmul(shares, x), [-1, 32]), 4, "last", seed=8)


def rare():
    """Probabilities of about one percent."""
    return tf.sigmoid(dense(placeholder([None, 600, 4])[:, 0], 4, "last") * 0.3 - 4.6)


def gated():
    """Halves, thirds and quarters, for which the kernel's scale is fine."""
    return dense(tf.sigmoid(dense(placeholder([None, 600, 4])[:, 0], 8, "first")), 4, "last", seed=8)


def rare_beside_much_noise():
    """The same, and an output that its layers leave little of: it reads a small difference of large numbers."""
    x = placeholder([None, 600, 4])[:, 0]
    large = dense(x, 8, "large", seed=5) + 60.0
    offset = tf.constant(60.0 * numbers(8, 4, seed=6).sum(0))
    tf.identity(dense(large, 4, "noisy", seed=6) - offset, name="other")
    return tf.sigmoid(dense(x, 4, "last") * 0.3 - 4.6)


def quantized(build, outputs=("out",), **options):
    data = [numbers(8, 600, 4, seed=turn) for turn in range(4)]
    model = graph_def(lambda: tf.identity(build(), name="out"))
    return calibrant.quantize(
        model, "batch_num: 4", data, outputs=outputs, export="tflite", bias_correction=False, **options
    )


def closeness(result):
    [content] = [value for name, value in result.exported.items() if name.endswith(".tflite")]
    x = numbers(8, 600, 4, seed=99)
    wanted = run_once(result.original, {"x": x})[0]
    runner = TfliteRunner(content)
    runner.run({0: x})
    return arrays_sqnr_db(wanted, runner.real(runner.file.outputs()[0]))


def in_float(result):
    return {row["operator"]: row["reason"] for row in result.export_notes["tflite"]["operators_in_float"]}


@pytest.mark.parametrize(
    ("build", "kernel"), [(pooled_by_attention, "SOFTMAX"), (attended, "SOFTMAX"), (rare, "LOGISTIC")]
)
def test_a_kernel_that_costs_more_than_all_layers_is_in_float(build, kernel):
    plain, refined = quantized(build, refine=False), quantized(build, refine=True)
    assert kernel not in in_float(plain)
    assert "would cost the outputs more" in in_float(refined)[kernel]
    assert closeness(refined) > closeness(plain) + 10


def test_an_output_of_which_layers_leave_little_hides_no_kernel_of_another():
    plain, refined = (quantized(rare_beside_much_noise, ["out", "other"], refine=refine) for refine in (False, True))
    assert "would cost the outputs more" in in_float(refined)["LOGISTIC"]
    assert closeness(refined) > closeness(plain) + 10


def test_a_kernel_that_costs_little_runs_on_integers():
    assert not in_float(quantized(gated, refine=True))


def test_with_int8_outputs_their_kernel_runs_on_integers():
    result = quantized(rare, tflite_io="int8", refine=True)
    assert not result.refused
    assert not in_float(result)
