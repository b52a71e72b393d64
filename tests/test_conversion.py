"""Models from record files and from FakeQuant nodes, without any data."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.framework.graph_pb2 import GraphDef

import calibrant
from calibrant.conversion import ConvertedModels, convert_records, convert_trained
from calibrant.errors import ConfigError, ModelError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.records.record_file import read_records, write_records
from graphs import conv, graph_def, numbers, placeholder, small_network, tf
from trained_networks import frozen, two_convolutions

DATA = numbers(32, 6, 6, 2)
BOTH_ENDS = "scale_d: 1e20 scale_w: [1, 1e20, 1e10, 1]"


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    out = tmp_path_factory.mktemp("quantized")
    model = graph_def(small_network)
    calibrant.quantize(model, None, DATA, out, export="ascend", bias_correction=False, name="net")
    return model, out


@pytest.mark.parametrize(
    "settings", ["batch_num : 1", "common_config { dmq_balancer { } }", "joint_quant : true", "do_fusion : false"]
)
def test_a_record_gives_the_models_of_the_run_that_wrote_it(settings, tmp_path):
    model = graph_def(small_network)
    calibrant.quantize(model, f"{settings}\n", DATA, tmp_path, export="ascend", bias_correction=False, name="net")
    files = ConvertedModels(convert_records(model, tmp_path / "record.txt"), "net").files()
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_a_layer_of_one_channel_has_the_same_bytes_too(tmp_path):
    model = graph_def(lambda: tf.identity(conv(placeholder([None, 6, 6, 2]), 1), name="out"))
    calibrant.quantize(model, None, DATA, tmp_path, export="ascend", bias_correction=False, name="net")
    files = ConvertedModels(convert_records(model, tmp_path / "record.txt"), "net").files()
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def normed_network():
    """A convolution with a norm behind it."""
    x = placeholder([None, 6, 6, 2])
    ones, zeros = np.full(4, 2, np.float32), np.zeros(4, np.float32)
    tf.compat.v1.nn.fused_batch_norm(conv(x), ones, zeros, zeros, ones, is_training=False, name="norm")


@pytest.mark.parametrize("settings", ["do_fusion : false", "skip_fusion_layers : 'conv'", "do_fusion : true"])
def test_a_record_says_which_layers_were_not_folded(settings, tmp_path):
    model = graph_def(normed_network)
    calibrant.quantize(
        model, f"{settings}\n", DATA, tmp_path, outputs=["norm"], export="ascend", bias_correction=False, name="net"
    )
    assert read_records(tmp_path / "record.txt")["conv"].skip_fusion == (settings != "do_fusion : true")
    files = ConvertedModels(convert_records(model, tmp_path / "record.txt", outputs=["norm"]), "net").files()
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_layers_without_a_record_stay_in_float(quantized, tmp_path):
    model, out = quantized
    records = read_records(out / "record.txt")
    del records["pool"]
    (tmp_path / "record.txt").write_text(write_records(records))
    converted = convert_records(model, tmp_path / "record.txt")
    assert converted.in_float == ("pool",)
    assert [layer.layer.name for layer in converted.network.layers] == ["conv", "dense"]


@pytest.mark.parametrize(
    "record, message",
    [
        ('key: "konv" value { scale_d: 1 }', "there is no layer 'konv' in the model"),
        ('key: "relu" value { scale_d: 1 }', "is a Relu that cannot be quantized"),
        ('key: "conv" value { scale_d: 1 }', r"0 scale_w for weights of shape \[3, 3, 2, 4\]"),
        ('key: "conv" value { scale_w: 1 }', "has no scale_d"),
        ('key: "conv" value { scale_d: 1 scale_w: 1 scale_w: 2 }', "1, or one for each of the 4 output channels"),
        ('key: "dense" value { scale_d: 1 scale_w: 1 scale_w: 2 scale_w: 3 }', "3 scale_w for weights"),
        ('key: "dense" value { scale_d: 1 scale_w: 1 wts_type: "INT6" }', "6 bits are for Conv2D only, .* a MatMul"),
        ('key: "pool" value { scale_d: 1 scale_w: 1 }', "1 scale_w for a layer without weights"),
        ('key: "pool:1" value { scale_d: 1 }', "there is no layer 'pool:1'"),
        (
            'key: "conv" value { scale_d: 1 scale_w: 1 tensor_balance_factor: 2 }',
            "1 balance factors, but .* 2 channels",
        ),
    ],
)
def test_a_record_that_does_not_fit_the_model(record, message, quantized, tmp_path):
    (tmp_path / "record.txt").write_text(f"record {{ {record} }}")
    with pytest.raises(ConfigError, match=message):
        convert_records(quantized[0], tmp_path / "record.txt")


def test_few_bits_of_a_convolution_are_used(quantized, tmp_path):
    text = 'record { key: "conv" value { scale_d: 1 scale_w: 0.1 wts_type: "INT6" cluster: [31, -32, 0] } }'
    (tmp_path / "record.txt").write_text(text)
    (layer,) = convert_records(quantized[0], tmp_path / "record.txt").network.layers
    assert (layer.weights.bits, layer.weights.levels) == (6, (-32, 0, 31))


@pytest.mark.parametrize(
    "scales, product",
    [("scale_d: 1e30 scale_w: 1e30", "1e\\+60"), ("scale_d: 1e-30 scale_w: 1e-30", "1e-60"), (BOTH_ENDS, "1e\\+40")],
)
def test_products_that_the_deployable_file_cannot_hold_name_the_record_file(scales, product, quantized, tmp_path):
    (tmp_path / "record.txt").write_text(f'record {{ key: "conv" value {{ {scales} }} }}')
    with pytest.raises(ModelError, match=f"conv: scale_d \\* scale_w is {product}, which float32") as caught:
        convert_records(quantized[0], tmp_path / "record.txt")
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "record.txt") and problem.allowed == "1.18e-38 to 3.4e+38"


def test_the_largest_product_of_16_bits_has_256_steps(quantized, tmp_path):
    (tmp_path / "record.txt").write_text(
        'record { key: "conv" value { scale_d: 1e37 scale_w: 1 dst_type: "INT16" } }\n'
    )
    with pytest.raises(ModelError, match="scale_w is inf, which float32 does not hold"):
        convert_records(quantized[0], tmp_path / "record.txt")


def test_scales_far_too_small_for_the_weights_are_told(quantized, tmp_path):
    text = 'record { key: "conv" value { scale_d: 1 scale_w: 1e-12 } }\n'
    text += 'record { key: "dense" value { scale_d: 1 scale_w: 1e-12 cluster: [-128, 127] } }'
    (tmp_path / "record.txt").write_text(text)
    (warning,) = convert_records(quantized[0], tmp_path / "record.txt").warnings
    assert warning.startswith(
        "scale_w is too small for the weights of 2 layers, so many are clipped ('conv' 100%, 'dens"
    )


@pytest.mark.parametrize(
    "settings",
    [
        "batch_num : 1",
        "common_config { arq_quantize { channel_wise : false quant_bits : 6 } ifmr_quantize { search_range_end : 3 } }",
        "common_config { nuq_quantize { num_steps : 16 num_of_iteration : 5 } }",
        "fakequant_precision_mode : FORCE_FP16_QUANT",
    ],
)
@pytest.mark.parametrize("options", [{}, {"round_weights": True, "bias_correction": True, "export": "tflite"}])
def test_scales_of_a_calibration_fit_their_weights(settings, options, tmp_path):
    model = graph_def(small_network)
    calibrant.quantize(model, f"{settings}\n", DATA, tmp_path, **options)
    assert convert_records(model, tmp_path / "record.txt").warnings == ()


def test_the_factors_are_used_as_they_stand(quantized, tmp_path):
    text = 'record { key: "conv" value { scale_d: 0.0123 offset_d: -7 scale_w: 0.017 } }'
    (tmp_path / "record.txt").write_text(text)
    (layer,) = convert_records(quantized[0], tmp_path / "record.txt").network.layers
    assert (layer.inputs[0].quantizer.scale, layer.inputs[0].quantizer.offset) == (np.float32(0.0123), -7)
    assert layer.weights.scale.tolist() == [np.float32(0.017)]
    expected = np.clip(np.rint(layer.float_weights * (np.float32(1) / np.float32(0.017))), -128, 127)
    np.testing.assert_array_equal(layer.weights.values, expected)


def test_shift_bit_is_told_to_be_left_out(quantized, tmp_path):
    text = 'record { key: "conv" value { scale_d: 1 scale_w: 1 shift_bit: 3 } }'
    (tmp_path / "record.txt").write_text(text)
    (warning,) = convert_records(quantized[0], tmp_path / "record.txt").warnings
    assert "shift_bit of 1 layers is left out" in warning


SHAPE = (12, 12, 3)
IMAGES = numbers(8, *SHAPE, scale=2.0)


@pytest.mark.parametrize("norm", [False, True])
def test_a_trained_network_keeps_its_numbers(norm):
    definition = frozen(lambda x: two_convolutions(x, norm=norm), *SHAPE)
    converted, text = convert_trained(definition, outputs=["output"])
    models = ConvertedModels(converted, "net")
    (expected,) = run_once(load(definition), {"input": IMAGES})
    (found,) = run_once(models.fakequant, {"input": IMAGES})
    step = np.abs(converted.network.layers[-1].bias_scale()).max() * 128  # a code more or less of one input
    assert np.abs(found - expected).max() < step < np.abs(expected).max() / 50
    deployed = load(GraphDef.FromString(models.files()["net_quantized.pb"]), outputs=["output"])
    np.testing.assert_allclose(run_once(deployed, {"input": IMAGES})[0], found, atol=1e-5)
    assert not any(node.op.startswith("FakeQuant") for node in models.fakequant.nodes.values())
    assert converted.warnings == ()
    assert text.count("scale_d") == 2


@pytest.mark.parametrize("norm", [False, True])
def test_trained_integers_are_kept(norm):
    converted, _ = convert_trained(frozen(lambda x: two_convolutions(x, norm=norm), *SHAPE), outputs=["output"])
    weights = converted.network.layers[0].weights
    plain, _ = convert_trained(frozen(two_convolutions, *SHAPE), outputs=["output"])
    assert np.abs(weights.values).max() == 127  # a narrow range
    np.testing.assert_array_equal(np.abs(weights.values), np.abs(plain.network.layers[0].weights.values))


def test_weights_that_are_no_multiples_are_rounded_anew_and_told():
    def build(x):
        fake = tf.quantization.fake_quant_with_min_max_vars
        weights = fake(tf.constant(numbers(3, 3, 3, 4)), -0.3, 2.0)
        return tf.nn.conv2d(fake(x, -4.0, 4.0), weights, 1, "SAME", name="conv")

    converted, _ = convert_trained(frozen(build, *SHAPE), outputs=["output"])
    assert "1 layers have trained weights that are no int8 multiples" in converted.warnings[0]


def test_layers_without_fake_quant_stay_in_float_and_are_named():
    def build(x):
        weights = tf.constant(numbers(3, 3, 4, 4))
        return tf.nn.conv2d(two_convolutions(x), weights, 1, "SAME", name="plain")

    converted, _ = convert_trained(frozen(build, *SHAPE), outputs=["output"])
    assert "1 layers lack" in converted.warnings[0] or "plain" in converted.warnings[0]
    assert len(converted.network.layers) == 2


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda x: two_convolutions(x, bits=4), "FakeQuantWithMinMaxVars of 4 bits"),
        (lambda x: tf.nn.conv2d(x, numbers(3, 3, 3, 4), 1, "SAME"), "has no FakeQuant node"),
        (lambda x: tf.quantization.fake_quant_with_min_max_args(x), "no layer has FakeQuant nodes"),
        (
            lambda x: tf.quantization.fake_quant_with_min_max_vars(x, tf.reduce_min(x), tf.reduce_max(x)),
            "the range of this FakeQuantWithMinMaxVars is not a constant",
        ),
    ],
)
def test_networks_that_cannot_be_converted(build, message):
    with pytest.raises(ModelError, match=message):
        convert_trained(frozen(build, *SHAPE), outputs=["output"])


def test_nodes_of_another_width_are_one_problem():
    with pytest.raises(ModelError) as raised:
        convert_trained(frozen(lambda x: two_convolutions(x, bits=4), *SHAPE), outputs=["output"])
    (problem,) = raised.value.problems
    assert problem.message == (
        "FakeQuantWithMinMaxVars of 4 bits: q_in, q_relu, q_w2; FakeQuantWithMinMaxVarsPerChannel of 4 bits: q_w1"
    )
    assert "num_bits=8" in problem.hint


def test_weights_trained_twice_keep_the_integers_of_the_second():
    def build(x):
        fake = tf.quantization.fake_quant_with_min_max_vars
        weights = fake(fake(tf.constant(numbers(3, 3, 3, 4)), -2.0, 2.0), -0.5, 0.5, narrow_range=True)
        return tf.nn.conv2d(fake(x, -4.0, 4.0), weights, 1, "SAME", name="conv")

    converted, _ = convert_trained(frozen(build, *SHAPE), outputs=["output"])
    (layer,) = converted.network.layers
    np.testing.assert_allclose(layer.weights.scale, [0.5 / 127], rtol=1e-6)


def test_a_weight_of_128_steps_is_clipped_and_the_others_keep_their_integers():
    def build(x):
        fake = tf.quantization.fake_quant_with_min_max_vars
        values = numbers(3, 3, 3, 4)
        values[0, 0, 0] = 9
        weights = fake(tf.constant(values), -1.27, 1.28)  # zero has the code 127
        return tf.nn.conv2d(fake(x, -4.0, 4.0), weights, 1, "SAME", name="conv")

    converted, _ = convert_trained(frozen(build, *SHAPE), outputs=["output"])
    weights = converted.network.layers[0].weights
    np.testing.assert_allclose(weights.scale, [0.01], rtol=1e-6)
    assert weights.values.max() == 127
    assert converted.warnings == (
        "1 layers have trained weights of 128 steps, one more than int8 holds; these have 127: conv",
    )
