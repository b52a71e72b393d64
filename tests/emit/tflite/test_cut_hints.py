"""Operations that LiteRT does not have, at either end of a network: the hint is followed, and there is a file."""

import re

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.conversion.cut_hints import cut_hint
from calibrant.graph.reading.load import load
from graphs import conv, graph_def, numbers, placeholder, tf, v1

X = np.abs(numbers(4, 8, 8, 3))


def lacking(y, name=None):
    """An operation that LiteRT lacks and that nobody has written out."""
    return tf.math.nextafter(y, 1.0, name=name)


def in_front():
    x = lacking(placeholder([None, 8, 8, 3]))
    conv(tf.nn.relu(conv(x, name="one")), name="last")


def in_front_of_one_branch():
    x = placeholder([None, 8, 8, 3])
    tf.add(conv(lacking(x), name="one"), conv(x, name="two", seed=3), name="last")


def in_front_of_two_layers():
    x = placeholder([None, 8, 8, 3])
    parts = [lacking(x * float(n)) for n in range(1, 7)]
    first, second = tf.add_n(parts[:3]), tf.add_n(parts[3:])
    tf.add(conv(first, name="one"), conv(second, name="two", seed=3), name="last")


def behind():
    y = tf.nn.relu(conv(placeholder([None, 8, 8, 3]), name="one"))
    tf.identity(tf.nn.relu(y), name="features")
    lacking(tf.sigmoid(conv(y, name="two")), name="last")


def behind_a_layer_without_a_bias():
    y = tf.matmul(tf.reduce_mean(conv(placeholder([None, 8, 8, 3])), [1, 2]), tf.constant(numbers(4, 5)), name="dense")
    lacking(y, name="last")


def between():
    y = lacking(tf.sigmoid(conv(placeholder([None, 8, 8, 3]), name="one")))
    conv(y, name="last")


def scores():
    y = tf.nn.relu(conv(placeholder([None, 8, 8, 3]), name="one"))
    return tf.transpose(tf.reduce_mean(conv(y, name="two", seed=4), 1), [1, 0, 2], name="scores")


def decoded(y, lengths):
    found, likelihood = v1.nn.ctc_greedy_decoder(y, lengths)
    tf.identity(found[0].values, name="letters")
    tf.identity(likelihood, name="likelihood")


def lengths_of_the_size():
    y = scores()
    decoded(y, tf.fill([tf.shape(y)[1]], tf.shape(y)[0]))


def lengths_fed():
    decoded(scores(), placeholder([None], name="lengths", dtype=tf.int32))


def lengths_made_by_layers():
    y = scores()
    decoded(y, tf.argmax(tf.reduce_max(y, 0), 1, output_type=tf.int32))


def beside_an_input_in_float():
    bound = placeholder([None, 1, 1, 1], name="bound")
    y = tf.sigmoid(conv(placeholder([None, 8, 8, 3]), name="one"), name="features")
    tf.math.nextafter(y, bound, name="last")


def quantized(build, x=X, **options):
    outputs = options.pop("outputs", None)
    return calibrant.quantize(graph_def(build), "batch_num: 1", x, export="tflite", outputs=outputs, **options)


@pytest.mark.parametrize("build", [in_front, in_front_of_one_branch, in_front_of_two_layers])
def test_what_is_in_front_is_left_to_the_application(build):
    with pytest.raises(calibrant.ModelError, match="no operator for NextAfter") as refused:
        quantized(build)
    [problem] = refused.value.problems
    found = re.fullmatch(r"feed what is made of it, --inputs (\S+); or export another format", problem.hint)
    inputs = found[1].split(",")
    assert len(inputs) <= 2
    assert not quantized(build, dict.fromkeys(inputs, X), inputs=inputs).refused


def test_what_is_behind_is_left_to_the_application():
    with pytest.raises(calibrant.ModelError, match="no operator for NextAfter") as refused:
        quantized(behind, outputs=["features", "last"])
    [problem] = refused.value.problems
    found = re.fullmatch(r"end in front of it, --outputs (\S+); or export another format", problem.hint)
    assert found[1].split(",")[0] == "features"
    assert not quantized(behind, outputs=found[1].split(",")).refused


@pytest.mark.parametrize(
    ("build", "data", "end"),
    [
        (lengths_of_the_size, X, "scores"),
        (lengths_fed, {"x": X, "lengths": np.full(4, 8, np.int32)}, "scores"),
        (beside_an_input_in_float, {"x": X, "bound": np.ones((4, 1, 1, 1), np.float32)}, "features"),
    ],
)
def test_what_a_decoder_reads_beside_its_scores_is_at_hand(build, data, end):
    outputs = ["letters", "likelihood"] if end == "scores" else ["last"]
    with pytest.raises(calibrant.ModelError, match="no operator for") as refused:
        quantized(build, data, outputs=outputs)
    [problem] = refused.value.problems
    found = re.fullmatch(r"end in front of it, --outputs (\S+)( --inputs (\S+))?; or export .*", problem.hint)
    assert found[1] == end and bool(found[3]) == isinstance(data, dict)
    inputs = found[3] and found[3].split(",")
    assert not quantized(build, data, outputs=end, inputs=inputs).refused


def test_whole_numbers_that_layers_make_are_not_at_hand():
    with pytest.raises(calibrant.ModelError, match="no operator for CTCGreedyDecoder") as refused:
        quantized(lengths_made_by_layers, outputs=["letters", "likelihood"])
    assert refused.value.problems[0].hint == "export another format"


def test_the_layer_in_front_has_the_name_that_it_has_in_the_model():
    with pytest.raises(calibrant.ModelError, match="no operator for NextAfter") as refused:
        quantized(behind_a_layer_without_a_bias)
    [problem] = refused.value.problems
    assert problem.hint == "end in front of it, --outputs dense; or export another format"
    assert not quantized(behind_a_layer_without_a_bias, outputs="dense").refused


def test_what_is_between_layers_is_not_cut_off():
    with pytest.raises(calibrant.ModelError, match="no operator for NextAfter") as refused:
        quantized(between)
    assert refused.value.problems[0].hint == "export another format"


def test_nodes_that_the_model_does_not_have():
    assert cut_hint(load(graph_def(in_front)), ["made_by_the_converter"]) is None
