"""Tensors of which the calibration data show no value, as boxes above a threshold that none has."""

from __future__ import annotations

import re

import numpy as np
import pytest

import calibrant
from calibrant.errors import DataError, ModelError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.report.output_sqnr import sqnr_line
from graphs import dense, graph_def, numbers, placeholder, tf

DATA = {"x": numbers(16, 8)}


def chosen(choose):
    """The rows that a condition on their sums chooses go through one more layer."""

    def build():
        rows = tf.nn.relu(dense(placeholder([None, 8]), 8, "first"))
        score = tf.reduce_sum(rows, 1, name="score")
        dense(tf.nn.relu(tf.boolean_mask(rows, choose(score))), 4, "second")

    return {"model": graph_def(build), "outputs": ["second/bias", "score"], "data": DATA, "batch_size": 4}


@pytest.mark.parametrize("balancing", ["batch_num : 4", "common_config { dmq_balancer { migration_strength : 0.5 } }"])
def test_a_layer_that_nothing_reaches_is_named_and_can_be_left_out(balancing, tmp_path):
    with pytest.raises(DataError, match="no calibration sample has a value") as raised:
        calibrant.quantize(**chosen(lambda score: score > 1e6), config=balancing)
    with pytest.raises(DataError, match="no calibration sample has a value"):
        calibrant.quantize(**chosen(lambda score: score > 1e6), config=balancing, round_weights=True)
    found = re.search(r'skip_layers : "second"', str(raised.value))
    assert "dmq" in balancing or found
    left = {"config": f'{balancing} skip_layers : "second"', "export": ["tflite", "ascend"]}
    result = calibrant.quantize(**chosen(lambda score: score > 1e6), **left, out=tmp_path / "out")
    assert result.output_sqnr.not_compared == ("second/bias",) and result.output_sqnr.by_output.keys() == {"score"}
    assert "'second/bias'" in sqnr_line(result.output_sqnr)
    assert calibrant.verify(tmp_path / "out", DATA).passed


def test_values_in_the_second_half_alone_are_enough(tmp_path):
    late = numbers(16, 8)
    late[:12] = 0
    late[12:] *= 100
    result = calibrant.quantize(**{**chosen(lambda score: score > 50.0), "data": {"x": late}}, out=tmp_path / "out")
    assert [layer.layer.name for layer in result.network.layers] == ["first", "second"]


def test_outputs_of_other_sizes_once_quantized_are_not_compared(tmp_path):
    graph = load(chosen(lambda score: score > 0)["model"], outputs=["score"])
    score = float(np.sort(run_once(graph, {"x": DATA["x"][:4]})[0])[0])
    arguments = chosen(lambda sums: (tf.abs(sums - score) < 1e-4) | (sums > score + 1))  # none once sums are rounded
    result = calibrant.quantize(**arguments, out=tmp_path / "out", refine=False)
    assert result.output_sqnr.not_compared == ("second/bias",)
    with pytest.raises(ModelError, match="sizes depend on values"):
        calibrant.quantize(**arguments, sensitivity=True)
