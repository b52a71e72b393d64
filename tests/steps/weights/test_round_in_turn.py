"""Weights rounded layer after layer: outputs come nearer, and what cannot gain keeps the codes that it has."""

import logging

import numpy as np
import pytest

import calibrant
from calibrant.emit.fakequant import put_weights
from calibrant.graph.running.run import run_once
from calibrant.graph.tf_core import dtypes
from calibrant.steps.weights import round_in_turn
from fold.sketch import Sketch

SAMPLES = 64
COARSE = (
    "common_config { arq_quantize { channel_wise : false } } "
    'override_layer_types { layer_type : "Conv2D" calibration_config '
    "{ arq_quantize { quant_bits : 6 channel_wise : false } } }"
)


def deep(depth=5, dtype=np.float32):
    """Convolutions, depthwise ones among them, one behind the other."""
    sketch = Sketch(seed=3, dtype=dtype)
    data = sketch.input(8, 8, 3)
    for place in range(depth):
        inputs = 3 if not place else 8
        data = sketch.conv(data, f"conv{place}", channels=(inputs, 8))
        data = sketch.node("Relu", f"relu{place}", sketch.bias_add(data, f"bias{place}", 8))
        data = sketch.conv(data, f"depthwise{place}", channels=(8, 1), op="DepthwiseConv2dNative")
    return sketch.graph(data)


def pictures(count, seed):
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 1, (count, 2, 2, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + random.normal(0, 0.3, coarse.shape)).astype(np.float32)


def error(result, data):
    """Mean squared error of the outputs that quantized weights and their biases cause."""
    graph, edit = result.network.graph, result.network.graph.edit()
    for layer in result.network.layers:
        put_weights(edit, layer, layer.weights.dequantize(), {})
        if layer.bias is not None:
            edit.set_input(layer.layer.bias, 1, edit.add_constant(f"{layer.layer.name}/corrected", layer.bias))
    pair = [run_once(each, {graph.input_keys[0]: data})[0] for each in (graph, edit.finish())]
    return float(np.square(np.subtract(*pair, dtype=np.float64)).mean())


def quantized(graph, seed=0, **options):
    data = pictures(SAMPLES, seed)
    return calibrant.quantize(
        graph, COARSE, data, **({"round_weights": True, "refine": True, "samples": "all"} | options)
    )


@pytest.mark.parametrize("correction", [True, False], ids=["corrected", "plain biases"])
def test_outputs_of_other_samples_come_nearer(correction, monkeypatch):
    graph, others = deep(), pictures(200, 9)
    in_turn = quantized(graph, bias_correction=correction)
    monkeypatch.setattr(round_in_turn, "FEWEST_SAMPLES", SAMPLES + 1)
    at_once = quantized(graph, bias_correction=correction)
    before, after = at_once.network.layers, in_turn.network.layers
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.weights.scale, other.weights.scale)
    np.testing.assert_array_equal(before[0].weights.values, after[0].weights.values)  # nothing is before it
    assert (before[-1].weights.values != after[-1].weights.values).any()
    assert error(in_turn, others) < 0.9 * error(at_once, others)


def test_the_same_again():
    graph = deep(3)
    first, second = (quantized(graph).fakequant.graph_def() for _ in range(2))
    assert first == second


def test_without_refining_data_are_read_once(monkeypatch):
    graph = deep(2)
    plain = quantized(graph, refine=False)
    monkeypatch.setattr("calibrant.steps.refining.decided.rounded_in_turn", None)
    assert quantized(graph, refine=False).fakequant.graph_def() == plain.fakequant.graph_def()


def test_whether_outputs_come_nearer_is_judged_with_the_16_bits_of_a_budget(monkeypatch):
    bits = []

    def noting(prepared, network, *others):
        bits.extend(entry.quantizer.bits for layer in network.layers for entry in layer.inputs)
        return round_in_turn.rounded_in_turn(prepared, network, *others)

    monkeypatch.setattr("calibrant.steps.refining.decided.rounded_in_turn", noting)
    result = quantized(deep(3), budget=1.0)
    assert 16 in bits
    assert bits == [entry.quantizer.bits for layer in result.network.layers for entry in layer.inputs]


