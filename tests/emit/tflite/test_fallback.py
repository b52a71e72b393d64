"""A file that does not run: the operators at fault go back to float, and only they."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.planning import fallback
from calibrant.emit.tflite.planning.fallback import offenders
from calibrant.emit.tflite.planning.kernels import COMPARING, KERNELS, Kernel, Result
from calibrant.emit.tflite.planning.plan import FilePlan
from graphs import conv, graph_def, tf
from tflite_networks import exported, image, steps_apart


def between(operation):
    def build():
        tf.identity(conv(operation(conv(image(), name="one")), name="two", seed=4), name="out")

    return graph_def(build)


def test_an_operator_that_ends_the_process_goes_back_to_float_alone(monkeypatch):
    """The kernel of GREATER ends the process where a scale is 1."""
    monkeypatch.setitem(KERNELS, "GREATER", Kernel(Result.OTHER_TYPE, None, below=math.inf))
    result, x = exported(between(lambda y: tf.where(y > 127.0, y, y * 0.5)))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    [found] = result.export_notes["tflite"]["operators_in_float"]
    assert found["operator"] == "GREATER"
    assert "ends the process with XNNPACK (SIGABRT)" in found["reason"]
    assert {"CONV_2D", "MUL", "SELECT_V2", "QUANTIZE"} == {each.name for each in file.operators() if each.is_integer}


def test_a_comparison_with_zero_runs_on_integers():
    result, x = exported(between(lambda y: tf.where(y > 0.0, y, tf.tanh(y))))
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 0.01) >= 0.999
    [compared] = [each for each in file.operators() if each.name == "GREATER"]
    assert all(tensor.dtype == np.int8 for tensor in compared.inputs)


def test_scales_that_comparisons_do_not_take():
    result, _ = exported(between(lambda y: tf.where(y > 200.0, y, y * 0.5)))
    [found] = result.export_notes["tflite"]["operators_in_float"]
    assert found["operator"] == "GREATER"
    assert "too large" in found["reason"]


@pytest.mark.parametrize("beside", [-0.0012, -0.0008, 0.0008, 0.0012])
@pytest.mark.parametrize("operation", [tf.greater, tf.greater_equal, tf.less, tf.less_equal, tf.equal, tf.not_equal])
def test_a_comparison_resolves_what_its_kernel_does(operation, beside):
    """Kernels compare in steps of 1/256, so that a threshold close to a code counts as that code or not."""
    result, x = exported(between(lambda y: tf.where(operation(y, 1.5), y, y * 0.1)))
    step = next(each for each in steps_apart(result, x)[1].operators() if each.name in COMPARING).inputs[0].scale[0]
    threshold = float(np.round(1.5 / step) * step + beside)
    result, x = exported(between(lambda y: tf.where(operation(y, threshold), y, y * 0.1)))
    apart, file = steps_apart(result, x)
    [compared] = [each for each in file.operators() if each.name in COMPARING]
    assert all(tensor.dtype == np.int8 for tensor in compared.inputs)
    assert np.mean(apart <= 0.01) >= 0.999


def test_comparisons_in_small_units_stay_in_float():
    result, _ = exported(between(lambda y: tf.where(y * 1e-3 > 1e-3, y, y * 0.5)))
    [found] = [each for each in result.export_notes["tflite"]["operators_in_float"] if each["operator"] == "GREATER"]
    assert "too small for the kernel of GREATER, which compares in steps of 1/256" in found["reason"]


KINDS = ["CONV_2D", "RESHAPE", "ADD", "MUL", "TANH", "MUL", "TRANSPOSE", "ADD", "CONV_2D", "SOFTMAX"]


@pytest.mark.parametrize(
    ("culprits", "expected"),
    [({4}, {4}), ({9}, {9}), ({1}, {1}), ({8}, {8}), ({2, 7}, {2, 3, 7}), ({1, 4}, {1, 2, 3, 4, 5, 6, 7, 9})],
)
def test_few_operators_are_named_after_few_trials(culprits, expected):
    plan = FilePlan({0: "a", 8: "b"}, frozenset(range(len(KINDS))), {}, {})
    trials = []

    def runs(suspects):
        trials.append(set(suspects))
        return culprits <= set(suspects)

    assert set(offenders(plan, [SimpleNamespace(name=name) for name in KINDS], runs)) == expected
    assert len(trials) <= 3 + 1 + 2 * fallback.HALVINGS


def test_a_file_that_does_not_run_in_float_either():
    plan = FilePlan({}, frozenset({0}), {}, {})
    assert offenders(plan, [SimpleNamespace(name="ADD")], lambda _: False) == ()


def test_what_no_kernel_takes_is_said_without_places_in_its_source():
    """STRIDED_SLICE takes five axes at most."""

    def build():
        y = tf.reshape(conv(image(8, 8, 8), name="one"), [-1, 4, 2, 4, 2, 8])
        tf.identity(y[:, 1:, :, :, :1, ::2], name="out")

    with pytest.raises(calibrant.ModelError) as caught:
        exported(graph_def(build))
    [problem] = caught.value.problems
    assert problem.message == (
        "the LiteRT file that was made does not run with the built-in kernels: "
        "STRIDED_SLICE: StridedSlice op only supports 1D-5D input arrays"
    )
    assert problem.hint
