"""The total signal-to-quantization-noise ratio that the report gives, against its definition."""

import json
import math

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.logits import before_softmax
from calibrant.graph.running.run import run_once
from calibrant.quantized_network import OutputSqnr
from calibrant.report.output_sqnr import file_hint, file_sqnr_line, refine_hint, sqnr_line, sqnr_warnings
from calibrant.steps.measured import MOST_SAMPLES
from graphs import conv, dense, graph_def, numbers, placeholder, small_network, tf

DATA = numbers(40, 6, 6, 2)


def test_it_is_that_of_the_median_sample_before_a_final_softmax(tmp_path):
    def build():
        scores = dense(tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 144]), name="scores")
        tf.nn.softmax(scores, name="probabilities")

    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path / "out")
    graphs = result.original, result.fakequant
    points = [before_softmax(graph, graph.outputs[0]) for graph in graphs]
    assert points != [graph.outputs[0] for graph in graphs]
    first, second = (
        run_once(graph, {"x": DATA[:MOST_SAMPLES]}, [point])[0] for graph, point in zip(graphs, points, strict=True)
    )
    each = np.square(first).sum(1) / np.square(first - second).sum(1)
    run = json.loads((tmp_path / "out/report.json").read_text())["run"]
    assert run["total_sqnr_db"] == run["output_sqnr_db"]["probabilities"]
    assert run["total_sqnr_db"] == pytest.approx(-10 * math.log10(np.median(1 / each)), abs=0.05)
    together = np.square(first).sum() / np.square(first - second).sum()
    assert run["pooled_sqnr_db"] == {"probabilities": pytest.approx(10 * math.log10(together), abs=0.05)}
    assert run["sqnr_samples"] == MOST_SAMPLES and f"{run['total_sqnr_db']:.1f} dB" in sqnr_line(result.output_sqnr)


@pytest.mark.parametrize("pooled, said", [(20.0, " (20.0 dB of all together)"), (38.0, ""), (-math.inf, "")])
def test_errors_of_a_few_samples_are_told(pooled, said):
    found = OutputSqnr({"y": 40.0, "z": 50.0}, 8, pooled={"y": pooled, "z": 10.0})
    assert sqnr_line(found).endswith(f" on 8 calibration samples, of the median sample{said}")
    assert file_sqnr_line(found, "net.tflite") == f"in net.tflite: 40.0 dB SQNR{said}"


def with_softmax():
    y = tf.nn.relu(conv(placeholder([None, 6, 6, 2])))
    scores = dense(tf.reshape(y + conv(y, 4, name="again"), [-1, 144]), name="scores")
    tf.nn.softmax(scores, name="probabilities")


@pytest.mark.parametrize("options", [{}, {"tflite_batch": 2}, {"tflite_ops": "layers"}], ids=str)
def test_that_of_a_lite_file_is_its_own(options, tmp_path):
    result = calibrant.quantize(graph_def(with_softmax), data=DATA, out=tmp_path, export="tflite", **options)
    [point] = [before_softmax(result.original, tensor) for tensor in result.original.outputs]
    wanted = run_once(result.original, {"x": DATA[:MOST_SAMPLES]}, [point])[0]
    runner = TfliteRunner((tmp_path / "model_int8.tflite").read_bytes())
    found = []
    for at in range(0, MOST_SAMPLES, 2):
        runner.run({0: DATA[at : at + 2]})
        found.append(runner.real(runner.points[0]))
    run = json.loads((tmp_path / "report.json").read_text())["run"]
    expected = median_sqnr_db(wanted, np.concatenate(found))
    assert run["tflite_sqnr_db"] == {"probabilities": pytest.approx(expected, abs=0.05)}
    assert run["tflite_sqnr_db"] != run["output_sqnr_db"]
    assert run["tflite_pooled_sqnr_db"].keys() == {"probabilities"}
    assert file_sqnr_line(result.file_sqnr, "model_int8.tflite").startswith("in model_int8.tflite: ")


@pytest.mark.parametrize(
    "file, model, ops, is_said",
    [(9.0, 17.5, "all", True), (9.0, 17.5, "layers", False), (31.0, 44.0, "all", False), (15.0, 17.5, "all", False)],
)
def test_a_file_that_is_farther_off_than_the_model_says_what_helps(file, model, ops, is_said):
    hint = file_hint(OutputSqnr({"y": file}, 4), OutputSqnr({"y": model}, 4), ops)
    assert (hint is not None) == is_said and (hint is None or "--tflite-ops layers" in hint and "not measured" in hint)


def test_a_lite_file_of_more_samples_than_are_compared(tmp_path):
    model = graph_def(with_softmax)
    sizes = {"tflite_batch": MOST_SAMPLES + 1, "batch_size": len(DATA)}
    result = calibrant.quantize(model, data=DATA, out=tmp_path, export="tflite", **sizes)
    assert result.file_sqnr.samples == MOST_SAMPLES + 1


def test_a_file_of_fewer_samples_than_the_model_takes_at_once(tmp_path):
    def build():
        tf.identity(dense(tf.reshape(conv(placeholder([2, 6, 6, 2])), [-1, 144])), name="out")

    model = graph_def(build)
    result = calibrant.quantize(model, data=DATA, out=tmp_path, export="tflite", tflite_batch=1)
    assert not result.refused and result.file_sqnr is None
    assert calibrant.verify(tmp_path, DATA).passed


