"""Two runs side by side."""

from __future__ import annotations

import pytest

from calibrant.report.comparison import _layers, compare_runs


def report(sensitivity=None):
    """Of one layer."""
    entry = {"index": 0, "scale": 0.1, "offset": 0, "signal_to_noise_db": 40.0}
    layer = {"layer": "dense", "type": "MatMul", "inputs": [entry], "weights": {"signal_to_noise_db": 45.0}}
    rows = [{"layer": "dense", "only_signal_to_noise_db": sensitivity}]
    return {"layers": [layer], "sensitivity": rows if sensitivity is not None else None}


@pytest.mark.parametrize("second", [report(60.0), report()])
def test_what_layers_cost_is_compared_where_both_runs_measured_it_alike(second):
    assert _layers(report(60.0), second) == []
    [row] = _layers(report(60.0), report(50.0))
    assert (row["first_db"], row["second_db"]) == (60.0, 50.0)


def whole(**run):
    """Of a result, with what its run tells."""
    return {**report(), "totals": {}, "configuration": {"batch_num": 1}, "run": run}


def test_a_measurement_that_one_run_lacks_is_no_difference():
    growth = {"inputs": [{"layer": "dense", "index": 0, "own_db": 35.0}]}
    found = compare_runs(whole(options={}), {**whole(options={"refine": True}), "error_growth": growth})
    assert (found["same"], found["runs"], found["layers"]) == (True, [], [])


def test_what_the_runs_were_made_of_is_compared():
    first = whole(model_sha256="a", data_fingerprint="b", options={"refine": "default", "shuffle": None})
    second = whole(model_sha256="a", data_fingerprint="c", options={"refine": True, "shuffle": None})
    found = compare_runs(first, second)
    assert [row["what"] for row in found["runs"]] == ["data", "option refine"]
    assert found["same"]
    assert not compare_runs(first, whole(model_sha256="d"))["same"]


@pytest.mark.parametrize(
    ("place", "value", "changed"),
    [("scale", 0.2, ["scale"]), ("offset", 3, ["offset"]), ("signal_to_noise_db", 39.0, ["db"])],
)
def test_what_changed_is_named(place, value, changed):
    second = report()
    second["layers"][0]["inputs"][0][place] = value
    [row] = _layers(report(), second)
    assert row["changed"] == changed


def test_a_bias_that_differs_is_a_difference():
    second = whole()
    second["layers"][0]["bias"] = {"node": None, "channels": 4, "largest_correction": 0.1}
    found = compare_runs(whole(), second)
    assert not found["same"] and found["layers"][0]["changed"] == ["bias"]
