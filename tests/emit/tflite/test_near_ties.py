"""Numbers that are nearly equal in one sample, which rounding swaps where a network chooses among them."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.conversion import name_check
from calibrant.emit.tflite.conversion.float_file import float_file
from calibrant.emit.tflite.conversion.name_check import OtherNumbersError, sample_without_ties, without_wrong_names
from calibrant.emit.tflite.sample import later_samples
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.reading.load import load
from graphs import conv, graph_def, numbers, placeholder, tf
from tflite_networks import image

VALUES = np.array([1, -5, 3, 8], np.float32)
SETTINGS = TfliteSettings(batch=1)


def largest(added, behind=0.0):
    """What belongs to the largest of four numbers, the first of which gets a little more."""

    def build():
        x = placeholder([1, 4])
        tf.add(tf.gather(VALUES, tf.argmax(x + np.array([added, 0, 0, 0], np.float32), 1)), behind, name="out")
        tf.multiply(x, 1.0 + behind, name="scaled")

    return load(graph_def(build), outputs=["out", "scaled"])


def samples(count):
    """Of the first one, two numbers are too near for an error of 1e-4, and too far for one of a millionth."""
    clear = [{0: np.roll(np.array([[4, 1, 2, 3]], np.float32), at, 1)} for at in range(1, count)]
    return [{0: np.array([[2, 2.00005, 0, 1]], np.float32)}, *clear]


@pytest.mark.parametrize(
    ("added", "behind", "count", "agrees"),
    [(1e-4, 0.0, 6, True), (1e-4, 0.0, 4, False), (3.5, 0.0, 6, False), (1e-4, 0.5, 6, False)],
    ids=["a tie", "too few samples", "others differ", "not ranked"],
)
def test_a_tie_in_the_first_sample_is_told_from_other_numbers(added, behind, count, agrees):
    graph, made = largest(0.0), float_file(largest(added, behind), [], [], SETTINGS)
    first, *later = samples(count)
    with pytest.raises(OtherNumbersError):
        without_wrong_names(made, graph, first)
    found = sample_without_ties(made, graph, first, later)
    assert found is (later[0] if agrees else None)
    if agrees:
        without_wrong_names(made, graph, later[0])


def test_where_nothing_is_ranked_nothing_is_a_tie():
    graph, other = (
        load(graph_def(lambda add=add: tf.sin(placeholder([1, 4]) + add, name="out"))) for add in (0.0, 0.5)
    )
    made = float_file(other, [], [], SETTINGS)
    first, *later = samples(6)
    later = [{0: np.zeros((1, 4), np.float32)} if at else each for at, each in enumerate(later)]
    assert sample_without_ties(made, graph, first, later) is None


def test_a_network_that_ranks_is_checked_with_a_sample_without_ties(monkeypatch, caplog):
    model = graph_def(lambda: tf.math.top_k(tf.reduce_mean(conv(image(), name="one"), [1, 2]), 2, name="out"))
    x, unexplained = numbers(16, 8, 8, 4, seed=3), name_check._unexplained

    def tied(graph, batch, results, found):
        is_first = np.array_equal(batch["x"][0], x[0])
        return {0: 17.0} if is_first else unexplained(graph, batch, results, found)

    monkeypatch.setattr(name_check, "_unexplained", tied)
    with caplog.at_level(logging.WARNING):
        result = calibrant.quantize(model, "batch_num: 1", x, export="tflite", outputs=["out:0"])
    assert not result.refused
    assert any("numbers that are nearly equal" in record.getMessage() for record in caplog.records)
    monkeypatch.setattr(name_check, "_unexplained", lambda *given: {0: 17.0})
    with pytest.raises(calibrant.ModelError, match="computes other numbers"):
        calibrant.quantize(model, "batch_num: 1", x, export="tflite", outputs=["out:0"])


def test_later_samples_come_in_their_order():
    graph = largest(0.0)
    file = float_file(graph, [], [], SETTINGS).file
    x = numbers(5, 4)
    batches = [{"x": x[:3]}, {"x": x[3:]}]
    found = [sample[0] for sample in later_samples(graph, batches, file, whole=False)]
    np.testing.assert_array_equal(np.concatenate(found), x[1:])
    assert [len(each[0]) for each in later_samples(graph, [{"x": x[:1]}] * 3, file, whole=True)] == [1, 1]


def test_the_refusal_says_where_to_end_in_front_of_a_selection():
    def build(added):
        y = conv(image(8, 8, 4), name="one")
        scores = tf.sigmoid(tf.reshape(y[0, :, :, 1], [-1]))
        chosen = tf.image.non_max_suppression(tf.reshape(y[0], [-1, 4], name="boxes"), scores + added, 12, 0.4, 0.2)
        tf.identity(tf.cast(chosen, tf.float32), name="out")

    graph, other = (
        load(graph_def(lambda added=added: build(added))) for added in (0.0, np.linspace(0, 1, 64, dtype="f"))
    )
    with pytest.raises(OtherNumbersError, match=r"end in front of it, --outputs .*; or export another format") as error:
        without_wrong_names(float_file(other, [], [], SETTINGS), graph, {0: numbers(1, 8, 8, 4)})
    assert "boxes" in str(error.value)
