"""Masks, sequences and several labels a sample through evaluate, tune, verify and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calibrant
from calibrant.graph.running.run import run_once
from command_line import run
from graphs import conv, dense, graph_def, numbers, placeholder, save, tf

DATA = numbers(48, 6, 6, 2)


def masks(end=tf.sigmoid):
    tf.identity(end(tf.reduce_mean(conv(placeholder([None, 6, 6, 2])), 3, keepdims=True)), name="out")


def steps():
    tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 36, 4], name="out")


def frames():
    tf.reshape(tf.reduce_mean(conv(placeholder([None, 6, 6, 2])), 3), [-1, 36, 1], name="out")


def several(end=tf.sigmoid):
    tf.identity(end(dense(tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 144]), 5)), name="out")


def truth_of(build):
    """Labels of which the float model gets some wrong."""
    outputs = run_once(calibrant.quantize(graph_def(build), data=DATA).original, {"x": DATA})[0]
    found = outputs.argmax(-1) if build is steps else (outputs > (0.5 if outputs.min() >= 0 else 0)).astype(np.uint8)
    found[::7] = 1 - np.minimum(found[::7], 1)
    return found


BUILDS = [masks, lambda: masks(tf.identity), steps, frames, several, lambda: several(tf.identity)]


@pytest.mark.parametrize("build", BUILDS, ids=["masks", "mask logits", "steps", "frames", "labels", "label logits"])
def test_what_tune_loses_is_what_evaluate_tells(build, tmp_path):
    labels = truth_of(build)
    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path / "out")
    scores = calibrant.evaluate([result.original, result.fakequant], DATA, labels)
    assert 0.5 < scores[0].judged < 1 and scores[1].agreement > 0.9
    for size in (1, 5):
        pairs = tf.data.Dataset.from_tensor_slices((DATA, labels)).batch(size)
        assert [score.judged for score in calibrant.evaluate([result.original, result.fakequant], pairs)] == [
            score.judged for score in scores
        ]
    for given in ({"labels": labels}, {"test_data": tf.data.Dataset.from_tensor_slices((DATA, labels)).batch(7)}):
        tuned = calibrant.tune(graph_def(build), data=DATA, tolerance=1.0, **given)
        assert tuned.outcome.loss == pytest.approx(scores[0].judged - scores[1].judged)
    if scores[0].top1 is None:
        with pytest.raises(calibrant.DataError, match="no class numbers(.|\n)*calibrant evaluate"):
            calibrant.verify(tmp_path / "out", DATA, labels, model=result.original)
    else:
        verified = calibrant.verify(tmp_path / "out", DATA, labels, model=result.original)
        assert [model.top1 for model in verified.models] == [score.top1 for score in scores]


def test_batches_of_sequences_of_different_length():
    def build():
        table = tf.constant(numbers(9, 4))
        x = tf.expand_dims(tf.gather(table, placeholder([None, None], dtype=tf.int32)), 1)
        tf.squeeze(tf.nn.conv2d(x, numbers(1, 3, 4, 3), 1, "SAME"), 1, name="tags")

    def batches():
        for length in (3, 8, 5):
            tokens = np.random.default_rng(length).integers(0, 9, (16, length)).astype(np.int32)
            yield tokens, tokens % 3

    definition, options = graph_def(build), {"outputs": ["tags"]}
    calibration = np.random.default_rng(0).integers(0, 9, (16, 8)).astype(np.int32)
    found = calibrant.tune(definition, data=calibration, test_data=batches, tolerance=1.0, ignore_labels=[2], **options)
    result = calibrant.quantize(definition, data=calibration, **options)
    first, second = calibrant.evaluate([result.original, result.fakequant], batches, ignore_labels=[2])
    assert found.outcome.loss == pytest.approx(first.top1 - second.top1) and found.outcome.sqnr_db > 20


def test_labels_without_a_1_cannot_be_lost():
    with pytest.raises(calibrant.DataError, match="do not vary"):
        calibrant.tune(graph_def(several), data=DATA, labels=np.zeros((48, 5), int), tolerance=0.5)


def test_the_command_tells_what_labels_were_taken_for(tmp_path):
    model = save(graph_def(several), tmp_path / "model.pb")
    np.savez(tmp_path / "test.npz", x=DATA, y=truth_of(several), cut=truth_of(several)[:, :4])
    call = ["evaluate", model, "--data", f"{tmp_path / 'test.npz'}:x", "--labels"]
    shown = run(*call, f"{tmp_path / 'test.npz'}:y")
    assert "F1" in shown.out and "exact match" in shown.out and "probabilities, above 0.5" in shown.err
    (score,) = json.loads(run("-q", *call, f"{tmp_path / 'test.npz'}:y", "--json").out)
    assert 0 < score["exact_match"] <= score["hamming_accuracy"] < 1 and score["top1"] is None
    refused = run(*call, f"{tmp_path / 'test.npz'}:cut")
    assert refused.code == 2 and "labels of shape [N, 4] for an output of shape [N, 5]" in refused.err
