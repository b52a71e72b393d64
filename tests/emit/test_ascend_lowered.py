"""The deployable file, turned back into stock operations, against the fake-quantized model."""

import numpy as np
import pytest
from ascend_networks import (
    KINDS,
    TENSORS,
    chain,
    conv,
    convolution,
    file_of,
    half_precision,
    image,
    quantized,
    residual,
    samples,
    tf,
)

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import graph_def

CONFIGS = {
    "asymmetric": "",
    "symmetric": "activation_offset : false",
    "per tensor": "common_config { arq_quantize { channel_wise : false } }",
    "6 bits": "common_config { arq_quantize { quant_bits : 6 } }",
    "non-uniform": "common_config { nuq_quantize { num_steps : 16 } }",
    "histogram": "common_config { hfmg_quantize { num_of_bins : 1024 } }",
    "balanced": "common_config { dmq_balancer { } }",
    "16 bits": "common_config { ifmr_quantize { dst_type : INT16 } }",
    "16 bits, balanced": "common_config { hfmg_quantize { dst_type : INT16 } dmq_balancer { } }",
}


def both(result):
    """The outputs of the fake-quantized and of the lowered model."""
    lowered = load(file_of(result), outputs=["out"])
    batch = samples(result.original)
    return run_once(result.fakequant, batch), run_once(lowered, batch)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("build", KINDS.values(), ids=KINDS)
def test_gives_the_very_numbers_of_the_fake_quantized_model(build, config):
    if build.__name__ == "dynamic_product" and "dmq" in config:
        pytest.skip("a product of two activations has no weights to balance")
    expected, found = both(quantized(build, config))
    for one, other in zip(expected, found, strict=True):
        assert np.ptp(one) > 0
        np.testing.assert_array_equal(one, other)


def test_tensor_quantizers():
    for one, other in zip(*both(quantized(residual, TENSORS)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_joint_quantization():
    for one, other in zip(*both(quantized(residual, "joint_quant : true")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_in_float():
    result = quantized(chain, 'skip_layers : "depthwise" skip_layer_types : "AvgPool"')
    assert {layer.layer.name for layer in result.network.layers} == {"conv/Conv2D", "conv2/Conv2D", "dense/MatMul"}
    for one, other in zip(*both(result), strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_precision():
    result = quantized(half_precision)
    assert {node.attr["T"].type for node in file_of(result).node if node.op.startswith("Ascend")} == {19}
    for one, other in zip(*both(result), strict=True):
        assert one.dtype == np.float16
        np.testing.assert_array_equal(one, other)


def test_scales_forced_to_float16_are_those_of_the_simulation_only():
    forced = quantized(convolution, "fakequant_precision_mode : FORCE_FP16_QUANT")
    plain = quantized(convolution)
    assert file_of(forced) == file_of(plain)
    np.testing.assert_array_equal(both(forced)[1][0], both(plain)[0][0])
    assert np.any(both(forced)[0][0] != both(forced)[1][0])


def test_a_layer_that_is_the_output_keeps_its_name():
    definition = graph_def(lambda: conv(image(), name="last"))
    batch = samples(load(definition), seed=31)
    for bias_correction in (True, False):
        result = calibrant.quantize(definition, data=[batch], bias_correction=bias_correction)
        lowered = load(file_of(result))
        assert lowered.outputs == result.original.outputs == ("last/Conv2D:0",)
        np.testing.assert_array_equal(run_once(result.fakequant, batch)[0], run_once(lowered, batch)[0])


def test_the_same_bytes_every_time():
    result = quantized(chain)
    first, second = (file_of(result).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("build", [chain, residual], ids=["chain", "residual"])
def test_the_same_in_a_plain_session_of_tensorflow(build):
    """TensorFlow's optimizer is at work there; it must treat both models alike."""
    result = quantized(build)
    lowered = load(file_of(result), outputs=["out"])
    batch = samples(result.original)
    found = []
    for graph in (result.fakequant, lowered):
        with tf.Graph().as_default() as imported:
            tf.graph_util.import_graph_def(graph.graph_def(), name="")
            with tf.compat.v1.Session(graph=imported) as session:
                found.append(session.run("out:0", {f"{key}:0": value for key, value in batch.items()}))
    np.testing.assert_array_equal(*found)
