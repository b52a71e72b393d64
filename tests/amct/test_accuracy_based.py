"""Accuracy-based calibration with evaluators as scripts have them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from calibrant import amct
from calibrant.errors import DataError
from calibrant.evaluation.layer_similarity import _mean
from graphs import graph_def, numbers, save, small_network, tf

DATA = numbers(16, 6, 6, 2)


class InTheDefaultGraph(amct.AutoCalibrationEvaluatorBase):
    """Opens sessions without saying which graph they run."""

    def calibration(self, graph, outputs):
        """One batch."""
        self._run(outputs)

    def evaluate(self, graph, outputs):
        """The size of the outputs."""
        assert tf.compat.v1.get_default_graph() is graph
        return float(np.abs(self._run(outputs)[0]).mean())

    def metric_eval(self, original_metric, new_metric):
        """Good enough, whatever it is."""
        return True, abs(original_metric - new_metric)

    def _run(self, outputs):
        with tf.compat.v1.Session() as session:
            return session.run([f"{name}:0" for name in outputs], {"x:0": DATA})


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """The call, in a folder with a model and a configuration; options may be others."""
    monkeypatch.chdir(tmp_path)
    save(graph_def(small_network), tmp_path / "net.pb")
    (tmp_path / "quant.cfg").write_text("batch_num : 1\n")

    def call(evaluator, **options):
        given = ("net.pb", ["out"], "record.txt", "quant.cfg", "results/net", evaluator)
        amct.accuracy_based_auto_calibration(*given, **options)

    return call


def test_the_network_is_the_default_graph_of_an_evaluator(calibrate, tmp_path):
    calibrate(InTheDefaultGraph())
    assert (tmp_path / "results" / "net_quantized.pb").is_file()


class Answering:
    """A measure of similarity that calls a function."""

    def __init__(self, function):
        self.function = function

    def compare(self, original, quantized):
        """What the function makes of both."""
        return self.function(original, quantized)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_a_measure_of_similarity_raises_comes_as_it_is(error, calibrate):
    def fail(original, quantized):
        raise error

    with pytest.raises(error):
        calibrate(InTheDefaultGraph(), sensitivity=Answering(fail))


@pytest.mark.parametrize("answer", [None, "0.5", np.ones(2), np.ones(1), 1j, float("nan"), 10**400])
def test_what_is_no_similarity_is_one_error(answer, calibrate):
    with pytest.raises(DataError, match="compare of Answering returned (?s:.*)allowed: a number, higher"):
        calibrate(InTheDefaultGraph(), sensitivity=Answering(lambda original, quantized: answer))


def test_a_similarity_may_be_a_number_of_any_library(calibrate):
    answers = iter([np.float32(0.5), np.ones(()), tf.constant(0.5), True] * 2)
    calibrate(InTheDefaultGraph(), sensitivity=Answering(lambda original, quantized: next(answers)))


@pytest.mark.parametrize("loss", [None, "0.5", np.ones(2), float("nan"), 10**400])
def test_what_is_no_loss_is_one_error(loss, calibrate, monkeypatch):
    monkeypatch.setattr(InTheDefaultGraph, "metric_eval", lambda evaluator, original, new: (True, loss))
    with pytest.raises(DataError, match="metric_eval of InTheDefaultGraph returned "):
        calibrate(InTheDefaultGraph())


def test_infinite_numbers_are_null_in_json(calibrate, monkeypatch):
    def nothing_but_json(word):
        raise ValueError(word)

    monkeypatch.setattr(InTheDefaultGraph, "metric_eval", lambda evaluator, original, new: (True, math.inf))
    answers = iter([math.inf, -math.inf, 1e308])
    calibrate(InTheDefaultGraph(), sensitivity=Answering(lambda original, quantized: next(answers, 1e308)))
    written = [Path("amct_log/accuracy_based_auto_calibration_record.json"), *Path("results").glob("*ranking*.json")]
    steps, ranking = (json.loads(path.read_text(), parse_constant=nothing_but_json) for path in written)
    assert [step["metric_eval"] for step in steps] == [[True, None]]
    assert (ranking[0][1], ranking[-1][1]) == (None, None)


def test_means_of_huge_and_of_infinite_similarities():
    assert _mean([1e308, 1e308]) == 1e308
    assert _mean([math.inf, -math.inf]) == -math.inf
    assert _mean([math.inf, 1.0]) == math.inf
