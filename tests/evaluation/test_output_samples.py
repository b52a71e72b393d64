"""Outputs that hold no samples."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.errors import DataError
from graphs import dense, graph_def, numbers, placeholder, tf

DATA = numbers(40, 4)
LABELS = np.arange(40) % 3
ENDS = {
    "a mean": lambda scores: tf.reduce_mean(scores),
    "means": lambda scores: tf.reduce_mean(scores, 0),
    "a constant": lambda scores: tf.constant(3.0),
}


def network(end, scores_too):
    def build():
        scores = dense(tf.nn.relu(dense(placeholder([None, 4], "x"), 6)), 3, "last", seed=5)
        tf.identity(end(scores), name="a_end")
        if scores_too:
            tf.identity(scores, name="scores")

    return graph_def(build)


@pytest.mark.parametrize("scores_too", [True, False])
@pytest.mark.parametrize("end", ENDS)
def test_they_are_compared_as_they_are(end, scores_too):
    outputs = ["a_end", "scores"] if scores_too else ["a_end"]
    model = network(ENDS[end], scores_too or end == "a constant")
    if end == "a constant" and not scores_too:
        outputs = ["scores", "a_end"]
    result = calibrant.quantize(model, data=DATA, outputs=outputs)
    first, second = result.original, result.fakequant
    scores = calibrant.evaluate([first, second], DATA)
    assert [score.samples for score in scores] == [40] * len(scores)
    assert all(score.sqnr_db is None or score.sqnr_db > 10 for score in scores)
    assert calibrant.tune(model, data=DATA, outputs=outputs, tolerance=0.5).met


@pytest.mark.parametrize("end", ENDS)
def test_they_have_no_labels(end):
    model = network(ENDS[end], True)
    options = {"outputs": ["a_end", "scores"], "output": "a_end"}
    with pytest.raises(DataError, match="output 'a_end', which has no axis of samples"):
        calibrant.evaluate([model], DATA, LABELS, **options)
    with pytest.raises(DataError, match="output 'a_end', which has no axis of samples"):
        calibrant.tune(model, data=DATA, labels=LABELS, tolerance=0.5, **options)
    options["output"] = "scores"
    assert calibrant.evaluate([model], DATA, LABELS, **options)[1].top1 is not None
    assert calibrant.tune(model, data=DATA, labels=LABELS, tolerance=0.5, **options).met


@pytest.mark.parametrize("names", [("v", "v"), (), {"v"}])
def test_names_that_are_not_one_a_model(names):
    with pytest.raises(DataError, match="names is (.|\n)*one name a model"):
        calibrant.evaluate([network(ENDS["a mean"], False)], DATA, names=names)


@pytest.mark.parametrize("repairs", [None, 3, "x", [1]])
def test_repairs_that_are_none(repairs):
    with pytest.raises(DataError, match=r"repairs(.|\n)*a list of Mutation; \(\) for nothing"):
        calibrant.tune(network(ENDS["a mean"], True), data=DATA, tolerance=0.5, repairs=repairs)
