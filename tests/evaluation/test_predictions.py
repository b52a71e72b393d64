"""Outputs of every form are judged as what they are."""

import numpy as np
import pytest

import calibrant
from calibrant.errors import DataError
from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.label_count import LabelCount
from calibrant.evaluation.predictions import predicted
from calibrant.evaluation.tune import tune
from graphs import conv, dense, graph_def, numbers, placeholder, tf


def test_one_probability_or_logit():
    assert predicted(np.array([[-3.0], [0.2]])) is None
    count = LabelCount()
    count.update(np.array([[0.2], [0.7], [0.9]]), np.array([0, 1, 0]))
    assert count.top1 == pytest.approx(2 / 3)


def test_class_numbers_are_taken_as_they_are():
    count = LabelCount()
    count.update(np.array([3, 1, 2]), np.array([3, 1, 0]))
    assert count.top1 == pytest.approx(2 / 3)


def test_maps_of_labels_against_counting_by_hand():
    scores, labels = numbers(2, 3, 4, 5), np.random.default_rng(1).integers(0, 5, (2, 3, 4))
    labels[0, 0, 0] = 255
    count = LabelCount(ignore=(255,))
    count.update(scores, labels)
    found, kept = scores.argmax(-1), labels != 255
    classes = [c for c in range(5) if ((found == c) | (labels == c))[kept].any()]
    ious = [((found == c) & (labels == c))[kept].sum() / ((found == c) | (labels == c))[kept].sum() for c in classes]
    assert count.top1 == pytest.approx((found == labels)[kept].mean())
    assert count.mean_iou == pytest.approx(np.mean(ious))
    assert count.samples == 2


def test_maps_agree_position_by_position():
    board = Scoreboard(["a", "b"])
    first = numbers(2, 3, 4, 5)
    second = first.copy()
    second[0, 0, 0] = -first[0, 0, 0]
    board.update([first, second])
    assert board.scores()[1].agreement == pytest.approx(23 / 24)


def test_labels_that_are_one_too_small():
    count = LabelCount()
    labels = np.arange(1000)
    count.update(np.eye(1001)[labels + 1], labels)
    assert count.top1 == 0 and count.offset_hint == 1


def two_outputs():
    x = placeholder([None, 6, 6, 2])
    features = tf.reshape(conv(x), [-1, 144])
    tf.identity(dense(features, name="b_dense"), name="z_classes")
    tf.sigmoid(dense(features, 1, name="a_dense"), name="a_binary")


def test_several_outputs_have_rows_of_their_own():
    data = numbers(32, 6, 6, 2)
    result = calibrant.quantize(graph_def(two_outputs), data=data, outputs=["z_classes", "a_binary"])
    scores = calibrant.evaluate([result.original, result.fakequant], data)
    assert [score.output for score in scores] == ["z_classes"] * 2 + ["a_binary"] * 2
    assert all(score.agreement > 0.8 for score in scores[1::2])
    with pytest.raises(
        DataError, match="the labels belong to one output(.|\n)*z_classes, a_binary(.|\n)*--output NAME"
    ):
        calibrant.evaluate([result.original], data, np.zeros(32, int))


def test_tuning_judges_the_worst_output():
    data = numbers(32, 6, 6, 2)
    both = tune(graph_def(two_outputs), data=data, tolerance=1.0, outputs=["z_classes", "a_binary"])
    each = [
        tune(graph_def(two_outputs), data=data, tolerance=1.0, outputs=[name]) for name in ("z_classes", "a_binary")
    ]
    assert both.outcome.sqnr_db == pytest.approx(min(found.outcome.sqnr_db for found in each))


def test_labels_that_are_one_too_large_also_of_a_model_that_gives_class_numbers():
    count = LabelCount()
    labels = np.arange(1, 1000)
    count.update(labels - 1, labels)
    assert count.top1 == 0 and count.offset_hint == -1


def test_a_logit_is_told_from_a_probability_by_all_batches_together():
    count = LabelCount()
    count.update(np.array([[0.2], [0.4]]), np.array([1, 1]))
    count.update(np.array([[-3.0], [np.nan]]), np.array([0, 0]))
    assert count.top1 == pytest.approx(3 / 4)


def test_a_label_of_a_map_that_is_no_class_is_not_counted_as_wrong():
    with pytest.raises(DataError, match="label 255 is no class of a model with 5 outputs(.|\n)*--ignore-label 255"):
        LabelCount().update(numbers(1, 2, 2, 5), np.array([[[0, 1], [4, 255]]]))


def test_numbers_against_their_definitions():
    generator = np.random.default_rng(0)
    targets = generator.normal(3, 2, (40, 2))
    outputs = targets + generator.normal(0, 0.5, targets.shape)
    board = Scoreboard(["float", "other"])
    for part in (slice(0, 7), slice(7, 40)):
        board.update([outputs[part], outputs[part]], targets[part])
    score = board.scores()[1]
    assert score.mae == pytest.approx(np.abs(outputs - targets).mean())
    assert score.rmse == pytest.approx(np.sqrt(np.square(outputs - targets).mean()))
    explained = 1 - np.square(outputs - targets).sum() / np.square(targets - targets.mean(axis=0)).sum()
    assert score.r2 == pytest.approx(explained) and score.top1 is None
    with pytest.raises(DataError, match="2 numbers a sample as labels, the model gives 3"):
        board.update([np.ones((2, 3))] * 2, targets[:2])


def test_whole_numbers_are_targets_where_one_output_is_no_probability():
    ages = np.array([30, 41, 7])
    board = Scoreboard(["float"])
    board.update([ages[:, np.newaxis] + 0.5], ages)
    assert board.scores()[0].mae == 0.5
    sigmoid = Scoreboard(["float"], binary=True)
    with pytest.raises(DataError, match="label 30 is no class of a model with 2 outputs"):
        sigmoid.update([np.full((3, 1), 0.5)], ages)


def test_class_numbers_and_strings_are_equal_or_not():
    for values in (np.array([3, 1, 2]), np.array([b"a", b"b", b"c"], dtype=object)):
        board = Scoreboard(["a", "b"])
        board.update([values, values[[0, 1, 1]]])
        score = board.scores()[1]
        assert score.agreement == pytest.approx(2 / 3) and score.sqnr_db is None and score.mse is None