def test_a_lite_file_is_measured_only_where_the_model_is(tmp_path):
    """Before the Softmax is one place, and behind a product with its result another one."""

    def build():
        scores = dense(tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 144]), name="scores")
        tf.multiply(tf.nn.softmax(scores), 100.0, name="percent")

    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path, export="tflite")
    assert not result.refused and result.output_sqnr is not None and result.file_sqnr is None


def test_an_output_that_a_lite_file_has_no_scores_of_is_named(tmp_path):
    def build():
        y = tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 144])
        tf.multiply(tf.nn.softmax(dense(y, name="scores")), 100.0, name="percent")
        tf.identity(dense(y, name="other"), name="out")

    outputs = ["percent", "out"]
    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path, export="tflite", outputs=outputs)
    run = json.loads((tmp_path / "report.json").read_text())["run"]
    assert run["output_sqnr_db"].keys() == {"percent", "out"} and run["tflite_sqnr_db"].keys() == {"out"}
    assert run["tflite_outputs_not_compared"] == ["percent"] and run["outputs_not_compared"] == []
    line = file_sqnr_line(result.file_sqnr, "model_int8.tflite")
    assert line.endswith(
        "; not compared, as it has no tensor for what the Softmax reads, or another number of values: 'percent'"
    )


def test_a_lite_file_of_other_sizes_than_the_data_is_not_measured(tmp_path):
    def build():
        y = tf.reduce_mean(conv(placeholder([None, None, None, 2])), [1, 2])
        tf.matmul(y, tf.constant(numbers(4, 3, seed=3)), name="out")

    sizes = {"x": (1, 8, 8, 2)}
    result = calibrant.quantize(graph_def(build), data=DATA, out=tmp_path, export="tflite", tflite_shape=sizes)
    assert not result.refused and result.file_sqnr is None and "tflite_sqnr_db" not in result.run


def test_outputs_that_are_noise_are_warned_of(tmp_path):
    spoilt = DATA.copy()
    spoilt[3, 0, 0, 0] = 1e6
    result = calibrant.quantize(graph_def(small_network), data=spoilt, out=tmp_path / "out")
    assert result.output_sqnr.total_db < 10
    assert any("mostly noise" in warning and "--refine" in warning for warning in result.report["warnings"])


def test_a_way_out_that_has_been_tried_is_not_named():
    for refined in (False, True):
        [warning] = sqnr_warnings(OutputSqnr({"y": 3.0}, 4), refined)
        assert "calibrant tune" in warning and ("try --refine" in warning) is not refined


def test_noise_leads_to_the_layers_that_make_it():
    for ranked in (False, True):
        [warning] = sqnr_warnings(OutputSqnr({"y": 3.0}, 4), True, ranked)
        assert "the layers that cost most" in warning and ("quantize --sensitivity" in warning) is not ranked


def test_of_single_numbers_one_near_zero_does_not_count():
    reference = np.float32([[0.9], [-1.1], [1e-6], [1.2]])
    assert 35 < median_sqnr_db(reference, reference + np.float32(0.01)) < 45
    assert median_sqnr_db(reference, -reference) < 0 and median_sqnr_db(reference, reference) == math.inf
    assert median_sqnr_db(np.zeros((3, 1)), np.ones((3, 1))) == -math.inf


@pytest.mark.parametrize("width", [1, 2])
def test_what_few_samples_have_counts(width):
    """As the score of a detector: most samples are silent, or exact, and the others are lost."""
    reference = np.repeat(np.float32([[0], [0], [0], [1]]), width, axis=1)
    assert median_sqnr_db(reference, np.zeros_like(reference)) == 0
    exact = np.repeat(np.float32([[1], [1], [1], [2]]), width, axis=1)
    made = exact.copy()
    made[3] = 1
    assert median_sqnr_db(exact, made) == pytest.approx(10 * math.log10(7))


def test_an_output_without_a_signal_is_warned_of(tmp_path):
    def build():
        y = tf.reshape(conv(placeholder([None, 6, 6, 2])), [-1, 144])
        tf.identity(dense(y), name="out")
        tf.nn.relu(dense(y, name="never") - 1e3, name="silent")

    result = calibrant.quantize(graph_def(build), data=DATA, outputs=["out", "silent"], out=tmp_path / "out")
    [warning] = [text for text in result.report["warnings"] if "output 'silent' is 0" in text]
    assert "calibration samples that were compared" in warning
    assert not sqnr_warnings(OutputSqnr({"y": -math.inf}, 4, silent=("y",)), True)[1:]


def test_nothing_is_measured_where_nothing_is_written_or_data_can_be_read_once(tmp_path):
    assert calibrant.quantize(graph_def(small_network), data=DATA).output_sqnr is None
    once = calibrant.quantize(graph_def(small_network), data=iter([DATA]), out=tmp_path / "out")
    assert once.output_sqnr is None and once.run["total_sqnr_db"] is None


@pytest.mark.parametrize("worst, is_said", [(29.9, True), (30.0, False), (math.inf, False)])
def test_refining_is_proposed_below_30_db(worst, is_said):
    hint = refine_hint(OutputSqnr({"first": 50.0, "second": worst}, 8))
    assert (hint is not None) == is_said and (hint is None or "--refine" in hint)


def test_one_sample_is_no_plural():
    assert " on 1 calibration sample," in sqnr_line(OutputSqnr({"y": 34.1}, 1))
