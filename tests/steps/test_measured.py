"""The error that arrives at each quantized layer's input."""

import json

import calibrant
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from this_tensorflow import skipped_without_the_operation


def test_tensors_with_channels_first_are_compared_position_by_position(tmp_path):
    def build():
        x = conv(tf.transpose(placeholder([None, 3, 8, 6]), [0, 2, 3, 1]), 4, "before")
        y = tf.transpose(x, [0, 3, 1, 2])
        weights = tf.constant(numbers(3, 3, 4, 5), name="weights")
        y = tf.nn.relu(tf.nn.conv2d(y, weights, 1, "SAME", data_format="NCHW", name="conv"))
        dense(tf.reshape(y, [-1, 5 * 48]))

    with skipped_without_the_operation():
        calibrant.quantize(graph_def(build), data=numbers(4, 3, 8, 6), out=tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    arriving = {row["layer"]: row["arriving_db"] for row in report["error_growth"]["inputs"]}
    assert set(arriving) == {"before", "conv", "dense"}
    assert arriving["before"] is None  # nothing before it is quantized
    assert arriving["conv"] > 20 and arriving["dense"] > 20
