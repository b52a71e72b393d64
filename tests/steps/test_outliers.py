"""One faulty value in the calibration data: it is told, and there are ways out."""

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.evaluation.tune import tune
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, small_network

CLEAN = numbers(128, 6, 6, 2)
MODEL = graph_def(small_network)


def decibels(result):
    key = result.original.input_keys[0]
    return median_sqnr_db(*(run_once(graph, {key: CLEAN})[0] for graph in (result.original, result.fakequant)))


def with_outlier():
    data = CLEAN.copy()
    data[3, 2, 2, 1] = 1e4
    return data


def test_the_report_tells_it():
    result = calibrant.quantize(MODEL, "batch_num : 8", with_outlier())
    assert decibels(result) < 3
    assert "'conv': 99.9 % of the values of its input x:0 share 1 of 256 codes" in result.report["warnings"][0]
    assert "from -3." in result.report["warnings"][0]
    assert calibrant.quantize(MODEL, "batch_num : 8", CLEAN).report["warnings"] == []


def test_refining_finds_the_range_of_the_others():
    assert decibels(calibrant.quantize(MODEL, "batch_num : 8", with_outlier(), refine=True)) > 25


def test_tuning_finds_settings_for_the_others():
    tuned = tune(MODEL, "batch_num : 8", with_outlier(), tolerance=0.02)
    assert tuned.met
    assert decibels(calibrant.quantize(MODEL, tuned.configuration, with_outlier())) > 20


@pytest.mark.parametrize(("value", "told"), [(0.0, "scale 1 was taken"), (0.5, "nothing is known")])
def test_constant_data_are_told(value, told):
    result = calibrant.quantize(MODEL, data=np.full((32, 6, 6, 2), value, np.float32))
    assert any(
        f"x:0 was {value:g} throughout the calibration data; {told}" in text for text in result.report["warnings"]
    )
