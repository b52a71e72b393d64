"""Operations that LiteRT does not have, at either end of a network: the hint is followed, and there is a file."""

import re

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.cut_hints import cut_hint
from calibrant.graph.load import load
from graphs import conv, graph_def, numbers, placeholder, tf

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


def quantized(build, x=X, **options):
    outputs = options.pop("outputs", None)
    return calibrant.quantize(graph_def(build), "batch_num: 1", x, export="tflite", outputs=outputs, **options)


@pytest.mark.parametrize("build", [in_front, in_front_of_one_branch])
def test_what_is_in_front_is_left_to_the_application(build):
    with pytest.raises(calibrant.ModelError, match="no operator for NextAfter") as refused:
        quantized(build)
    [problem] = refused.value.problems
    found = re.fullmatch(r"feed what is made of it, --inputs (\S+); or export another format", problem.hint)
    inputs = found[1].split(",")
    assert not quantized(build, dict.fromkeys(inputs, X), inputs=inputs).refused


def test_what_is_behind_is_left_to_the_application():
    with pytest.raises(calibrant.ModelError, match="no operator for NextAfter") as refused:
        quantized(behind, outputs=["features", "last"])
    [problem] = refused.value.problems
    found = re.fullmatch(r"end in front of it, --outputs (\S+); or export another format", problem.hint)
    assert found[1].split(",")[0] == "features"
    assert not quantized(behind, outputs=found[1].split(",")).refused


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
