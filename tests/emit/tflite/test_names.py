"""Tensors of a LiteRT file get the scale of the numbers that they have, whatever the converter calls them."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.conversion.float_file import float_file
from calibrant.emit.tflite.conversion.name_check import without_wrong_names
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.evaluation.tflite_runner import TfliteRunner, open_tflite
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, save, tf
from tflite_networks import computed, contents, exported, image, steps_apart


def variance(y):
    return tf.reduce_mean(tf.math.squared_difference(y, tf.reduce_mean(y, [1, 2], keepdims=True)), [1, 2])


# Of each the converter makes several operators, of which the first ones make other numbers.
OPERATIONS = {"softplus": tf.nn.softplus, "softsign": tf.nn.softsign, "selu": tf.nn.selu, "variance": variance}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_last_operator_made_of_a_node_has_its_name(name):
    result, x = exported(graph_def(lambda: tf.identity(OPERATIONS[name](conv(image(), name="one")), name="out")))
    [wanted] = run_once(result.network.graph, {"x": x})
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    made = runner.real(runner.file.outputs()[0])
    assert np.mean((made - wanted) ** 2) < 0.003 * np.mean(wanted**2)  # 25 dB


def test_a_name_that_ends_in_a_digit_is_known_with_the_converters_digits():
    """FusedBatchNormV3 alone becomes a product and a sum, called FusedBatchNormV32 and FusedBatchNormV33."""

    def build():
        y = tf.nn.relu(conv(image(), name="one"))
        scale, offset, mean = (tf.constant(numbers(4, seed=seed)) for seed in (3, 4, 5))
        y = tf.raw_ops.FusedBatchNormV3(
            x=y,
            scale=scale,
            offset=offset,
            mean=mean,
            variance=scale * scale,
            is_training=False,
            name="FusedBatchNormV3",
        )[0]
        tf.identity(tf.pad(y[:, 1:], [[0, 0], [1, 1], [0, 0], [0, 0]]), name="out")

    result, _ = exported(graph_def(build))
    assert result.export_notes["tflite"]["operators_in_float"] == []


def test_a_name_with_other_numbers_is_forgotten():
    graph = load(graph_def(lambda: tf.cos(tf.tanh(tf.sin(image(), name="wave"), name="bent"), name="out")))
    made = float_file(graph, (), (), TfliteSettings())
    sine, bent = made.indices["wave:0"], made.indices["bent:0"]
    sample = {0: numbers(2, 8, 8, 4)}
    assert without_wrong_names(made, graph, sample).tensors == made.tensors
    swapped = replace(made, tensors={**made.tensors, sine: "bent:0", bent: "wave:0"})
    assert {sine, bent}.isdisjoint(without_wrong_names(swapped, graph, sample).tensors)


@pytest.mark.parametrize(
    "operation",
    [
        lambda y: tf.clip_by_value(y, -1.0, 1.0),
        lambda y: tf.maximum(y, -0.5),
        lambda y: tf.reduce_max(y, [1, 2], keepdims=True),
    ],
    ids=["clip", "maximum", "reduce_max"],
)
def test_codes_are_spent_on_what_is_left(operation):
    result, x = exported(graph_def(lambda: tf.identity(operation(conv(image(), name="one")), name="out")))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    [scale] = {
        float(t.scale[0]) for o in file.operators() if o.name not in ("QUANTIZE", "DEQUANTIZE") for t in o.outputs
    }
    [wanted] = run_once(result.network.graph, {"x": x})
    assert scale <= 1.2 * (max(wanted.max(), 0) - min(wanted.min(), 0)) / 255


def test_a_roll_becomes_slices():
    result, x = exported(
        graph_def(lambda: tf.identity(tf.roll(conv(image(), name="one"), [1, -3], [1, 2]), name="out"))
    )
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert {o.is_integer for o in file.operators() if o.name in ("SLICE", "STRIDED_SLICE", "CONCATENATION")} == {True}


def no_step(y):
    return tf.roll(y, [0, 8, 1], [1, 2, 2])


def empty_part(y):
    return tf.concat([y[:, :0], y], 1)


def empty_parts(y):
    return tf.concat([y[:, :0], y, y[:, 3:3], y], 1)


@pytest.mark.parametrize("moved", [no_step, empty_part, empty_parts])
def test_what_has_no_elements_is_left_out(moved, tmp_path):
    model = graph_def(lambda: tf.identity(tf.nn.relu(moved(conv(image(), name="one"))), name="out"))
    x = numbers(8, 8, 8, 4, seed=3)
    result = calibrant.quantize(model, "batch_num: 1", [x], tmp_path / "out", export="tflite")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", x).passed
    assert all(0 not in made.signature for each in File(contents(result)[0]).operators() for made in each.outputs)


def test_a_slice_without_elements_that_is_a_result_is_refused():
    """XNNPACK makes the whole of it."""

    def build():
        y = conv(image(), name="one")
        return tf.nn.relu(y, name="out"), tf.identity(y[:, :0], name="none")

    with pytest.raises(calibrant.ModelError, match="of another shape"):
        calibrant.quantize(
            graph_def(build), "batch_num: 1", [numbers(8, 8, 8, 4)], export="tflite", outputs=["out", "none"]
        )


def test_a_tensor_without_elements_is_compared(tmp_path):
    def build():
        y = conv(image(), name="one")
        return tf.identity(tf.nn.relu(y), name="out"), tf.identity(tf.nn.relu(y[:, 8:]), name="none")

    x = numbers(8, 8, 8, 4, seed=3)
    calibrant.quantize(
        graph_def(build), "batch_num: 1", [x], tmp_path / "out", export="tflite", outputs=["out", "none"]
    )
    runner = open_tflite(next((tmp_path / "out").glob("*.tflite")))
    runner.run({0: x})
    assert [runner.real(end).shape for end in runner.file.outputs()] == [(8, 8, 8, 4), (8, 0, 8, 4)]


def test_a_mark_behind_which_nothing_is_left():
    """The converter drops what hands a layer's result on, and names the mark after the result."""
    result, x = exported(graph_def(lambda: tf.identity(tf.stop_gradient(conv(image(), name="one")), name="out")))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert [operator.name for operator in file.operators()] == ["QUANTIZE", "CONV_2D", "DEQUANTIZE"]


