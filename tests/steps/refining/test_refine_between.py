"""Ranges between layers, chosen for the outputs of a file that has codes there too."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.running.run import run_once
from calibrant.steps.refining.refine import NEGLIGIBLE_ERROR
from calibrant.steps.refining.too_costly import NOISE, tolerable
from graphs import conv, graph_def, numbers, placeholder, tf


def unheard():
    """A sum with a channel of large numbers that nobody needs."""
    x = placeholder([None, 8, 8, 4])
    y = tf.nn.relu(conv(x, name="one")) + conv(x, name="two", seed=4) * np.array([1, 1, 1, 100], np.float32)
    return conv(y * np.array([1, 1, 1, 0], np.float32), name="out", seed=6)


SIZES = np.array([0.01, 1, 100, 1e4], np.float32)


def normalized():
    """Features of many sizes, which the network itself brings to one."""
    return conv((placeholder([None, 8, 8, 4]) - SIZES) / SIZES, name="out", seed=6)


def quantized(build, sizes=1.0, **options):
    data = [sizes * numbers(4, 8, 8, 4, seed=turn) for turn in range(8)]
    return calibrant.quantize(
        graph_def(build), "batch_num: 8", data, outputs=["out"], export="tflite", bias_correction=False, **options
    )


def closeness(result, sizes=1.0):
    """SQNR of the LiteRT file on other samples, in dB."""
    [content] = [value for name, value in result.exported.items() if name.endswith(".tflite")]
    x = sizes * numbers(32, 8, 8, 4, seed=99)
    [wanted] = run_once(result.original, {"x": x})
    runner = TfliteRunner(content)
    runner.run({0: x})
    return arrays_sqnr_db(wanted, runner.real(runner.file.outputs()[0]))


@pytest.mark.parametrize("refine", [True, None])
def test_numbers_that_no_output_needs_are_cut_off(refine):
    plain, refined = quantized(unheard, refine=False), quantized(unheard, refine=refine)
    assert closeness(refined) > closeness(plain) + 6
    layers = [[entry.quantizer for entry in result.network.every_input()] for result in (plain, refined)]
    assert layers[0] == layers[1]
    moved = {
        tensor
        for tensor, search in refined.network.intermediate.items()
        if search.quantizer != plain.network.intermediate[tensor].quantizer
    }
    assert moved and "one:0" not in moved


def test_what_has_too_few_codes_stays_in_float():
    result = quantized(normalized, SIZES, refine=True)
    assert closeness(result, SIZES) > 30 > 20 > closeness(quantized(normalized, SIZES, refine=False), SIZES)
    floats = result.export_notes["tflite"]["operators_in_float"]
    assert {row["operator"] for row in floats} == {"SUB", "MUL"}
    assert any("would cost the outputs more" in row["reason"] for row in floats)


def test_an_output_of_which_layers_leave_little_hides_no_tensor_of_another():
    sizes = np.array([1, 4, 16, 64], np.float32)

    def build():
        conv((placeholder([None, 8, 8, 4]) - sizes) / sizes, name="out", seed=6)
        large = placeholder([None, 8, 8, 4], "y") + 6000.0
        tf.identity(conv(large, name="noisy", seed=6) - conv(tf.fill([1, 8, 8, 4], 6000.0), seed=6), name="other")

    data = {"x": sizes * numbers(32, 8, 8, 4, seed=1), "y": numbers(32, 8, 8, 4, seed=2)}
    outputs = ["out", "other"]
    plain, refined = (
        calibrant.quantize(
            graph_def(build), None, data, outputs=outputs, export="tflite", refine=refine, bias_correction=False
        )
        for refine in (False, True)
    )
    others = {"x": sizes * numbers(32, 8, 8, 4, seed=8), "y": numbers(32, 8, 8, 4, seed=9)}
    wanted = run_once(refined.original, others)[0]

    def reached(result):
        [content] = [value for name, value in result.exported.items() if name.endswith(".tflite")]
        runner = TfliteRunner(content)
        runner.run({place: others[key] for place, key in enumerate(result.original.input_keys)})
        return arrays_sqnr_db(wanted, runner.real(runner.file.outputs()[0]))

    assert reached(refined) > 25 > 15 > reached(plain)


def test_layers_that_ruin_an_output_excuse_no_tensor_between_them():
    whole = SimpleNamespace(samples=16, by_output=lambda network: np.array([0.5, 0.02, 1e-4]))
    np.testing.assert_allclose(tolerable(None, whole), [NOISE / 4, 0.01, NEGLIGIBLE_ERROR / 4])


def test_too_few_codes_are_found_without_gradients():
    """A loop has none, so each tensor is tried."""

    def build():
        step = lambda turn, x: (turn + 1, x * 0.5)  # noqa: E731
        halved = tf.while_loop(lambda turn, x: turn < 2, step, [0, (placeholder([None, 8, 8, 4]) - SIZES) / SIZES])[1]
        return conv(tf.ensure_shape(halved, [None, 8, 8, 4]), name="out", seed=6)

    assert closeness(quantized(build, SIZES, refine=True), SIZES) > 30
    assert closeness(quantized(build, SIZES, refine=False), SIZES) < 20


def test_an_input_with_too_few_codes_cannot_be_int8():
    with pytest.raises(calibrant.CalibrantError, match="the input x is float, as 8 bits would cost the outputs more"):
        quantized(normalized, SIZES, refine=True, tflite_io="int8")


def test_ranges_of_a_file_that_loses_nothing_between_layers_stay():
    def build():
        return conv(tf.nn.relu(conv(placeholder([None, 8, 8, 4]), name="one")), name="out", seed=6)

    plain, refined = (quantized(build, refine=refine) for refine in (False, True))
    assert plain.network.intermediate == refined.network.intermediate
