"""Layers whose activations have 16 bits, in both files: two layers of 8 bits and a sum."""

import numpy as np
import pytest

import calibrant
from calibrant.conversion import convert_records
from calibrant.emit.ascend.model import ascend_model
from calibrant.emit.fakequant import fake_quantized
from calibrant.emit.two_terms import lower, upper
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import run_once
from calibrant.result import result_files
from graphs import conv, dense, graph_def, numbers, placeholder, tf

WIDE = "common_config { ifmr_quantize { dst_type : INT16 } }"


def override(name):
    return (
        f'override_layer_configs {{ layer_name : "{name}" '
        "calibration_config { ifmr_quantize { dst_type : INT16 } } }"
    )


def chain():
    y = conv(placeholder([None, 6, 6, 2]), name="first")
    y = tf.nn.relu(tf.nn.bias_add(y, tf.constant(numbers(4)), name="bias"))
    y = tf.nn.depthwise_conv2d(y, tf.constant(numbers(3, 3, 4, 2)), [1, 1, 1, 1], "SAME", name="depthwise")
    dense(tf.reshape(y, [-1, 288]), name="last")


def branches():
    """Two layers that read one tensor, and one of which is an output without a bias."""
    x = placeholder([None, 6, 6, 2])
    weights = tf.constant(numbers(3, 3, 2, 4), name="weights")
    left, right = (tf.nn.conv2d(x, weights, 1, "SAME", name=name) for name in ("left", "right"))
    tf.add(tf.nn.relu(left), right, name="out")


DATA = numbers(16, 6, 6, 2, seed=3)


def quantized(build, config, outputs=None):
    return calibrant.quantize(graph_def(build), config=config, data=DATA, outputs=outputs)


def two_terms(values, quantizer):
    """What both INT8 codes stand for."""
    above = upper(quantizer).fake_quantize(values)
    return above, lower(quantizer).fake_quantize(values - above)


def test_both_codes_together_are_one_of_16_bits():
    result = quantized(chain, WIDE)
    quantizer = result.network.layers[0].inputs[0].quantizer
    above, below = two_terms(DATA, quantizer)
    assert quantizer.bits == 16
    errors = np.abs(above + below - DATA)
    assert errors.max() <= 1.0001 * quantizer.scale  # where the lower code would be 128
    assert np.mean(errors <= 0.5001 * quantizer.scale) > 0.98
    assert np.abs(quantizer.fake_quantize(DATA) - (above + below)).max() <= 1.001 * quantizer.scale


def test_a_layer_is_the_sum_of_two_on_the_same_weights():
    result = quantized(chain, WIDE)
    graph = result.fakequant
    quantizer = result.network.layers[0].inputs[0].quantizer
    weights = result.network.layers[0].weights.dequantize().astype(np.float64)
    bias = result.network.layers[0].integer_bias() * result.network.layers[0].bias_scale()
    expected = tf.nn.conv2d(sum(map(np.float64, two_terms(DATA, quantizer))), weights, 1, "SAME").numpy() + bias
    (found,) = run_once(graph, {"x": DATA}, ["bias:0"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    first, second = (graph.nodes[name] for name in ("first", "first/lower_term"))
    assert nd.data_inputs(first)[1] == nd.data_inputs(second)[1]
    assert graph.outputs == result.original.outputs


def test_the_outputs_are_nearer_to_the_float_model():
    results = [quantized(chain, config) for config in (None, WIDE)]
    (reference,) = run_once(results[0].original, {"x": DATA})
    errors = [np.square(run_once(each.fakequant, {"x": DATA})[0] - reference).mean() for each in results]
    assert errors[1] < errors[0] / 2


def test_the_bias_behind_an_activation_of_zeros_is_as_fine_as_with_8_bits():
    def dead():
        y = tf.nn.relu(dense(tf.reshape(placeholder([None, 6, 6, 2]), [-1, 72]), 4, "first") - 1e6)
        dense(y, 4, "last")

    results = [quantized(dead, config) for config in (None, WIDE)]
    (reference,) = run_once(results[0].original, {"x": DATA})
    errors = [np.abs(run_once(each.fakequant, {"x": DATA})[0] - reference).max() for each in results]
    assert errors[1] <= errors[0] < 0.1 * np.abs(reference).max()


def test_readers_of_one_tensor_share_the_rest_and_the_constant():
    result = quantized(branches, WIDE)
    operations = [node.op for node in result.fakequant.nodes.values()]
    assert operations.count("Sub") == 3  # two quantizers, and what the upper code leaves
    assert operations.count("Conv2D") == 4
    deployed = ascend_model(result.network).graph
    kinds = [node.op for node in deployed.nodes.values()]
    assert (kinds.count("AscendQuant"), kinds.count("AscendWeightQuant"), kinds.count("AscendDequant")) == (2, 1, 4)


def test_an_output_without_a_bias_keeps_its_name():
    result = quantized(branches, override("right"), outputs=["right"])
    assert result.fakequant.outputs == ("right:0",) and result.fakequant.nodes["right"].op == "AddV2"
    deployed = ascend_model(result.network)
    assert deployed.graph.outputs == ("right:0",) and deployed.dequantized["right"] == "right"


@pytest.mark.parametrize("build", [chain, branches], ids=["chain", "branches"])
def test_the_record_file_gives_the_same_model(build, tmp_path):
    result = quantized(build, WIDE)
    files = result_files(result)
    (tmp_path / "record.txt").write_bytes(files["record.txt"])
    assert b'dst_type: "INT16"' in files["record.txt"]
    converted = convert_records(graph_def(build), tmp_path / "record.txt")
    once, again = (run_once(each, {"x": DATA})[0] for each in (result.fakequant, fake_quantized(converted.network)))
    assert np.abs(once - again).max() <= 1e-2 * np.abs(once).max()  # biases are corrected in one of them
    bits = [entry.quantizer for entry in converted.network.every_input()]
    assert bits == [entry.quantizer for entry in result.network.every_input()]


def test_config_json_gives_the_same_plan(tmp_path):
    result = quantized(chain, override("depthwise"))
    (tmp_path / "config.json").write_bytes(result_files(result)["config.json"])
    again = quantized(chain, tmp_path / "config.json")
    assert [entry.activation for entry in again.plan.layers] == [entry.activation for entry in result.plan.layers]
    assert [entry.activation.bits for entry in again.plan.layers] == [8, 16, 8]


def test_an_offset_has_no_effect_on_16_bits():
    result = quantized(chain, "common_config { ifmr_quantize { dst_type : INT16 asymmetric : true } }")
    assert any("codes of 16 bits have no offset" in warning for warning in result.plan.warnings)
    assert all(entry.quantizer.offset == 0 for entry in result.network.every_input())
