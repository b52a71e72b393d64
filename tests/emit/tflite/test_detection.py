"""Boxes that a network selects itself, with what codes have and real numbers seldom: equal scores, empty boxes."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, tf
from tflite_networks import computed, exported, image


def boxes_and_scores():
    y = tf.round(conv(image(8, 8, 4), name="one") * 2) / 2
    return tf.reshape(y[0], [-1, 4]), tf.sigmoid(tf.reshape(y[0, :, :, 1], [-1]))


def with_scores():
    boxes, scores = boxes_and_scores()
    chosen, best = tf.image.non_max_suppression_with_scores(boxes, scores, 12, 0.4, 0.2)
    return tf.concat([tf.gather(boxes, chosen), best[:, None]], 1)


def padded():
    boxes, scores = boxes_and_scores()
    chosen, _ = tf.image.non_max_suppression_padded(
        *(boxes[None], scores[None], 12, 0.4),
        pad_to_max_output_size=True,
        sorted_input=False,
        canonicalized_coordinates=True,
    )
    return tf.gather(boxes, chosen[0])


def saved(run, folder):
    """A SavedModel, in which the selection is a function that is called."""
    module = tf.Module()
    module.run = run
    tf.saved_model.save(module, str(folder), signatures=run)
    return folder


def test_equal_scores_and_empty_boxes_are_selected_as_tensorflow_does(tmp_path):
    result, x = exported(graph_def(lambda: tf.identity(with_scores(), name="out")), out=tmp_path / "out", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", numbers(1, 8, 8, 4, seed=5)).passed


def test_an_overlap_that_is_the_threshold_is_kept_as_in_tensorflow():
    """Boxes of codes overlap by a half or a third now and then; here the second one by exactly a half."""

    def build():
        scores = tf.sigmoid(tf.reshape(conv(image(8, 8, 4), name="one")[0, 0, :2, 0], [-1]))
        boxes = tf.constant([[0, 0, 2, 2], [0, 0, 2, 1]], tf.float32)
        chosen, best = tf.image.non_max_suppression_with_scores(boxes, scores, 2, 0.5)
        tf.concat([tf.cast(chosen, tf.float32), best], 0, name="out")

    result, x = exported(graph_def(build))
    assert not result.refused
    [made], [simulated], _ = computed(result, x[:1])
    assert made.size == run_once(result.original, {"x": x[:1]})[0].size == 4
    np.testing.assert_array_equal(made, simulated)


def test_selecting_in_a_loop(tmp_path):
    model = graph_def(lambda: tf.identity(padded(), name="out"))
    data = [{"x": numbers(1, 8, 8, 4, seed=seed)} for seed in (5, 6)]
    result = calibrant.quantize(
        model, "batch_num: 2", data, tmp_path / "out", export="tflite", name="model", outputs=["out"]
    )
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", data[0]["x"]).passed


@pytest.mark.parametrize(
    ("overlap", "score", "padded"), [(0.4, 0.2, True), (0.5, float("-inf"), True), (0.4, 0.2, False)]
)
def test_selecting_in_one_image_is_one_operator(tmp_path, overlap, score, padded):
    """Many boxes are clipped to nothing, which the function never selects."""

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 4))])
    def run(x):
        y = tf.round(conv(x, name="one") * 2) / 2
        corner, size = tf.split(tf.reshape(y[0], [-1, 4]), 2, 1)
        boxes = tf.clip_by_value(tf.concat([corner, corner + tf.nn.relu(size)], 1), 0.0, 1.0)
        scores = tf.sigmoid(tf.reshape(y[0, :, :, 1], [-1]))
        selected = tf.image.non_max_suppression_padded(boxes, scores, 12, overlap, score, pad_to_max_output_size=padded)
        return {"boxes": tf.gather(boxes, selected[0]), "count": selected[1]}

    result, x = exported(saved(run, tmp_path / "saved"), out=tmp_path / "out", name="model")
    assert not result.refused
    made, simulated, names = computed(result, x[:1])
    assert "NON_MAX_SUPPRESSION_V4" in names
    assert "WHILE" not in names
    for kernel, formula in zip(made, simulated, strict=True):
        np.testing.assert_array_equal(kernel, formula)
    assert calibrant.verify(tmp_path / "out", numbers(1, 8, 8, 4, seed=5)).passed


def test_boxes_without_a_positive_coordinate_are_not_selected(tmp_path):
    """Though no score is too low: among codes of the scores, the lowest number would be 0."""

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 4))])
    def run(x):
        y = conv(x, 5, name="one")
        corner = tf.reshape(y[0, :, :, :2], [-1, 2]) - 2.5
        boxes, scores = tf.concat([corner, corner + 1.0], 1), tf.sigmoid(tf.reshape(y[0, :, :, 4], [-1]))
        chosen, count = tf.image.non_max_suppression_padded(boxes, scores, 60, 0.99, pad_to_max_output_size=True)
        return {"boxes": tf.gather(boxes, chosen), "count": count}

    result, x = exported(saved(run, tmp_path / "saved"), out=tmp_path / "out", name="model")
    made, simulated, _ = computed(result, x[:1])
    counts = [int(each) for values in (made, simulated) for each in values if each.ndim == 0]
    [expected] = [int(each) for each in run_once(result.original, {"x": x[:1]}) if each.ndim == 0]
    assert 5 < expected < 40
    assert all(abs(count - expected) <= 2 for count in counts)


def test_selecting_in_a_branch(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 4))])
    def run(x):
        y = conv(x, name="one")
        boxes, scores = tf.sigmoid(tf.reshape(y[0], [-1, 4])), tf.sigmoid(tf.reshape(y[0, :, :, 1], [-1]))

        def selected():
            return tf.image.non_max_suppression_padded(boxes, scores, 12, 0.4, pad_to_max_output_size=True)[0]

        chosen = tf.cond(tf.reduce_max(scores) > 0.5, selected, lambda: tf.zeros([12], tf.int32))
        return {"boxes": tf.gather(boxes, chosen)}

    result, _ = exported(saved(run, tmp_path / "saved"), out=tmp_path / "out", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", numbers(1, 8, 8, 4, seed=5)).passed


def test_what_computes_in_float64_computes_in_float32(tmp_path):
    def build():
        y = tf.cast(conv(image(8, 8, 4), name="one"), tf.float64)
        mask = np.where(np.arange(8) < 5, 0.0, -1e9)[:, None]
        tf.identity(tf.cast(tf.nn.softmax(y / np.sqrt(8.0) + mask, 2), tf.float32), name="out")

    result, x = exported(graph_def(build), out=tmp_path / "out", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", x).passed
