"""The error that arrives at each quantized layer's input."""

import json

import pytest

import calibrant
from calibrant.errors import ModelError
from calibrant.graph.reading.load import load
from calibrant.steps import measured
from calibrant.steps.measured import ENOUGH_VALUES, LEAST_SAMPLES, MOST_SAMPLES, PRODUCTS, RESULTS, samples_to_run
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


def network_of(rows):
    return load(graph_def(lambda: tf.identity(conv(placeholder([None, rows, 64, 8]), 16), name="out")))


@pytest.mark.parametrize(("rows", "samples"), [(8, 32), (64, 32), (512, 32), (1024, 16), (8192, 4)])
def test_small_networks_are_measured_on_more_samples(rows, samples):
    results = rows * 64 * 16
    most = min(PRODUCTS // (results * 9 * 8), RESULTS // results)
    assert samples == min(max(most, LEAST_SAMPLES), MOST_SAMPLES)
    assert samples_to_run(network_of(rows)) == samples


def test_open_sizes_are_those_of_the_data():
    assert samples_to_run(network_of(None), {"x": (1, 8, 64, 8)}) == MOST_SAMPLES


def test_open_sizes_and_loops_are_measured_on_few():
    def looping():
        x = placeholder([None, 5, 3])
        total = tf.while_loop(lambda s: s[0, 0] < x[0, 0, 0], lambda s: [tf.matmul(s, s)], [tf.eye(3)])[0]
        tf.add(x[:, :3], total, name="out")

    assert (
        samples_to_run(network_of(None)) == samples_to_run(load(graph_def(looping), outputs=["out"])) == LEAST_SAMPLES
    )


def test_more_batches_keep_no_more_values(tmp_path, monkeypatch):
    kept = []
    some = measured._some_positions
    monkeypatch.setattr(measured, "_some_positions", lambda *a: kept.append(some(*a)) or kept[-1])
    model = graph_def(lambda: dense(tf.reshape(conv(placeholder([None, 64, 64, 4])), [-1, 64 * 64 * 4])))
    for size, folder in ((32, "one"), (1, "many")):
        data = [numbers(size, 64, 64, 4, seed=at) for at in range(32 // size)]
        calibrant.quantize(model, data=data, out=tmp_path / folder, samples=32, refine=False)
    sizes = {tuple(rows.shape) for rows in kept}
    assert {len(rows) * rows.shape[1] <= ENOUGH_VALUES for rows in kept} == {True} and (1024, 4) in sizes, sizes


def test_a_graph_that_does_not_take_parts_of_a_batch_is_measured_on_whole_ones(tmp_path):
    model = graph_def(lambda: dense(tf.reshape(conv(tf.reshape(placeholder([None]), [-1, 8, 8, 1])), [-1, 256])))
    found = calibrant.quantize(model, data=numbers(640), batch_size=128, out=tmp_path, samples=256)
    assert found.output_sqnr.samples == 128
    assert min(found.output_sqnr.by_output.values()) > 20


def test_what_cannot_be_measured_is_no_error(tmp_path, monkeypatch, caplog):
    def refused(*arguments):
        raise ModelError("running the graph failed")

    monkeypatch.setattr(measured, "_values", refused)
    with caplog.at_level("WARNING", logger="calibrant"):
        found = calibrant.quantize(graph_def(lambda: dense(placeholder([None, 4]))), data=numbers(8, 4), out=tmp_path)
    assert found.output_sqnr is None
    assert "not measured: running the graph failed" in caplog.text
