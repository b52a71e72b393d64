"""Where outputs are compared: before a final Softmax, whatever only changes its shape."""

import numpy as np
import pytest

from calibrant.graph.logits import before_softmax
from calibrant.graph.reading.load import load
from calibrant.graph.tensorflow import tensorflow


def fixed(tf, y):
    return tf.reshape(y, [-1, 2, 2])


def computed(tf, y):
    return tf.reshape(y, tf.stack([tf.shape(y)[0], 4]))


def squeezed(tf, y):
    return tf.squeeze(tf.reshape(y, tf.stack([tf.shape(y)[0], 1, 4])), [1])


@pytest.mark.parametrize("shaped", [fixed, computed, squeezed])
def test_a_shape_may_be_computed(shaped):
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="x")
        scores = tf.matmul(x, np.ones((3, 4), np.float32), name="scores")
        tf.identity(shaped(tf, tf.nn.softmax(scores)), name="out")
    model = load(graph.as_graph_def(), outputs=["out"])
    assert before_softmax(model, model.outputs[0]) == "scores:0"
