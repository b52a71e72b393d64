"""Models without a batch, from calibration to the comparison of the files."""

import logging
from itertools import pairwise

import numpy as np
import pytest

import calibrant
from calibrant.errors import CalibrantError, DataError
from graphs import conv, dense, graph_def, numbers, placeholder, save, tf

RUN = 128


def recording(size=None, name="out"):
    """A graph that frames a waveform, and gives one row for each frame of 64 values or of their mean."""
    frames = tf.reshape(placeholder([size]), [-1, 8, 8, 1])
    rows = dense(tf.reshape(tf.nn.relu(conv(frames)), [-1, 256]), 5)
    tf.identity(rows if name == "frames" else tf.reduce_mean(rows, axis=0), name=name)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(graph_def(recording), tmp_path_factory.mktemp("model") / "recording.pb")


@pytest.fixture(scope="module")
def clips():
    return numbers(40, RUN)


def test_everything_counts_runs(model, clips, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="calibrant"):
        found = calibrant.quantize(model, data=clips, out=tmp_path, refine=True, sensitivity=True)
    assert "each row of the data is one run" in caplog.text and "using all 40 samples" in caplog.text
    assert (found.data.samples, found.data.batches, found.output_sqnr.samples) == (40, 40, 32)
    alike = calibrant.quantize(model, data=list(clips), batch_size=RUN, samples="all")
    plain = calibrant.quantize(model, data=clips)
    assert alike.record == plain.record  # the same values, counted otherwise
    scores = calibrant.evaluate([model, found.fakequant], clips, np.arange(40) % 5)
    assert [score.samples for score in scores] == [40, 40] and scores[1].agreement > 0.9
    verified = calibrant.verify(tmp_path, clips, model=model, labels=np.arange(40) % 5)
    assert [score.samples for score in verified.models] == [40, 40]
    assert verified.models[0].top1 == scores[0].top1


def test_runs_are_neither_cut_nor_joined(clips, monkeypatch):
    fed = []
    run = calibrant.graph.running.run.Runner.__call__
    monkeypatch.setattr(
        calibrant.graph.running.run.Runner,
        "__call__",
        lambda self, batch: fed.append(batch["x"].shape) or run(self, batch),
    )
    runs = [clips[0, :64], *clips, clips[0, :64], clips[1]]
    calibrant.quantize(graph_def(recording), data=runs, refine=True, round_weights=True, sensitivity=True)
    calibrant.quantize(graph_def(recording), data=runs, budget=0.5)
    assert {shape for (shape,) in fed} == {64, RUN}


def test_parts_are_merged(model, clips, tmp_path):
    whole = calibrant.quantize(model, data=clips)
    edges = (0, 7, 40)
    states = [calibrant.observe(model, None, clips, tmp_path / f"{a}.npz", (a, b)) for a, b in pairwise(edges)]
    assert calibrant.merge(states, model).record == whole.record


def test_tuning_counts_runs(model, clips):
    found = calibrant.tune(model, data=clips, labels=np.arange(40) % 5, tolerance=1.0)
    assert found.met


def test_one_label_for_several_rows_is_refused(clips, tmp_path):
    framing = graph_def(lambda: recording(name="frames"))
    found = calibrant.quantize(framing, data=clips, out=tmp_path)
    labels = np.arange(40) % 5
    for judge in (
        lambda: calibrant.evaluate([framing, found.fakequant], clips, labels),
        lambda: calibrant.verify(tmp_path, clips, model=framing, labels=labels),
        lambda: calibrant.tune(framing, data=clips, labels=labels),
    ):
        with pytest.raises(
            DataError, match=r"5 numbers a run|labels of shape \[N\] for an output of shape \[N, 2, 5\]"
        ):
            judge()
    scores = calibrant.evaluate([framing, found.fakequant], clips, np.stack([labels, labels], axis=1))
    assert scores[0].samples == 40 and scores[0].top1 is not None


def test_a_tflite_takes_a_whole_run(clips, tmp_path):
    fixed = graph_def(lambda: recording(RUN))
    found = calibrant.quantize(fixed, data=clips, out=tmp_path, export="tflite", refine=False)
    assert found.file_sqnr.samples == 32 and found.export_notes["tflite"]["samples_a_run"] is None
    verified = calibrant.verify(tmp_path, clips)
    assert {score.samples for score in verified.models} == {40}
    calibrant.golden(tmp_path, clips, out=tmp_path / "golden", samples=3)
    assert np.load(tmp_path / "golden/golden.npz")["input_0"].shape == (3, RUN)


def test_golden_refuses_runs_of_several_lengths(clips, tmp_path, model):
    try:
        calibrant.quantize(model, data=clips, out=tmp_path, export="tflite", refine=False)
    except CalibrantError:
        pytest.skip("the converter does not take the graph with an open size")
    runs = [clips[0], clips[1, :64], clips[2]]
    with pytest.raises(DataError, match="the runs have different shapes"):
        calibrant.golden(tmp_path, runs, out=tmp_path / "golden")
