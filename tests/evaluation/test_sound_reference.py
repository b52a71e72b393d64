"""Models whose outputs are no numbers: nothing can be said about what is made from them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import calibrant
from calibrant.errors import DataError, ModelError
from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.verify import verify
from graphs import dense, graph_def, numbers, placeholder, tf

DATA = numbers(24, 4)
UNSOUND = {
    "NaN": lambda scores: tf.math.log(-1 - tf.abs(scores)),
    "infinite": lambda scores: 1 / (0 * scores),
}
MASKED = {
    "biases": lambda scores: tf.nn.bias_add(scores, tf.constant([0.0, -np.inf, 0.0])),
    "logarithms of zeros": lambda scores: tf.math.log(tf.nn.relu(scores)),
    "quotients by zero": lambda scores: scores + 1 / tf.nn.relu(3 * tf.abs(scores) - 0.1),
    "at a temperature": lambda scores: (scores + tf.constant([0.0, -np.inf, 0.0])) / 0.7,
    "scores": lambda scores: scores + tf.constant([0.0, -np.inf, 0.0]),
    "their logarithms": lambda scores: tf.nn.log_softmax(scores + tf.constant([0.0, -np.inf, 0.0])),
}


def network(end):
    def build():
        hidden = tf.nn.relu(dense(placeholder([None, 4], "x"), 6))
        tf.identity(end(dense(hidden, 3, "last", seed=5)), name="out")

    return graph_def(build)


@pytest.mark.parametrize("kind", UNSOUND)
def test_outputs_that_are_no_numbers_are_refused(kind):
    model = network(UNSOUND[kind])
    for run in (
        lambda: calibrant.quantize(model, data=DATA),
        lambda: calibrant.evaluate([model, model], DATA),
        lambda: calibrant.tune(model, data=DATA, tolerance=0.1),
    ):
        with pytest.raises(DataError, match="in batch 0 at 'out'"):
            run()


def test_a_batch_that_is_not_the_first_is_named():
    """And batches for which the model has numbers are not enough."""
    model = network(lambda scores: scores / placeholder([None, 1], "by"))
    by = np.ones((24, 1), np.float32)
    by[16:] = 0
    with pytest.raises(DataError, match="24 infinite values in batch 2 at 'out'"):
        calibrant.quantize(model, data={"x": DATA, "by": by}, batch_size=8)


def test_verify_looks_at_the_float_model(tmp_path):
    """A folder that was made from a sound model, or by another version."""
    sound, unsound = network(tf.identity), network(UNSOUND["NaN"])
    calibrant.quantize(sound, data=DATA, out=tmp_path / "out")
    with pytest.raises(DataError, match="NaN .* in batch 0 at 'out'"):
        verify(tmp_path / "out", DATA, model=unsound)


@pytest.mark.parametrize("kind", MASKED)
def test_masks_and_logarithms_are_infinite_in_a_sound_model(kind, tmp_path):
    model = network(MASKED[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = calibrant.quantize(model, data=DATA, out=tmp_path / "out")
        scores = calibrant.evaluate([model, result.fakequant], DATA)
        assert 10 < scores[1].sqnr_db < 90 and scores[1].agreement > 0.7
        assert verify(tmp_path / "out", DATA, model=model).passed
        assert calibrant.tune(model, data=DATA, tolerance=0.4).met


def test_what_makes_outputs_no_numbers_is_said_by_tune_as_by_quantize():
    model = network(lambda scores: tf.nn.bias_add(scores, tf.constant([np.nan, 0, 0], tf.float32)) + 1)
    found = []
    for run in (
        lambda: calibrant.quantize(model, data=DATA),
        lambda: calibrant.tune(model, data=DATA, tolerance=0.1),
    ):
        with pytest.raises((DataError, ModelError)) as caught:
            run()
        found.append(caught.type)
    assert found[0] is found[1]


def test_outputs_that_another_model_loses_count_against_it_without_a_warning():
    board = Scoreboard(["float", "other"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        board.update([np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1.0, 2.0], [np.nan, np.inf]])])
    lost = board.scores()[1]
    assert (lost.agreement, lost.mse, lost.largest_difference) == (0.5, np.inf, np.inf)
    assert 2 < lost.sqnr_db < 4