def test_outputs_that_rounding_decides_are_not_compared(caplog):
    def build():
        y = tf.sigmoid(conv(image(), name="one"))
        for _ in range(60):  # the logistic map, which doubles a difference in each step
            y = 3.99 * y * (1.0 - y)
        y = conv(y, name="two")
        y = y * tf.sigmoid(y)
        tf.identity(y * tf.sigmoid(tf.reduce_mean(y, [1, 2], keepdims=True)), name="out")

    with caplog.at_level(logging.WARNING):
        result, _ = exported(graph_def(build))
    assert any("where its inputs change by a millionth" in record.getMessage() for record in caplog.records)
    names = [each.name for each in File(contents(result)[0]).operators() if each.is_integer]
    assert (names.count("LOGISTIC"), names.count("MEAN")) == (3, 1)  # known by what the convolution makes


def test_sums_in_front_of_which_the_converter_has_moved_a_squeeze():
    """A convolution over a sequence is one over an image of height 1: its sums get that axis as well."""
    weights = [numbers(1, 4, 4, seed=seed) for seed in range(5)]

    def network():
        x = tf.nn.conv1d(placeholder([None, 8, 4]), weights[0], 1, "SAME", name="first")
        y = tf.add_n([tf.nn.conv1d(x, each, 1, "SAME") for each in weights[1:3]])
        y = y + tf.nn.conv1d(x, weights[3], 1, "SAME")
        tf.identity(tf.nn.conv1d(tf.nn.relu(y), weights[4], 1, "SAME"), name="out")

    result, x = exported(graph_def(network))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    sums = [each for each in file.operators() if each.name == "ADD"]
    assert len(sums) == 2 and all(each.is_integer and len(each.outputs[0].signature) == 4 for each in sums)


def rows(y):
    return tf.nn.max_pool1d(tf.nn.relu(tf.reshape(y, [-1, 64, 4])), 2, 2, "SAME")


def clipped_rows(y):
    return tf.nn.max_pool1d(tf.nn.relu6(tf.reshape(y, [-1, 64, 4])), 2, 2, "SAME")


def rows_as_a_result(y):
    return tf.nn.relu(tf.reshape(y, [-1, 64, 4]))


def back_again(y):
    y = tf.reshape(tf.nn.relu(tf.reshape(y, [-1, 64, 4])), [-1, 8, 8, 4])
    return y + tf.sigmoid(y)


def channels_in_front(y):
    return tf.reduce_max(tf.nn.relu(tf.transpose(y, [0, 3, 1, 2])), [2, 3])


@pytest.mark.parametrize("combined", [tf.add, tf.subtract, tf.multiply])
@pytest.mark.parametrize("rearranged", [rows, clipped_rows, rows_as_a_result, back_again, channels_in_front])
def test_an_activation_that_the_converter_has_moved(rearranged, combined):
    """It fuses one behind a reshape or a transposition into what is in front of that."""

    def build():
        y = conv(image(), name="one")
        tf.identity(rearranged(combined(y, conv(y, name="two", seed=3))), name="out")

    result, x = exported(graph_def(build))
    assert result.export_notes["tflite"]["operators_in_float"] == []
    [made], [simulated], names = computed(result, x)
    assert names.isdisjoint({"RELU", "RELU6"})
    np.testing.assert_allclose(made, simulated, atol=1e-5)
    [wanted] = run_once(load(graph_def(build)), {"x": x})
    assert arrays_sqnr_db(wanted, made) > 30


def in_rows(y):
    return tf.reshape(y, [-1, 64, 4])


def turned(y):
    return tf.transpose(y, [0, 3, 1, 2])


BY_NUMBER = {
    "scaled and shifted": lambda y: tf.sigmoid(y) * 2.0 - 1.0,
    "activated between": lambda y: tf.nn.relu(y - 0.1) * 2.0,
    "clipped": lambda y: tf.clip_by_value(y, -0.3, 0.4),
    "largest": lambda y: tf.maximum(y * 2.0, 0.1) - 0.5,
    "divided": lambda y: (tf.abs(y) - 0.3) / 0.7,
}