def test_deep_networks_round_some_layers_at_once(monkeypatch):
    graph, others = deep(), pictures(200, 9)
    monkeypatch.setattr(round_in_turn, "MOST_PASSES", 3)
    some = []
    monkeypatch.setattr(round_in_turn, "_with_rounded", _noting(some, round_in_turn._with_rounded))
    in_turn = quantized(graph)
    assert [len(names) for names in some] == [4, 2]  # the first four read nothing quantized
    monkeypatch.setattr(round_in_turn, "FEWEST_SAMPLES", SAMPLES + 1)
    assert error(in_turn, others) < error(quantized(graph), others)


def _noting(some, function):
    def noted(prepared, names, done, pieces):
        some.append(names)
        return function(prepared, names, done, pieces)

    return noted


def test_shared_weights_keep_their_codes():
    sketch = Sketch()
    shared = sketch.constant("shared", sketch.values(3, 3, 4, 4))
    data = sketch.conv(sketch.input(6, 6, 4), "first", channels=(4, 4))
    for name in ("second", "third"):
        data = sketch.conv(sketch.node("Relu", f"{name}/relu", data), name, weights=shared)
    graph = sketch.graph(sketch.conv(data, "last", channels=(4, 4)))
    data = np.random.default_rng(0).normal(0, 1, (32, 6, 6, 4)).astype(np.float32)
    at_once, in_turn = (
        calibrant.quantize(graph, COARSE, data, round_weights=True, refine=chosen, samples="all").network.layers
        for chosen in (False, True)
    )
    for place in (1, 2):
        np.testing.assert_array_equal(at_once[place].weights.values, in_turn[place].weights.values)
    assert (at_once[3].weights.values != in_turn[3].weights.values).any()


def test_codes_that_make_it_worse_are_not_taken(monkeypatch):
    graph = deep(2)
    monkeypatch.setattr(round_in_turn, "FEWEST_SAMPLES", SAMPLES + 1)
    kept = quantized(graph)
    monkeypatch.undo()
    monkeypatch.setattr(round_in_turn.PatchPair, "wanted", lambda self, weights: 0.0 * weights)
    assert quantized(graph).fakequant.graph_def() == kept.fakequant.graph_def()


def transposed():
    sketch = Sketch(seed=1)
    x = sketch.input(6, 6, 4)
    data = sketch.conv(x, "first", channels=(4, 8))
    axis = sketch.constant("axis", 0, np.int32)
    types = dict.fromkeys(("Taxis", "Tindices", "Tparams"), dtypes.int32)
    count = sketch.node("GatherV2", "count", sketch.node("Shape", "shape", x), axis, axis, **types)
    sides = [sketch.constant(f"side{place}", size, np.int32) for place, size in enumerate((12, 12, 5))]
    sizes = sketch.node("Pack", "sizes", count, *sides, N=4, T=dtypes.int32)
    weights = sketch.constant("weights", sketch.values(3, 3, 5, 8))
    relu = sketch.node("Relu", "relu", data)
    return sketch.graph(
        sketch.node("Conv2DBackpropInput", "up", sizes, weights, relu, strides=[1, 2, 2, 1], padding="SAME")
    )


def grouped_and_dense():
    sketch = Sketch(seed=1)
    data = sketch.conv(sketch.input(6, 6, 4), "first", channels=(4, 8))
    data = sketch.node("Relu", "relu", sketch.conv(data, "groups", channels=(4, 8)))
    flat = sketch.node("Reshape", "flat", data, sketch.constant("shape", [-1, 288], np.int32))
    return sketch.graph(sketch.matmul(flat, "dense", channels=(288, 5)))


@pytest.mark.parametrize("build", [transposed, grouped_and_dense])
def test_other_kinds_of_layers(build):
    graph = build()
    data = np.random.default_rng(0).normal(0, 1, (400, 6, 6, 4)).astype(np.float32)
    at_once, in_turn = (
        calibrant.quantize(graph, COARSE, data[:200], round_weights=True, refine=chosen, samples="all")
        for chosen in (False, True)
    )
    codes = [result.network.layers[-1].weights.values for result in (at_once, in_turn)]
    assert (codes[0] != codes[1]).any()
    assert error(in_turn, data[200:]) < error(at_once, data[200:])


def test_the_log_says_what_it_did(caplog):
    with caplog.at_level(logging.DEBUG, logger="calibrant"):
        quantized(deep(2))
    assert "weights rounded in turn: error" in caplog.text
