"""Two runs side by side."""

from __future__ import annotations

import pytest

from calibrant.report.comparison import _layers


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
