"""LiteRT files: our factors and integers are in them, and they compute what their simulation computes."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.settings import TfliteSettings
from graphs import graph_def
from tflite_networks import (
    NETWORKS,
    contents,
    definition,
    exported,
    layer_operators,
    open_volume,
    read_as_made,
    steps_apart,
)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer_computes_what_its_simulation_does(name):
    result, x = exported(definition(name))
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 1.001) >= 0.99
    assert {layer.layer.name for layer in result.network.layers} == layer_operators(result).keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_our_numbers_are_in_the_file_to_the_last_bit(name):
    result, _ = exported(definition(name))
    found = layer_operators(result)
    for layer in result.network.layers:
        operator = found[layer.layer.name]
        data = operator.inputs[2 if operator.name == "TRANSPOSE_CONV" else 0]
        if read_as_made(File(contents(result)[0]), operator):
            assert (data.scale.tolist(), data.zero_point) == ([1 / 256], -128)
        else:
            assert data.scale.tolist() == [layer.inputs[0].quantizer.scale]
            assert data.zero_point == layer.inputs[0].quantizer.offset
        if layer.weights is not None:
            weights = operator.inputs[1]
            assert np.array_equal(weights.scale, layer.weights.scale)
            assert np.array_equal(np.sort(weights.values.ravel()), np.sort(layer.weights.values.ravel()))
        if layer.bias is not None:
            bias = next(t for t in operator.inputs if t is not None and t.dtype == np.int32 and t.scale.size)
            assert np.array_equal(bias.values, layer.integer_bias())


@pytest.mark.parametrize("bits", [6, 7])
def test_weights_of_fewer_bits_survive(bits):
    config = f"batch_num: 4 common_config {{ arq_quantize {{ quant_bits: {bits} }} }}"
    result, x = exported(definition("residual"), config)
    apart, file = steps_apart(result, x)
    assert np.mean(apart <= 1.001) >= 0.99
    for operator in layer_operators(result).values():
        assert np.abs(operator.inputs[1].values.astype(int)).max() <= 2 ** (bits - 1)


def test_few_levels_survive():
    from calibrant.algorithms.narrow_range import in_narrow_range
    from calibrant.algorithms.nuq import quantize_weights_nonuniform

    floats = np.random.default_rng(0).normal(0, 1, (3, 3, 8, 4)).astype(np.float32)
    floats[0, 0, 0] = -5
    narrow = in_narrow_range(quantize_weights_nonuniform(floats, (3,), 16, 1), floats)
    assert narrow.values.min() >= -127
    assert set(np.unique(narrow.values)) <= set(narrow.levels)
    assert len(narrow.levels) <= 16


def test_weights_never_reach_what_litert_leaves_out():
    result, _ = exported(definition("residual"))
    assert min(layer.weights.values.min() for layer in result.network.layers) == -127


def test_a_volume_of_open_sizes_is_in_float_and_the_report_says_how_it_is_not():
    result, x = exported(graph_def(open_volume))
    [float_operator] = result.export_notes["tflite"]["operators_in_float"]
    assert float_operator["operator"] == "CONV_3D" and "fix them with --tflite-shape" in float_operator["reason"]
    assert float_operator["layers"] == ["c3"]
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1
    result, x = exported(graph_def(open_volume), tflite_shape={"x": (32, 4, 6, 6, 2)})
    assert not result.export_notes["tflite"]["operators_in_float"]
    assert steps_apart(result, x)[0].max() == 0


def test_a_layer_left_in_float_is_float_in_the_file():
    result, x = exported(definition("residual"), 'batch_num: 4 skip_layers: "two"')
    apart, file = steps_apart(result, x)
    convolutions = [operator for operator in file.operators() if operator.name == "CONV_2D"]
    assert [operator.is_integer for operator in convolutions] == [True, False, True]
    assert convolutions[1].inputs[1].dtype == np.float32
    assert np.mean(apart <= 1.001) >= 0.99


@pytest.mark.parametrize(
    "config",
    [
        "batch_num: 4 joint_quant: true",
        "batch_num: 4 activation_offset: false",
        "batch_num: 4 fakequant_precision_mode: FORCE_FP16_QUANT",
        "batch_num: 4 do_fusion: false",
        "batch_num: 4 common_config { dmq_balancer { migration_strength: 0.5 } }",
        'batch_num: 4 tensor_quantize { layer_name: "add" input_index: 0 }',
    ],
)
def test_every_setting_is_held(config):
    result, x = exported(definition("residual"), config)
    apart, _ = steps_apart(result, x)
    assert np.mean(apart <= 1.001) >= 0.99


@pytest.mark.parametrize("io", ["float32", "int8"])
def test_inputs_and_outputs_are_of_the_type_that_was_asked_for(io):
    result, x = exported(definition("conv"), tflite_io=io)
    apart, file = steps_apart(result, x)
    assert {tensor.dtype.name for tensor in (*file.inputs(), *file.outputs())} == {io}
    assert np.mean(apart <= 1.001) >= 0.99


def test_the_batch_can_be_fixed():
    result, x = exported(definition("conv"), tflite_batch=3)
    apart, file = steps_apart(result, x[:3])
    assert file.inputs()[0].shape == (3, 8, 8, 4)
    assert apart.max() <= 1.001


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(calibrant.ConfigError, match="float32 or int8"):
        TfliteSettings("int16")
    with pytest.raises(calibrant.ConfigError, match="1 to 65536"):
        TfliteSettings(batch=0)


def test_the_file_says_who_made_it_and_of_what():
    result, _ = exported(definition("conv"))
    about = File(contents(result)[0]).metadata("calibrant")
    assert all(result.signature[key].encode() in about for key in ("configuration_sha256", "record_sha256"))
    assert b'"calibrant"' in about


def test_the_same_input_gives_the_same_bytes():
    assert exported(definition("conv"))[0].exported == exported(definition("conv"))[0].exported


def test_bytes_of_something_else_are_refused():
    with pytest.raises(calibrant.ModelError, match="not a LiteRT"):
        File(b"something else altogether")
