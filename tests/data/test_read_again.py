"""Data are read several times; what is not the same then is told."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.data.amount import CHANGED
from calibrant.data.input_spec import InputSpec
from calibrant.data.open_data import open_data
from graphs import graph_def, numbers, small_network, tf

DATA = numbers(64, 6, 6, 2)
INPUTS = [InputSpec("x", (None, 6, 6, 2), np.dtype(np.float32))]


FIRST = [DATA[:32], DATA[32:]]
OTHERS = {
    "another order": [DATA[32:], DATA[:32]],
    "another size of batches": [DATA[:16], DATA[16:]],
    "fewer": FIRST[:1],
    "more": [*FIRST, DATA[:32]],
}


@pytest.mark.parametrize("second", OTHERS)
def test_batches_know_whether_they_were_the_same(second):
    given = FIRST
    batches = open_data(lambda: iter(given), INPUTS)
    for _ in range(2):
        assert len(list(batches)) == 2 and not batches.has_changed
    given = OTHERS[second]
    list(batches)
    assert batches.has_changed


def test_a_part_that_is_read_again_is_the_same():
    batches = open_data(lambda: iter(FIRST), INPUTS)
    list(batches)
    next(iter(batches))
    assert not batches.has_changed and len(list(batches)) == 2 and not batches.has_changed


def test_a_dataset_that_is_shuffled_anew_is_warned_of(tmp_path):
    for anew in (False, True):
        dataset = tf.data.Dataset.from_tensor_slices(DATA).shuffle(64, 1, reshuffle_each_iteration=anew).batch(16)
        result = quantize(graph_def(small_network), data=dataset, out=tmp_path / "out")
        assert (CHANGED in result.report["warnings"]) == anew
        assert any("shuffled anew" in found["what"] for found in result.report["findings"]) == anew
