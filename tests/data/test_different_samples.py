"""Copies of one sample are not many samples."""

import numpy as np
import pytest

import calibrant
from calibrant.data.different_samples import MOST_SAMPLES, DifferentSamples
from graphs import graph_def, numbers, small_network

ONE_HOT = np.eye(MOST_SAMPLES, 8 * 512, dtype=np.float32)  # whose sums are equal


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (ONE_HOT, None),
        (ONE_HOT[np.arange(MOST_SAMPLES) % 32], None),
        (
            ONE_HOT[np.arange(MOST_SAMPLES) % 31],
            f"only 31 of the first {MOST_SAMPLES} calibration samples are different",
        ),
        (ONE_HOT[:3] * 0, "the first 3 calibration samples are all the same"),
        (np.concatenate([ONE_HOT, ONE_HOT * 0, ONE_HOT * 0, ONE_HOT * 0]), None),
        (np.array([b"a", b"a", b"a"], object), "the first 3 calibration samples are all the same"),
    ],
)
def test_fewer_than_half_are_different(rows, wanted):
    for size in (1, 16, len(rows)):
        different = DifferentSamples()
        for at in range(0, len(rows), size):
            batch = rows[at : at + size]
            different.add([batch, np.float32(at)[()] * np.zeros(())], len(batch))
        assert different.repeated == wanted and different.looked_at <= MOST_SAMPLES


def test_samples_that_differ_in_one_input_are_different():
    different = DifferentSamples()
    different.add([np.zeros((3, 2)), np.arange(3)], 3)
    assert different.repeated is None


@pytest.mark.parametrize("workers", [1, 2])
def test_copies_are_warned_of_and_are_not_enough_data(tmp_path, workers):
    model, data = graph_def(small_network), numbers(1, 6, 6, 2).repeat(64, axis=0)
    for rows, is_said in ((data, True), (numbers(64, 6, 6, 2), False)):
        result = calibrant.quantize(model, data=rows, out=tmp_path / str(is_said), workers=workers)
        said = [text for text in result.report["warnings"] if "calibration samples are all the same" in text]
        assert said == ["the first 64 calibration samples are all the same; give 32 different ones or more"] * is_said
        check = result.report["data_check"]
        assert (check is None) == (workers > 1)
        if is_said:
            assert check is None or (not check["enough"] and "are all the same" in check["sentence"])
            assert "More data would help" not in str(result.report["findings"])
        assert str(result.report["findings"]).count("are all the same") == is_said
