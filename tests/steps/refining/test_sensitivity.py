"""The cost of each layer alone, against exchanging one layer at a time and running everything again."""

from dataclasses import replace

import numpy as np
import pytest
from tensorflow.python.framework import dtypes

import calibrant
from calibrant.config import load_config
from calibrant.emit.fakequant import fake_quantized
from calibrant.errors import DataError
from calibrant.graph.running.run import run_once
from calibrant.report.sensitivity_table import sensitivity_rows
from calibrant.steps.refining.sensitivity import _product
from fold.sketch import Sketch
from graphs import conv, graph_def, numbers, placeholder, tf

COARSE = "batch_num : 2  common_config { arq_quantize { channel_wise : false  quant_bits : 6 } }"


@pytest.fixture(scope="module")
def graph():
    """Two layers on one tensor, a residual add, a layer in front of a softmax."""
    sketch = Sketch()
    x = sketch.input(6, 6, 3)
    left = sketch.node("Relu", "relu", sketch.conv(x, "left"))
    both = sketch.node("AddV2", "sum", left, sketch.conv(x, "right"))
    flat = sketch.node("Reshape", "flat", both, sketch.constant("shape", (-1, 144), np.int32), Tshape=dtypes.int32)
    logits = sketch.bias_add(sketch.matmul(flat, "dense", (144, 4)), "logits")
    return sketch.graph(sketch.node("Softmax", "probabilities", logits))


@pytest.fixture(scope="module")
def batches():
    random = np.random.default_rng(0)
    return [random.normal(0, 1, (8, 6, 6, 3)).astype(np.float32) for _ in range(2)]


@pytest.fixture(scope="module")
def result(graph, batches):
    return calibrant.quantize(graph, COARSE, batches, sensitivity=True)


def decibels(reference, outputs):
    return 10 * np.log10(np.sum(np.square(reference)) / np.sum(np.square(outputs - reference)))


def logits(graph, batches):
    key = graph.input_keys[0]
    return np.concatenate([run_once(graph, {key: batch}, ["logits:0"])[0] for batch in batches]).astype(np.float64)


def test_equals_the_slow_way(result, graph, batches):
    network = result.network
    reference = logits(network.graph, batches)
    assert {entry.layer for entry in result.sensitivity} == {"left", "right", "dense"}
    for entry in result.sensitivity:
        alone = tuple(layer for layer in network.layers if layer.layer.name == entry.layer)
        others = tuple(layer for layer in network.layers if layer.layer.name != entry.layer)
        only = logits(fake_quantized(replace(network, layers=alone)), batches)
        assert entry.only_db == pytest.approx(decibels(reference, only), abs=1e-3)
        first = batches[:1]  # every second batch
        without = logits(fake_quantized(replace(network, layers=others)), first)
        assert entry.without_db == pytest.approx(decibels(logits(network.graph, first), without), abs=1e-3)


def test_the_most_harmful_layer_comes_first(result):
    costs = [entry.only_db for entry in result.sensitivity]
    assert costs == sorted(costs)


def test_the_report_holds_blocks_that_can_be_pasted(result, graph, batches):
    worst = result.report["sensitivity"][0]
    pasted = load_config(f"batch_num : 2\n{worst['override']}")
    assert pasted.override_layer_configs[0].layer_name == worst["layer"]
    again = calibrant.quantize(graph, f"{COARSE}\n{worst['override']}", batches)
    assert again.plan.layers == result.plan.layers
    left = calibrant.quantize(graph, f"{COARSE}\n{worst['skip']}", batches)
    assert worst["layer"] not in {layer.layer.name for layer in left.network.layers}
    assert worst["override_replaces"] is None
    [row] = [row for row in sensitivity_rows(result.sensitivity, again.plan) if row["layer"] == worst["layer"]]
    assert row["override_replaces"].startswith("override_layer_configs[0] (line ")


def test_without_asking_there_is_no_ranking(graph, batches):
    assert "sensitivity" not in calibrant.quantize(graph, COARSE, batches).report


def test_data_that_can_be_read_only_once(graph, batches):
    with pytest.raises(DataError, match="only once"):
        calibrant.quantize(graph, COARSE, iter(batches), sensitivity=True)


def test_the_shape_of_a_transposed_convolution_comes_from_the_network_s_input():
    def build():
        x = placeholder([None, 6, 6, 3])
        weights = tf.constant(numbers(3, 3, 2, 4))
        tf.nn.conv2d_transpose(tf.nn.relu(conv(x)), weights, [tf.shape(x)[0], 12, 12, 2], 2, name="larger")

    data = numbers(8, 6, 6, 3)
    result = calibrant.quantize(graph_def(build), "batch_num : 1", data, sensitivity=True)
    (larger,) = [entry for entry in result.sensitivity if entry.layer == "larger"]
    alone = tuple(layer for layer in result.network.layers if layer.layer.name == "larger")
    graphs = result.network.graph, fake_quantized(replace(result.network, layers=alone))
    reference, only = (run_once(graph, {"x": data}, ["larger:0"])[0].astype(float) for graph in graphs)
    assert larger.only_db == pytest.approx(decibels(reference, only), abs=1e-3)


def test_a_chain_takes_half_a_pass_a_layer(caplog):
    def chain():
        y = placeholder([None, 8])
        for _ in range(20):
            y = tf.nn.relu(tf.matmul(y, tf.constant(numbers(8, 8))))

    with caplog.at_level("INFO", "calibrant"):
        calibrant.quantize(graph_def(chain), data=numbers(8, 8), sensitivity=True)
    [line] = [message for message in caplog.messages if message.startswith("sensitivity: ")]
    assert line.startswith("sensitivity: 20 layers, ")
    assert 15 <= int(line.partition("about ")[2].split()[0]) <= 18


def test_products_of_many_numbers_are_those_of_all_at_once():
    first, second = numbers(20001).astype(np.float64), numbers(20001, seed=1).astype(np.float64)
    assert _product(first, second) == pytest.approx(float(np.sum(first * second)), rel=1e-12)
