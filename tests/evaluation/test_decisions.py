"""Decisions of probabilities and logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.decisions import DecisionAgreement, are_logits


@pytest.mark.parametrize("scores, expected", [([0, 1], False), ([0.2, 1.01], False), ([-3, 0.2], True), ([], False)])
def test_probabilities_may_be_rounded_beyond_one(scores, expected):
    assert are_logits(np.array([*scores, np.nan])) is expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_a_model_of_logits_agrees_with_one_of_probabilities(seed, cut):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, 20, 3)) * 4
    second[0, 0] = np.nan
    agreement = DecisionAgreement()
    for part in (slice(0, cut), slice(cut, None)):
        agreement.update(first[part], 1 / (1 + np.exp(-second[part])))
    assert agreement.share == np.mean(((first > 0) == (second > 0)) & ~np.isnan(second))


def test_nothing_to_agree_on():
    assert DecisionAgreement().share is None


@pytest.mark.parametrize("shape", [(40, 1), (10, 2, 2, 1), (10, 4)])
def test_small_logits_are_logits_in_all_models(shape):
    """Rounded, the lowest is nearer to zero than what tells logits from probabilities."""
    logits = np.random.default_rng(0).uniform(-0.098, 0.098, shape).astype(np.float32)
    logits.flat[0] = -0.1001
    rounded = np.clip(np.round(logits * 1270) / 1270, -0.0999, None).astype(np.float32)
    board = Scoreboard(["float", "int8"])
    board.update([logits, rounded], (logits > 0).astype(np.int64))
    first, second = board.scores()
    assert (second.top1 or second.f1) > 0.99 and (first.top1 or first.f1) == 1
    assert second.agreement is None or second.agreement > 0.99
