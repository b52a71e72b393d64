"""Running a graph: what fails is said in TensorFlow's own words, without the frame around them."""

import numpy as np
import pytest

import calibrant
from calibrant.graph.load import load
from calibrant.graph.run import reason_of, run_once
from graphs import graph_def, numbers, placeholder, tf
from this_tensorflow import skipped_without_the_operation


def test_the_reason_is_the_line_behind_the_node():
    framed = "Graph execution error:\n\nDetected at node 'a' defined at (traceback):\nNode: 'a'\nno\n\t [[{{a}}]]"
    assert reason_of(ValueError(framed)) == "no"
    assert reason_of(ValueError("first\nsecond")) == "first"
    assert reason_of(ValueError("")) == "ValueError"


def test_a_failure_names_node_and_reason():
    def build():
        tf.reshape(placeholder([None, 3]), [9], name="nine")

    with pytest.raises(calibrant.ModelError, match="nine: running the graph failed: .*6 values") as caught:
        run_once(load(graph_def(build)), {"x": numbers(2, 3)})
    assert "Graph execution error" not in str(caught.value)


def test_a_grouped_convolution_with_a_bias_runs_with_and_without_onednn():
    """TensorFlow's optimizer makes one operation of the two, for which it has no kernel with groups on its own."""

    def build():
        y = tf.nn.conv2d(placeholder([None, 6, 6, 8]), numbers(3, 3, 2, 4, seed=1), 1, "SAME", name="layer")
        tf.nn.bias_add(y, np.float32([1, 2, 3, 4]), name="out")

    data = numbers(2, 6, 6, 8, seed=2)
    weights = numbers(3, 3, 2, 4, seed=1)
    with skipped_without_the_operation():
        (found,) = run_once(load(graph_def(build)), {"x": data})
    for group in range(4):
        part = tf.nn.conv2d(data[..., 2 * group : 2 * group + 2], weights[..., group : group + 1], 1, "SAME")
        np.testing.assert_allclose(found[..., group], part[..., 0] + group + 1, rtol=1e-4, atol=1e-4)
