"""What findings advise: nothing that the run has done already."""

from types import SimpleNamespace

import pytest

from calibrant.report.findings import findings

ROW = {
    "tensor": "relu:0",
    "read_by": ["dense:0"],
    "clipped": 0.0,
    "search": {"chosen_db": 40.0, "signal_to_noise_db": [None, 40.2]},
}
GROWTH = {"layer": "dense", "index": 0, "own_db": 12.0, "channel_ratio": 2.0}


@pytest.mark.parametrize(("refined", "advice"), [(False, "Try --refine, which moves"), (True, "Try calibrant tune.")])
def test_refining_is_advised_where_it_has_not_run(refined, advice):
    network, plan = SimpleNamespace(layers=[]), SimpleNamespace(layers=[], skip_fusion_layers=[], do_fusion=True)
    [found] = findings(network, plan, [ROW], [GROWTH], refined=refined)
    assert found["layer"] == "dense" and "12.0 dB" in found["what"]
    assert found["advice"].startswith(advice)
