"""What a sample of an output is where its first axis is another one."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.graph.running.run import run_once
from calibrant.steps.by_sample import by_sample, joined
from graphs import conv, dense, graph_def, numbers, placeholder, tf

DATA = numbers(8, 6, 6, 2)


@pytest.mark.parametrize(
    ("shape", "samples", "fixed_second", "wanted"),
    [
        ((4, 3), 4, False, (4, 3)),
        ((3, 4), 1, False, (1, 12)),
        ((24, 4, 11), 4, False, (4, 24, 11)),
        ((12, 4), 4, True, (4, 12)),
        ((5, 2), 3, False, (1, 10)),
        ((0, 4), 1, False, (1, 0)),
    ],
)
def test_samples_become_the_first_axis(shape, samples, fixed_second, wanted):
    assert by_sample(np.zeros(shape), samples, fixed_second).shape == wanted


def test_time_before_samples_is_turned_and_rows_of_one_sample_stay_together():
    values = np.arange(12).reshape(6, 2)
    assert by_sample(values, 2, False).tolist() == values.T.tolist()
    assert by_sample(values, 2, True).tolist() == values.reshape(2, 6).tolist()


def test_runs_with_other_numbers_of_rows_are_joined():
    runs = [np.ones((1, 2, 3)), np.zeros((1, 0, 3)), np.ones((1, 1, 3))]
    assert joined(runs).sum(1).tolist() == [6, 0, 3]


def regions():
    x = tf.reshape(conv(placeholder([1, 6, 6, 2])), [3, 48])
    tf.identity(dense(x, 4, name="rows") * tf.constant([[100.0], [1.0], [0.01]]), name="out")


def time_first():
    x = tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 6, 24])
    tf.identity(dense(tf.transpose(x, [1, 0, 2]), 4, name="steps"), name="out")


@pytest.mark.parametrize(("build", "axis"), [(regions, 0), (time_first, 1)])
def test_the_ratio_is_that_of_the_median_sample(build, axis, tmp_path):
    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path / "out", export="tflite")
    used = DATA[: result.output_sqnr.samples]
    batches = [used] if axis else np.split(used, len(used))
    pair = [
        np.concatenate(
            [np.moveaxis(run_once(graph, {"x": batch})[0], axis, 0).reshape(len(batch), -1) for batch in batches]
        )
        for graph in (result.original, result.fakequant)
    ]
    assert result.output_sqnr.total_db == pytest.approx(median_sqnr_db(*pair), abs=0.01)
    assert not result.refused and abs(result.file_sqnr.total_db - result.output_sqnr.total_db) < 6