@pytest.mark.parametrize("move", [in_rows, turned])
@pytest.mark.parametrize("computed_by", BY_NUMBER.values(), ids=list(BY_NUMBER))
def test_what_is_computed_number_by_number_in_front_of_a_move(move, computed_by):
    """The converter moves reshapes and transpositions behind it; its range is the same in any order of the numbers."""

    def build():
        tf.identity(computed_by(move(conv(image(), name="one"))), name="out")

    result, x = exported(graph_def(build))
    assert result.export_notes["tflite"]["operators_in_float"] == []
    [made], [simulated], _ = computed(result, x)
    np.testing.assert_allclose(made, simulated, atol=1e-5)
    [wanted] = run_once(load(graph_def(build)), {"x": x})
    assert arrays_sqnr_db(wanted, made) > 30


@pytest.mark.parametrize(
    "computed_by",
    [
        lambda y: 1.0 - y,
        lambda y: 1.0 - tf.sigmoid(y) * 0.5 - 0.1,
        lambda y: 1.0 / (tf.exp(y) + 1.0),
        lambda y: tf.pow(2.0, y),
        lambda y: tf.where(tf.greater(0.3, y), y, 0.0 * y),
        lambda y: (1.0 - y) * tf.sigmoid(y),
        lambda y: 1.0 - (tf.sigmoid(y) + tf.tanh(y)),
        lambda y: tf.ones_like(y) - y,
        lambda y: tf.cast(100 - tf.cast(y * 10.0, tf.int32), tf.float32),
    ],
    ids=[
        "difference",
        "far behind",
        "quotient",
        "power",
        "comparison",
        "read twice",
        "of two",
        "ones",
        "whole numbers",
    ],
)
def test_a_constant_in_front_of_what_was_transposed_stays_there(computed_by):
    """The converter would take the operands for one another."""

    def build():
        tf.identity(computed_by(turned(conv(image(), name="one"))), name="out")

    result, x = exported(graph_def(build))
    [made], _, _ = computed(result, x)
    [wanted] = run_once(load(graph_def(build)), {"x": x})
    assert arrays_sqnr_db(wanted, made) > 25


@pytest.mark.parametrize("behind", [tf.identity, lambda y: tf.tanh(y) + 0.5])
def test_products_in_front_of_which_the_converter_has_moved_a_squeeze(behind):
    """The second one has the name of the first one, too, and its own is that of what moves it, or of the output."""

    def build():
        x = placeholder([None, 30, 8])
        y = tf.nn.relu(tf.nn.conv1d(x, tf.constant(numbers(3, 8, 8, scale=0.3)), 1, "SAME") + numbers(8, seed=1))
        y = (y - numbers(8, seed=2)) * numbers(8, seed=3) * numbers(8, seed=4)
        tf.identity(behind(y), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert all(each.is_integer for each in file.operators() if each.name == "MUL")
    assert apart.max() <= 1.001


@pytest.mark.parametrize("first", [lambda x: tf.cast(x > 0.5, tf.float32), lambda x: tf.round(x * 4.0)])
def test_decisions_that_the_order_of_a_sum_makes_are_no_other_numbers(first):
    """Sums of thirds that are zero come out as plus or minus a little, and the network makes -1 and 1 of it."""

    def build():
        random, y = np.random.default_rng(10), first(placeholder([None, 8, 8, 4]))
        for at in range(4):
            weights = (random.choice((-1, 0, 1), (3, 3, int(y.shape[-1]), 8)) / 3).astype(np.float32)
            y = tf.sign(tf.nn.conv2d(y, tf.constant(weights), 1, "SAME", name=f"layer{at}"))
        tf.identity(tf.matmul(tf.reduce_mean(y, [1, 2]), tf.constant(numbers(8, 3))), name="out")

    x = np.random.default_rng(0).random((32, 8, 8, 4)).astype(np.float32)
    result = calibrant.quantize(graph_def(build), "batch_num: 1", x, export="tflite", refine=False)
    assert not result.refused
    assert File(contents(result)[0]).inputs()[0].signature[0] is None


def test_the_simulation_has_the_outputs_of_the_model(tmp_path):
    """A script that fetches them by name may take one file for the other; an output may be an input, too."""

    def build():
        y = conv(image(), name="one")
        tf.identity(tf.reduce_mean(y, [1, 2]), name="scope/mean")
        tf.nn.relu(y, name="Mean")

    calibrant.quantize(
        save(graph_def(build), tmp_path / "net.pb"),
        data=numbers(8, 8, 8, 4),
        out=tmp_path / "out",
        export="tflite",
        outputs=["scope/mean", "Mean", "x"],
    )
    simulation = load(tmp_path / "out" / "net_int8_fakequant.pb")
    assert simulation.output_keys == ("scope/mean", "Mean", "x")
    assert simulation.outputs[:2] == ("scope/mean:0", "Mean:0")
