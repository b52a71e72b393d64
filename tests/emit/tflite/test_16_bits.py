"""Layers that read 16 bits in LiteRT files: int16 codes with int8 weights, exactly as simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calibrant
from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.flatbuffer import File, empty_file
from calibrant.emit.tflite.schema import schema
from calibrant.emit.tflite.simulation.operator_check import is_wrong, operator_differences, run_file
from calibrant.emit.tflite.simulation.simulate import simulate
from calibrant.errors import ModelError
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.evaluation.verify import verify
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import (
    attention,
    constant_batch_product,
    contents,
    depthwise,
    exported,
    global_average,
    image,
    layer_operators,
    model_of,
    one_of_two_equal_layers,
    open_volume,
    residual,
    steps_apart,
    transposed,
)


def wide(*names):
    blocks = (
        f"override_layer_configs {{ layer_name: '{name}' "
        "calibration_config { ifmr_quantize { dst_type: INT16 } } }"
        for name in names
    )
    return "\n".join(["batch_num: 4", *blocks])


def file_of(result):
    return File(contents(result)[0])


def float_operators(result):
    return result.report["exports"]["tflite"]["operators_in_float"]


def decibels(wanted, found):
    return 10 * np.log10(np.square(wanted).sum() / np.square(wanted - found.reshape(wanted.shape)).sum())


def signal_to_noise(result, x):
    """Of the file against the float network, and of the fake-quantized model against it."""
    [wanted] = run_once(result.original, {result.original.input_keys[0]: x}, result.original.outputs)
    [simulated] = run_once(result.fakequant, {result.fakequant.input_keys[0]: x}, result.fakequant.outputs)
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    return decibels(wanted, runner.real(runner.file.outputs()[0])), decibels(wanted, simulated)


def two_convolutions():
    y = tf.nn.relu(conv(image(), name="one"))
    return conv(tf.nn.relu6(y), name="two", seed=4)


def flattened():
    y = tf.nn.max_pool2d(tf.nn.relu(conv(image(), name="one")), 2, 2, "VALID")
    return dense(tf.reshape(y, [-1, 64]), name="last")


def read_twice():
    y = tf.nn.relu(conv(image(), name="one"))
    return conv(y, name="two", seed=4) + conv(y, name="three", seed=6)


NETWORKS = {
    "the first layer": (two_convolutions, ["one"]),
    "the last layer": (two_convolutions, ["two"]),
    "every layer": (two_convolutions, ["one", "two"]),
    "depthwise": (lambda: depthwise(1), ["dw"]),
    "depthwise, multiplier 2": (lambda: depthwise(2), ["dw"]),
    "transposed": (transposed, ["up"]),
    "transposed, an activation of its own": (lambda: tf.nn.relu(transposed()), ["up"]),
    "one of two equal layers": (one_of_two_equal_layers, ["two"]),
    "behind a reshape": (flattened, ["last"]),
    "a product with a batch": (constant_batch_product, ["bmm"]),
    "behind an addition": (residual, ["three"]),
    "behind a pooling": (global_average, ["dense"]),
    "one of two readers": (read_twice, ["three"]),
    "in front of products of activations": (attention, ["left", "right"]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_files_have_the_codes_of_their_simulation(name):
    build, layers = NETWORKS[name]
    result, x = exported(model_of(build), wide(*layers))
    steps, _ = steps_apart(result, x)
    assert steps.max() == 0
    assert not [row for row in float_operators(result) if "16 bits" not in row["reason"]]
    operators = layer_operators(result)
    quantizers = {layer.layer.name: layer.inputs[0].quantizer for layer in result.network.layers}
    for layer in layers:
        operator = operators[layer]
        place = 2 if operator.name == "TRANSPOSE_CONV" else 0
        read, made = operator.read(place), operator.outputs[0]
        assert (read.dtype, made.dtype, operator.read(1).dtype) == (np.int16, np.int16, np.int8)
        assert (read.zero_point, made.zero_point) == (0, 0)
        assert read.scale[0] == quantizers[layer].scale and quantizers[layer].bits == 16
    assert set(layers) <= set(result.report["exports"]["tflite"]["layers_with_16_bits"])


@pytest.mark.parametrize("name", ["every layer", "behind a reshape", "behind an addition", "behind a pooling"])
def test_the_file_is_about_as_close_as_the_fake_quantized_model(name):
    build, layers = NETWORKS[name]
    result, x = exported(model_of(build), wide(*layers))
    in_file, simulated = signal_to_noise(result, x)
    assert in_file > simulated - 3


def test_16_bits_everywhere_leave_the_weights_to_lose():
    plain, x = exported(model_of(two_convolutions))
    result, _ = exported(model_of(two_convolutions), wide("one", "two"))
    assert signal_to_noise(result, x)[0] > signal_to_noise(plain, x)[0] + 3


def test_a_layer_of_8_bits_in_front_reads_the_same_codes_with_16():
    result, _ = exported(model_of(two_convolutions), wide("two"))
    assert result.report["exports"]["tflite"]["layers_with_16_bits"] == ["one", "two"]
    one = layer_operators(result)["one"]
    [layer, _] = result.network.layers
    quantizer = layer.inputs[0].quantizer
    assert quantizer.bits == 8
    assert one.read(0).dtype == np.int16 and one.read(0).scale[0] == quantizer.scale
    assert np.array_equal(one.read(2).constant, layer.integer_bias()) and one.read(2).dtype == np.int64
    x = numbers(3, 8, 8, 4, seed=11)
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    codes = runner.codes(one.read(0)).astype(np.int32)
    assert np.array_equal(codes, quantizer.quantize(x).astype(np.int32) - quantizer.offset)


def test_others_read_a_tensor_of_16_bits_with_their_own_8():
    result, _ = exported(model_of(read_twice), wide("three"))
    operators = layer_operators(result)
    quantizers = {layer.layer.name: layer.inputs[0].quantizer for layer in result.network.layers}
    assert operators["two"].read(0).dtype == np.int8
    assert operators["two"].read(0).scale[0] == quantizers["two"].scale
    assert operators["one"].outputs[0].scale[0] == quantizers["three"].scale


def test_biases_are_held_in_steps_of_16_bits():
    bias = np.float32([0.125, -3, 1e-4, 40])
    weights = numbers(12, 4, seed=3) * np.float32([1, 0.01, 0, 2])
    definition = model_of(
        lambda: tf.nn.bias_add(tf.matmul(placeholder([None, 12]), tf.constant(weights), name="d"), tf.constant(bias))
    )
    result, x = exported(definition, wide("d"), bias_correction=False, tflite_dense_per_channel=True)
    [operator] = layer_operators(result).values()
    held = operator.read(2).constant * operator.read(2).scale.astype(np.float64)
    assert np.abs(held - bias).max() <= operator.read(2).scale.max() / 2
    assert steps_apart(result, x)[0].max() == 0


def test_layers_alone():
    result, x = exported(model_of(residual), wide("three"), tflite_ops="layers")
    assert steps_apart(result, x)[0].max() == 0


def test_int8_outputs_are_codes_of_8_bits():
    result, x = exported(model_of(two_convolutions), wide("two"), tflite_io="int8")
    file = file_of(result)
    assert [tensor.dtype for tensor in (*file.inputs(), *file.outputs())] == [np.int8, np.int8]
    assert file.outputs()[0].scale.size == 1
    assert steps_apart(result, x)[0].max() == 0


@pytest.mark.parametrize("layer", ["one", "last"])
def test_an_input_that_is_read_with_16_bits_is_not_made_int8(layer):
    def build():
        x = tf.reshape(placeholder([None, 64]), [-1, 4, 4, 4])
        return dense(tf.reshape(conv(x, name="one"), [-1, 64]), name="last") + dense(
            tf.reshape(x, [-1, 64]), 3, "other"
        )

    if layer == "last":
        exported(model_of(build), wide(layer), tflite_io="int8")
        return
    with pytest.raises(ModelError, match="the input x is float, as it is read with 16 bits") as error:
        exported(model_of(build), wide(layer), tflite_io="int8")
    assert "--tflite-io float32" in str(error.value)


def test_what_has_no_such_kernel_is_in_float_and_listed():
    result, x = exported(model_of(open_volume), wide("c3"))
    [reason] = [row["reason"] for row in float_operators(result)]
    assert reason.startswith("LiteRT has no integer kernel for Conv3D")
    assert result.report["exports"]["tflite"]["layers_with_16_bits"] == []
    in_file, simulated = signal_to_noise(result, x)
    assert in_file > simulated


def test_a_layer_in_front_with_scales_too_far_apart_is_in_float():
    def build():
        x, weights = placeholder([None, 4]), numbers(4, 4, seed=3)
        cancelled = tf.matmul(tf.concat([x, x], 1), tf.constant(np.concatenate([weights, -weights])), name="one")
        return dense(tf.nn.relu(cancelled + 0.01), name="two")

    result, x = exported(model_of(build), wide("two"))
    assert steps_apart(result, x)[0].max() == 0
    found = {row["operator"]: row["reason"] for row in float_operators(result)}
    assert found.keys() == {"CONCATENATION", "FULLY_CONNECTED"} and "too far apart" in found["FULLY_CONNECTED"]
    assert result.report["exports"]["tflite"]["layers_with_16_bits"] == ["two"]


def rearranged_and_clipped():
    y = tf.matmul(placeholder([None, 4]), tf.constant(numbers(4, 4, seed=3)), name="one")
    return dense(tf.reshape(tf.nn.relu(tf.reshape(y, [-1, 2, 2])), [-1, 4]), name="two")


def clipped_to_little():
    y = tf.matmul(placeholder([None, 4]), tf.constant(numbers(4, 4, seed=3)), name="one")
    return dense(tf.minimum(tf.nn.relu(y), 1e-4), name="two")


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (rearranged_and_clipped, {"config": wide("two")}),
        (rearranged_and_clipped, {"budget": 0.5}),
        (clipped_to_little, {"config": wide("two")}),
    ],
)
def test_a_layer_in_front_makes_16_bits_of_its_own_range(build, options):
    result, x = exported(model_of(build), **options)
    assert steps_apart(result, x)[0].max() == 0
    assert result.report["exports"]["tflite"]["layers_with_16_bits"] == ["one", "two"]
    plain, _ = exported(model_of(build))
    one = layer_operators(result)["one"].outputs[0]
    assert one.dtype == np.int16
    assert len(result.network.intermediate) > len(plain.network.intermediate)


def test_a_budget_that_takes_nothing_changes_no_scale_between_layers():
    plain, free = (exported(model_of(rearranged_and_clipped), **options)[0] for options in ({}, {"budget": 0.0}))
    assert plain.network.intermediate == free.network.intermediate
    assert contents(plain)[0] == contents(free)[0]


def test_scales_rounded_to_float16():
    result, x = exported(model_of(two_convolutions), wide("two") + "\nfakequant_precision_mode: FORCE_FP16_QUANT")
    assert steps_apart(result, x)[0].max() == 0
    [scale] = layer_operators(result)["two"].read(0).scale
    assert scale == np.float16(scale)


def test_a_budget(tmp_path):
    result, _ = exported(model_of(two_convolutions), budget=1.0, out=tmp_path / "out", name="net")
    assert result.report["exports"]["tflite"]["layers_with_16_bits"] == ["one", "two"]
    found = verify(tmp_path / "out", numbers(16, 8, 8, 4, seed=5))
    assert found.passed
    [pair] = [pair for pair in found.pairs if pair.passed is not None]
    assert pair.share_equal == 1.0


def lone_layer(kernel, codes, weights, bias, scales):
    """A file of one layer: codes of 16 bits, int8 weights with scales on their channels, an int64 bias."""
    read, of_weights, made = scales
    file = empty_file()
    shape = (*codes.shape[:-1], bias.size)
    tensors = [file.add_tensor(name, file.add_constant("s", np.zeros(size, np.int8)), np.int16, Quantizer(scale, 0, 16))
               for name, size, scale in (("x", codes.shape, read), ("y", shape, made))]  # fmt: skip
    held = file.add_constant("w", weights)
    held.set_quantization(of_weights, 0, 3 if kernel == "DEPTHWISE_CONV_2D" else 0)
    added = file.add_constant("b", bias)
    added.set_quantization(np.float32(read) * of_weights)
    options = {"CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "FULLY_CONNECTED": "FullyConnected"}[kernel]
    given_options = getattr(schema, f"{options}OptionsT")()
    if kernel != "FULLY_CONNECTED":
        given_options.strideH = given_options.strideW = 1
        given_options.dilationHFactor = given_options.dilationWFactor = given_options.depthMultiplier = 1
    raw = file.new_operator(kernel, [tensors[0].index, held.index, added.index], [tensors[1].index], given_options)
    file.set_operators([raw])
    file.begin([tensors[0].index], [tensors[1].index])
    return file


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]),
    channels=st.integers(1, 9),
    per_channel=st.booleans(),
    size=st.sampled_from([0.5, 1.0, 2.0]) | st.floats(1e-3, 1e3),
    reach=st.sampled_from([8, 2**15]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_sum_is_multiplied_as_the_kernel_does(kernel, channels, per_channel, size, reach, seed):
    random = np.random.default_rng(seed)
    inputs = channels if kernel == "DEPTHWISE_CONV_2D" else 5
    shape = (400, inputs) if kernel == "FULLY_CONNECTED" else (1, 20, 20, inputs)
    codes = random.integers(-reach, reach, shape).astype(np.int16)
    weights = {
        "CONV_2D": (channels, 2, 2, 5),
        "DEPTHWISE_CONV_2D": (1, 2, 2, channels),
        "FULLY_CONNECTED": (channels, 5),
    }[kernel]
    weights = random.integers(-127, 128, weights).astype(np.int8)
    bias = random.integers(-(reach**2), reach**2, channels)
    scale = np.exp2(random.integers(-3, 4, channels) if size in (0.5, 1.0, 2.0) else random.uniform(-3, 3, channels))
    scale = (scale if per_channel else scale[:1]).astype(np.float32)
    file = lone_layer(kernel, codes, weights, bias, (np.float32(0.5), scale, np.float32(reach * size)))
    runs = [run_file(file.content(), {0: codes}, file.used(), delegate) for delegate in (True, False)]
    for [found] in operator_differences(file, simulate(file, {0: "x:0"}), runs):
        assert found.steps == 0


@pytest.mark.parametrize("bits", [8, 16])
def test_only_codes_of_16_bits_may_be_a_step_off_where_floats_become_codes(bits):
    values = np.float32([*range(-6, 6)]).reshape(1, 12) + np.float32(0.5)  # halves, of which the last are rounded apart
    file = empty_file()
    shape, codes = file.add_constant("s", np.zeros(values.shape, np.float32)), Quantizer(np.float32(1), 0, bits)
    read, made = file.add_tensor("x", shape, np.float32), file.add_tensor("y", shape, f"int{bits}", codes)
    file.set_operators([file.new_operator("QUANTIZE", [read.index], [made.index])])
    file.begin([read.index], [made.index])
    [[found]] = operator_differences(
        file, simulate(file, {0: "x:0"}), [run_file(file.content(), {0: values}, file.used())]
    )
    assert found.steps <= (bits == 16) and not is_wrong(found, exact=True)
    assert is_wrong(replace(found, steps=1.0), exact=True) == (bits == 8)
    assert is_wrong(replace(found, steps=2.0), exact=True)


@pytest.mark.parametrize("layer", ["MatMul", "MatMul_1", "MatMul_2"])
def test_one_of_several_readers_of_a_tensor_beside_a_mask(layer):
    def build():
        x, m = placeholder([None, 8, 16]), placeholder([None, 8], "mask")
        x = x * tf.sigmoid(x)
        rows = (tf.reshape(x, [-1, 16]) for _ in range(3))
        weights = [tf.constant(numbers(16, 16, seed=seed, scale=0.3)) for seed in (3, 4, 5)]
        q, k, v = (tf.reshape(tf.matmul(row, one), [-1, 8, 16]) for row, one in zip(rows, weights, strict=True))
        scores = tf.matmul(q, k, transpose_b=True) + tf.reshape((1.0 - m) * -1e9, [-1, 1, 8])
        tf.identity(dense(tf.reshape(tf.matmul(tf.nn.softmax(scores), v), [-1, 128])), name="out")

    mask = np.tile(np.arange(8) < 5, (4, 1)).astype(np.float32)
    data = [{"x": numbers(4, 8, 16, seed=turn), "mask": mask} for turn in range(4)]
    result = calibrant.quantize(graph_def(build), f"batch_num: 4 {wide(layer)}", data, export="tflite")
    assert not result.refused and any(name.endswith(".tflite") for name in result.exported)
