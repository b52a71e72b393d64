"""``--tflite-ops``: what is beside the layers runs on integers, or stays in float."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.simulation.simulate import between_node
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, tf
from tflite_networks import contents, exported, image, steps_apart

OPERATIONS = {
    "TANH": tf.tanh,
    "LOGISTIC": tf.sigmoid,
    "SOFTMAX": tf.nn.softmax,
    "MEAN": lambda t: t - tf.reduce_mean(t, -1, keepdims=True),
    "MINIMUM": lambda t: tf.clip_by_value(t, -0.5, 0.7),
    "LEAKY_RELU": tf.nn.leaky_relu,
}


@pytest.mark.parametrize("ops", ["all", "layers"])
@pytest.mark.parametrize("reader", ["layer and float", "float"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_behind_a_layer_with_readers_in_float(name, reader, ops):
    def build():
        y = conv(image(), name="one")
        z = OPERATIONS[name](y)
        other = conv(z, name="two", seed=4) if reader == "layer and float" else y
        tf.identity(conv(tf.cos(z) + other, name="three", seed=6), name="out")

    result, x = exported(graph_def(build), tflite_ops=ops)
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 0.01) >= 0.999
    integer = {operator.is_integer for operator in file.operators() if operator.name == name}
    assert integer == {ops == "all"}


@pytest.mark.parametrize("io", ["float32", "int8"])
@pytest.mark.parametrize("ops", ["all", "layers"])
@pytest.mark.parametrize("gate", [tf.sigmoid, tf.nn.softmax, tf.tanh], ids=["sigmoid", "softmax", "tanh"])
def test_a_product_with_an_operation_whose_range_litert_knows(gate, ops, io):
    """As in a squeeze-and-excitation block."""

    def build():
        y = conv(image(), name="one")
        tf.identity(conv(y * gate(y * 1.5), name="two", seed=6), name="out")

    result, x = exported(graph_def(build), tflite_io=io, tflite_ops=ops)
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 0.01) >= 0.999
    assert {operator.is_integer for operator in file.operators() if operator.name == "MUL"} == {ops == "all"}


def test_the_report_says_what_is_in_float_and_why():
    def build():
        tf.identity(conv(tf.cos(conv(image(), name="one")), name="two", seed=4), name="out")

    result, _ = exported(graph_def(build))
    [found] = result.export_notes["tflite"]["operators_in_float"]
    assert found == {"operator": "COS", "tensor": "Cos", "reason": "LiteRT has no integer kernel for COS"}


def test_scores_beside_boxes_stay_alive():
    """Concatenated with numbers up to 600 they would all be 0 with one scale."""

    def build():
        y = conv(image(), name="one")
        boxes, scores = conv(y, 4, name="boxes", seed=4) * 300.0, tf.sigmoid(conv(y, 3, name="scores", seed=5))
        tf.identity(tf.concat([boxes, scores], 3), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    [joined] = [operator for operator in file.operators() if operator.name == "CONCATENATION"]
    assert joined.outputs[0].dtype == np.float32
    [found] = result.export_notes["tflite"]["operators_in_float"]
    assert found["reason"] == "its parts have ranges too different for one scale"


def test_parts_of_a_split_read_with_scales_of_their_own_stay_on_integers():
    def build():
        left, right = tf.split(conv(image(), name="one"), 2, axis=3)
        tf.identity(conv(left * 9.0, name="two", seed=4) + conv(right, name="three", seed=6) + conv(left, seed=8))

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    [split] = [operator for operator in file.operators() if operator.name == "SPLIT"]
    assert {tensor.scale[0] for tensor in split.outputs} == {split.inputs[1].scale[0]}
    assert np.mean(apart <= 1.01) >= 0.999


def test_a_negation_runs_on_integers():
    def build():
        y = conv(image(), name="one")
        tf.identity(conv(-y, name="two", seed=4) + tf.sigmoid(-y), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert not result.export_notes["tflite"]["operators_in_float"]
    assert np.mean(apart <= 1.01) >= 0.999


def test_rows_of_a_constant_table_are_codes():
    """An embedding: the table is held as int8 with the scale of what is made of its rows."""

    def build():
        words = tf.compat.v1.placeholder(tf.int32, [None, 6], name="words")
        rows = tf.gather(tf.constant(numbers(20, 8, seed=3)), words) + numbers(6, 8, seed=4)
        tf.identity(dense(tf.reshape(rows, [-1, 48])), name="out")

    random = np.random.default_rng(0)
    batches = [{"words": random.integers(0, 20, (8, 6)).astype(np.int32)} for _ in range(4)]
    result = calibrant.quantize(graph_def(build), "batch_num: 4", batches, export="tflite", tflite_ops="all")
    content, simulation = contents(result)
    runner = TfliteRunner(content)
    [found] = [operator for operator in runner.file.operators() if operator.name == "GATHER"]
    runner.run({0: batches[0]["words"]})
    [simulated] = run_once(simulation, batches[0], [f"{between_node(found.outputs[0])}:0"])
    assert [found.read(0).dtype, found.outputs[0].dtype] == [np.int8, np.int8]
    assert np.array_equal(simulated, runner.real(found.outputs[0]))
    tables = [simulation.constant(name) for name in simulation.nodes if simulation.nodes[name].op == "Const"]
    assert [table.dtype for table in tables if table.shape == (20, 8)] == [np.int8]


def test_a_mean_of_centred_numbers_is_no_wrong_operator():
    """Nothing but rounding is left of it, which other orders of adding do not agree about."""

    def build():
        y = conv(image(), 16, name="one")
        z = y - tf.reduce_mean(y, -1, keepdims=True)
        z = z / (1 + tf.abs(tf.reduce_mean(z, -1, keepdims=True)))
        tf.identity(conv(z, name="two", seed=4), name="out")

    result, x = exported(graph_def(build), tflite_ops="layers")
    apart, file = steps_apart(result, x)
    assert [operator.outputs[0].dtype for operator in file.operators() if operator.name == "MEAN"] == [np.float32] * 2
    assert np.mean(apart <= 1.01) >= 0.999


def test_an_exact_gelu_is_one_operator_beside_other_negations():
    def build():
        y = conv(image(), name="one")
        gelu = 0.5 * y * tf.math.erfc(-y / np.float32(np.sqrt(2)))
        tf.identity(conv(gelu - tf.sigmoid(-y), name="two", seed=4), name="out")

    result, _ = exported(graph_def(build))
    names = [operator.name for operator in File(contents(result)[0]).operators()]
    assert "GELU" in names
    assert "NEG" not in names


@pytest.mark.parametrize("reduce", [tf.reduce_max, tf.reduce_min])
def test_what_is_chosen_between_layers_is_so_among_codes(reduce):
    """A range of its own in front of it would clip those numbers that are chosen."""

    def build():
        tf.identity(dense(reduce(conv(image(), name="one"), [1, 2]), name="two"), name="out")

    result, x = exported(graph_def(build), tflite_ops="layers")
    _, file = steps_apart(result, x)
    assert [each.is_integer for each in file.operators() if each.name.startswith("REDUCE")] == [True]
