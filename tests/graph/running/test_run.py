"""Running a graph: what fails is said in TensorFlow's own words, without the frame around them."""

import gc
from pathlib import Path

import numpy as np
import pytest

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner, reason_of, run_once
from graphs import graph_def, numbers, placeholder, tf
from this_tensorflow import skipped_without_the_operation

TASKS = Path("/proc/self/task")


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


@pytest.mark.parametrize(
    ("build", "taken"),
    [
        (lambda x: tf.reshape(x, [4, 6]), r"4 samples a run: --batch-size 4 \(batch_size=4\)"),
        (lambda x: x + tf.reshape(tf.range(24.0), [4, 6]), "one sample a run: --batch-size 1"),
    ],
)
def test_the_number_of_samples_that_the_graph_takes_is_named(build, taken):
    def with_as_many_rows():
        x = placeholder([None, 6])
        tf.identity(build(x)[: tf.shape(x)[0]], name="out")

    graph = load(graph_def(with_as_many_rows))
    with pytest.raises(calibrant.ModelError, match=f"the graph takes {taken}"):
        run_once(graph, {"x": numbers(16, 6)})


def test_no_number_is_named_where_none_is_taken():
    graph = load(graph_def(lambda: tf.identity(tf.reshape(placeholder([None, None]), [-1, 7]), name="out")))
    with pytest.raises(calibrant.ModelError, match="check that the data have the shape .* samples a run, --batch-size"):
        run_once(graph, {"x": numbers(16, 3)})


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


@pytest.mark.skipif(not TASKS.exists(), reason="only Linux lists the threads of a process")
def test_every_runner_has_as_many_threads_as_it_was_given():
    """Not those of the session that was opened first, as TensorFlow would have it."""
    graph = load(graph_def(lambda: tf.nn.relu(placeholder([None, 3]), name="y")))

    def threads_of(count):
        gc.collect()  # sessions that other tests have left
        before = set(TASKS.iterdir())  # of which some may end, as those of other tests do
        with Runner(graph, (), count, watched={"y:0": lambda values: None}) as runner:
            runner({"x": numbers(2, 3)})
            return len(set(TASKS.iterdir()) - before)

    threads_of(1)
    assert threads_of(12) - threads_of(2) == 10


def test_a_bias_of_the_other_data_format_stays_what_it_is():
    """TensorFlow's own fusion of the two computes other numbers."""

    def build():
        y = tf.nn.conv2d(placeholder([None, 6, 6, 3]), numbers(3, 3, 3, 6, seed=1), 1, "SAME", name="conv")
        tf.nn.relu(tf.nn.bias_add(y, numbers(6, seed=2), data_format="NCHW"), name="out")

    x = numbers(2, 6, 6, 3, seed=3)
    plain, out = run_once(load(graph_def(build)), {"x": x}, ["conv:0", "out:0"])
    wanted = np.maximum(plain + numbers(6, seed=2)[:, np.newaxis, np.newaxis], 0)
    np.testing.assert_allclose(run_once(load(graph_def(build)), {"x": x})[0], wanted, atol=1e-5)
    np.testing.assert_allclose(out, wanted, atol=1e-5)
