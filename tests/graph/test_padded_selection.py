"""TensorFlow's padded selection of boxes, a function, as one operation where the boxes are of one sample."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.load import load
from calibrant.graph.run import run_once
from graphs import numbers, tf

SCORES = np.random.default_rng(0).permutation(np.linspace(0.05, 0.95, 40)).astype(np.float32)
CORNERS = np.abs(numbers(40, 4, seed=2, scale=0.3))
BOXES = np.concatenate([CORNERS[:, :2], CORNERS[:, :2] + CORNERS[:, 2:]], 1)


class Selection(tf.Module):
    """The call, inside another one."""

    @tf.function(input_signature=[tf.TensorSpec([40, 4], name="boxes"), tf.TensorSpec([40], name="scores")])
    def __call__(self, boxes, scores):
        """Of one sample."""
        chosen, count = self.select(boxes, scores)
        return {"chosen": tf.gather(boxes, chosen), "places": chosen, "count": count}

    @tf.function
    def select(self, boxes, scores):
        """With the numbers of boxes and limits that people choose."""
        return tf.image.non_max_suppression_padded(boxes, scores, 12, 0.4, 0.3, pad_to_max_output_size=True)


@pytest.mark.parametrize("scores", [SCORES, np.where(SCORES > 0.9, SCORES, 0)], ids=["many", "few"])
def test_it_selects_the_same(scores):
    network = Selection()
    graph = load(network.__call__)
    assert "NonMaxSuppressionV4" in {node.op for node in graph.nodes.values()} and not graph.library.function
    found = dict(zip(graph.output_keys, run_once(graph, {"boxes": BOXES, "scores": scores}), strict=True))
    for key, wanted in network(BOXES, scores).items():
        np.testing.assert_array_equal(found[key], wanted)


def test_boxes_of_several_samples_are_selected_by_the_function():
    @tf.function(input_signature=[tf.TensorSpec([2, 40, 4], name="boxes"), tf.TensorSpec([2, 40], name="scores")])
    def select(boxes, scores):
        return tf.image.non_max_suppression_padded(boxes, scores, 12, 0.4, 0.3, pad_to_max_output_size=True)

    graph = load(select)
    assert "NonMaxSuppressionV4" not in {node.op for node in graph.nodes.values()}
    feeds = np.stack([BOXES, BOXES[::-1]]), np.stack([SCORES, SCORES[::-1]])
    found = run_once(graph, dict(zip(graph.input_keys, feeds, strict=True)))
    for one, other in zip(found, select(*feeds), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_saved_model_that_selects_has_a_file_with_that_operator(tmp_path):
    class Detector(Selection):
        @tf.function(input_signature=[tf.TensorSpec([1, 8], name="x")])
        def serve(self, x):
            """Scores of a layer."""
            scores = tf.sigmoid(tf.reshape(x @ numbers(8, 40), [40]))
            return {"chosen": self.select(BOXES, scores)[0]}

    network = Detector()
    tf.saved_model.save(network, tmp_path / "net", signatures=network.serve)
    data = [numbers(1, 8, seed=turn) for turn in range(16)]
    result = calibrant.quantize(tmp_path / "net", "batch_num: 16", data, tmp_path / "out", export="tflite")
    [content] = [value for name, value in result.exported.items() if name.endswith(".tflite")]
    operators = {each.name for each in File(content).operators()}
    assert "NON_MAX_SUPPRESSION_V4" in operators and "WHILE" not in operators
    assert calibrant.verify(tmp_path / "out", data).passed
