"""Weights rounded for the output: every kind of layer gives less error, and the rest of the network agrees with it."""

import json

import numpy as np
import pytest

import calibrant
from calibrant.emit.fakequant import put_weights
from calibrant.errors import DataError
from calibrant.graph.running.run import run_once
from calibrant.steps.weights.round_weights import KernelBlocks
from command_line import run
from fold.sketch import Sketch
from steps.weights.test_bias_correction import COARSE, LAYERS, mean_output, one_layer, with_float_activations


def correlated(graph, count=3, size=2):
    """Batches whose neighbours and channels are alike, as those of pictures are."""
    shape = [length or size for length in graph.shape(graph.inputs[0])]
    random = np.random.default_rng(4)
    coarse = [random.normal(1, 1, [shape[0], *(1 for _ in shape[1:])]) for _ in range(count)]
    return [(level + random.normal(0, 0.3, shape)).astype(np.float32) for level in coarse]


def grouped():
    sketch = Sketch()
    return sketch.graph(sketch.conv(sketch.input(9, 8, 6), channels=(3, 4)))


def error(result, batches):
    """Mean squared error of the outputs that quantized weights cause."""
    graph, key = result.network.graph, result.network.graph.input_keys[0]
    changed = with_float_activations(result) if result.network.layers[0].bias is not None else with_weights(result)
    pairs = [[run_once(each, {key: batch})[0] for each in (graph, changed)] for batch in batches]
    return float(np.mean([np.square(np.subtract(*pair, dtype=np.float64)).mean() for pair in pairs]))


def with_weights(result):
    edit = result.network.graph.edit()
    for layer in result.network.layers:
        put_weights(edit, layer, layer.weights.dequantize(), {})
    return edit.finish()


GRAPHS = {name: (lambda options=options: one_layer(options)) for name, options in LAYERS.items()} | {"groups": grouped}


@pytest.mark.parametrize("build", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("correction", [True, False], ids=["corrected", "plain biases"])
def test_outputs_change_less(build, correction):
    graph = build()
    batches = correlated(graph)
    plain, rounded = (
        calibrant.quantize(graph, COARSE, batches, round_weights=chosen, bias_correction=correction)
        for chosen in (False, True)
    )
    before, after = (result.network.layers[0] for result in (plain, rounded))
    np.testing.assert_array_equal(before.weights.scale, after.weights.scale)
    half = 1 << (after.weights.bits - 1)
    assert after.weights.values.max() < half and after.weights.values.min() >= -half
    assert (before.weights.values != after.weights.values).any()
    assert error(rounded, batches) < 0.95 * error(plain, batches)


def test_biases_are_corrected_for_the_new_codes():
    graph = one_layer({})
    batches = correlated(graph)
    result = calibrant.quantize(graph, COARSE, batches, round_weights=True)
    expected = mean_output(graph, batches)
    np.testing.assert_allclose(mean_output(with_float_activations(result), batches), expected, atol=1e-4)


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-6])
def test_inputs_that_hardly_vary(spread):
    graph = one_layer({"padding": "VALID"})
    batches = [10 + spread * batch for batch in correlated(graph)]
    results = [calibrant.quantize(graph, COARSE, batches, round_weights=chosen) for chosen in (False, True)]
    plain, rounded = (error(result, batches) for result in results)
    assert rounded <= 1.05 * plain + 1e-9


def test_layers_that_share_weights_still_share_them():
    sketch = Sketch()
    x = sketch.input(5, 5, 3)
    shared = sketch.constant("shared", sketch.values(3, 3, 3, 4))
    first = sketch.conv(x, "first", weights=shared)
    second = sketch.conv(sketch.node("Relu", "relu", x), "second", weights=shared)
    graph = sketch.graph(sketch.node("AddV2", "sum", first, second))
    layers = calibrant.quantize(graph, COARSE, correlated(graph), round_weights=True).network.layers
    assert len(layers) == 2
    np.testing.assert_array_equal(layers[0].weights.values, layers[1].weights.values)


def test_non_uniform_weights_keep_to_their_levels():
    graph = one_layer({})
    config = "batch_num : 3  common_config { nuq_quantize { num_steps : 16 } }"
    plain, rounded = (
        calibrant.quantize(graph, config, correlated(graph), round_weights=chosen).network.layers[0].weights
        for chosen in (False, True)
    )
    assert set(rounded.values.flat) <= set(plain.levels)
    assert (rounded.values != plain.values).any()


def test_the_same_when_observed_in_parts(tmp_path):
    graph = one_layer({})
    batches = correlated(graph)
    chosen = {"round_weights": True, "threads": 1}
    whole = calibrant.quantize(graph, COARSE, batches, **chosen)
    for name, part in (("a", (0, 1)), ("b", (1, 3))):
        calibrant.observe(graph, COARSE, batches, tmp_path / name, part, **chosen)
    parts = [tmp_path / "b", tmp_path / "a"]
    assert calibrant.merge(parts, graph, COARSE, **chosen).fakequant.graph_def() == whole.fakequant.graph_def()
    with pytest.raises(DataError, match="ask for other statistics.*\n.*--round-weights"):
        calibrant.merge(parts, graph, COARSE, threads=1)


def test_the_report_says_that_it_was_used(tmp_path):
    graph = one_layer({})
    (tmp_path / "model.pb").write_bytes(graph.graph_def().SerializeToString())
    np.save(tmp_path / "x.npy", np.concatenate(correlated(graph)))
    options = ["--data", tmp_path / "x.npy", "--out", tmp_path / "out", "--round-weights"]
    assert run("quantize", tmp_path / "model.pb", *options).code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["run"]["options"]["round_weights"] is True


@pytest.mark.parametrize(
    ("shape", "count", "group", "transposed"),
    [((3, 3, 4, 6), 1, 4, False), ((3, 3, 4, 6), 1, 4, True), ((3, 2, 5, 2), 5, 1, False), ((1, 1, 2, 6), 3, 2, False)],
    ids=["convolution", "transposed", "depthwise", "groups"],
)
def test_blocks_hold_every_weight_once(shape, count, group, transposed):
    values = np.arange(np.prod(shape)).reshape(shape)
    if transposed:
        shape = (*shape[:2], shape[3], shape[2])
        values = np.swapaxes(values, -1, -2)
    kernel = KernelBlocks(shape, count, group, transposed)
    blocks = kernel.divided(values)
    assert blocks.shape[0] == count and np.array_equal(np.sort(blocks, axis=None), np.sort(values, axis=None))
    np.testing.assert_array_equal(kernel.joined(blocks), values)
