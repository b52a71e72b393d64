"""Steps that judge by the outputs: outputs that are texts, classes, or infinite."""

import pytest

import calibrant
from calibrant.errors import ModelError
from graphs import graph_def, numbers, placeholder, tf

DATA = numbers(64, 16, seed=5)
EVERYTHING = {"refine": True, "sensitivity": True, "budget": 0.5}


def scores():
    return tf.matmul(placeholder([None, 16]), tf.constant(numbers(16, 4)), name="scores")


def word():
    tf.gather(tf.constant(["a", "b", "c", "d"]), tf.argmax(scores(), 1), name="word")


def test_texts_alone_cannot_be_compared():
    with pytest.raises(ModelError, match="no output holds numbers: word") as error:
        calibrant.quantize(graph_def(word), data=DATA, refine=True)
    assert "--outputs" in str(error.value)
    calibrant.quantize(graph_def(word), data=DATA)


def test_texts_beside_numbers_are_left_out(tmp_path):
    two, one = (
        calibrant.quantize(graph_def(word), data=DATA, out=tmp_path / str(len(outputs)), outputs=outputs, **EVERYTHING)
        for outputs in (["scores", "word"], ["scores"])
    )
    ends = [[(entry.node, entry.quantizer) for entry in result.network.every_input()] for result in (two, one)]
    assert ends[0] == ends[1] and two.sensitivity == one.sensitivity


def test_a_class_is_compared_by_its_scores():
    def build():
        tf.argmax(scores(), 1, name="best")

    first = calibrant.quantize(graph_def(build), data=DATA, **EVERYTHING)
    second = calibrant.quantize(graph_def(scores), data=DATA, **EVERYTHING)
    assert first.sensitivity == second.sensitivity


@pytest.mark.filterwarnings("error")
def test_infinite_outputs_do_not_count(tmp_path):
    def build():
        tf.math.log(tf.nn.relu(scores()), name="log")

    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path / "out", **EVERYTHING)
    assert 0 < result.sensitivity[0].only_db < 100
    assert 0 < result.output_sqnr.total_db < 100
