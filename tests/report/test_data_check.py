"""Whether the calibration data are said to be enough."""

from __future__ import annotations

import pytest

from calibrant.quantized_network import RangeMove
from calibrant.report.data_check import data_check_rows


@pytest.mark.parametrize(
    ("losses", "enough"),
    [
        ([0.2], True),
        ([2.0, *[0.1] * 3], True),
        ([4.7, 0.1], False),
        ([2.0, *[0.1] * 2], False),
        ([2.0, 2.0, *[0.1] * 2], False),
        ([16.6], False),
        ([7.0, *[0.1] * 60], True),
    ],
)
def test_one_range_of_some_may_be_worse_unless_it_is_much_worse(losses, enough):
    found = data_check_rows([RangeMove(f"n{at}", 0, 0.1, loss) for at, loss in enumerate(losses)])
    assert found["enough"] is enough
    assert found["sentence"].startswith("Enough data" if enough else "More data would help")


def test_copies_prove_nothing():
    found = data_check_rows([RangeMove("n", 0, 0.0, 0.0)], "the first 64 calibration samples are all the same")
    assert found["sentence"].startswith("More data would help: the first 64 calibration samples are all the same, so")
    assert "0 of" not in found["sentence"]
