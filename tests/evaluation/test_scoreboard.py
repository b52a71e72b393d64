"""Labels of positions and several labels a sample, scored side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.errors import DataError
from calibrant.evaluation.accuracy import Scoreboard
from reference.decisions import binary_map, multi_label

seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(1, 8), max_size=3)


def scored(first, second, labels, at=(), **given):
    """The scores of two models by the batches that the samples are cut into at some places, and the note."""
    board = Scoreboard(["float", "int8"], **given)
    for part in filter(len, np.split(np.arange(len(labels)), sorted(at))):
        board.update([first[part], second[part]], labels[part])
    return *board.scores(), board.note


@settings(max_examples=40, deadline=None)
@given(seeds, cuts, st.booleans(), st.sampled_from([(6, 5, 1), (6, 5), (2, 3, 4, 1), (7, 1)]))
def test_binary_maps_are_those_of_the_definitions(seed, at, logits, shape):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, 9, *shape)) if logits else generator.random((2, 9, *shape))
    first[0], second[0] = (-3, -2) if logits else (0.1, 0.2)
    labels = generator.choice([0, 1, 7], first.shape, p=[0.5, 0.4, 0.1])
    labels[0] = 1
    float_score, score, note = scored(first, second, labels, at, ignore=[7], binary=not logits)
    threshold = 0 if logits else 0.5
    for outputs, found in ((first, float_score), (second, score)):
        expected = binary_map((outputs > threshold).ravel(), labels.ravel(), ignore=[7])
        assert (found.top1, found.mean_iou) == pytest.approx(expected)
    assert score.agreement == np.mean((first > threshold) == (second > threshold))
    assert score.f1 is None and ("logits" if logits else "probabilities") in note


@settings(max_examples=40, deadline=None)
@given(seeds, cuts, st.booleans())
def test_several_labels_a_sample_however_batches_are_cut(seed, at, binary):
    """The first samples have one label each, as if they were classes."""
    generator = np.random.default_rng(seed)
    first, second = generator.random((2, 9, 4))
    labels = np.eye(4, dtype=int)[generator.integers(0, 4, 9)]
    labels[-1] = generator.choice([(0, 0, 0, 0), (1, 1, 0, 1)])
    float_score, score, _ = scored(first, second, labels, at, binary=binary)
    for outputs, found in ((first, float_score), (second, score)):
        expected = multi_label(outputs > 0.5, labels)
        assert (found.f1, found.exact_match, found.hamming_accuracy) == pytest.approx(expected)
    assert float_score.top1 is None and float_score.judged == float_score.f1
    assert score.agreement == np.mean((first > 0.5) == (second > 0.5))


@settings(max_examples=20, deadline=None)
@given(seeds, cuts)
def test_one_hot_rows_everywhere_mean_classes(seed, at):
    generator = np.random.default_rng(seed)
    outputs, classes = generator.random((2, 9, 4)), generator.integers(0, 4, 9)
    rows = np.eye(4, dtype=int)[classes]
    assert scored(*outputs, rows, at) == scored(*outputs, classes, at)
    of_sigmoid = scored(*outputs, rows, at, binary=True)[1]
    assert of_sigmoid.judged == of_sigmoid.top1 == np.mean(outputs[1].argmax(1) == classes)
    assert of_sigmoid.agreement == np.mean(outputs[0].argmax(1) == outputs[1].argmax(1))
    assert of_sigmoid.f1 == pytest.approx(multi_label(outputs[1] > 0.5, rows)[0])


def test_sequences_of_different_length_in_each_batch():
    generator = np.random.default_rng(0)
    board, right = Scoreboard(["float"], ignore=[-1]), []
    for steps in (1, 4, 9):
        scores, labels = generator.normal(size=(3, steps, 5)), generator.integers(0, 5, (3, steps))
        labels[0, 1:] = -1
        board.update([scores], labels)
        right += (scores.argmax(-1) == labels)[labels >= 0].tolist()
    assert board.scores()[0].top1 == pytest.approx(np.mean(right)) and board.scores()[0].samples == 9


def test_masks_of_a_sigmoid_agree_by_decisions_without_labels():
    first = np.zeros((2, 4, 4, 1))
    second = first.copy()
    second[0, 0, 0] = 0.9
    board = Scoreboard(["float", "int8"], binary=True)
    board.update([first, second])
    assert board.scores()[1].agreement == 31 / 32


@pytest.mark.parametrize("given", [{"ignore": [3], "offset": 1}, {"ignore": [1]}])
def test_several_labels_a_sample_have_no_class_numbers(given):
    board = Scoreboard(["float"], binary=True, **given)
    board.update([np.ones((2, 4))], np.eye(4, dtype=int)[:2])
    assert board.scores()[0].f1 is None or "offset" in given
    with pytest.raises(DataError, match="for rows of labels with several 1, or none"):
        board.update([np.ones((2, 4))], np.ones((2, 4), int))


def test_labels_that_all_do_not_count():
    board = Scoreboard(["float"], ignore=[-1])
    board.update([np.ones((2, 4))], np.full((2, 4), -1))
    with pytest.raises(DataError, match="every sample has a label that does not count"):
        board.scores()


def test_class_numbers_of_a_column_of_scores_are_classes():
    """[N, classes, 1] of a Sigmoid, whose labels are one class number a sample."""
    outputs = np.eye(5)[:, :, np.newaxis] * 0.4
    float_score, score, note = scored(outputs, outputs[::-1], np.arange(5), binary=True)
    assert (float_score.top1, score.top1, score.agreement, note) == (1, 0.2, 0.2, None)
