"""Decisions of probabilities and logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
