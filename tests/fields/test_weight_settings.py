"""One test for each field of ARQuantize, NUQuantize and DMQBalancer, on the model that is written."""

import json

import numpy as np
import pytest
from produced import (
    batches,
    codes_of_weights,
    float_weights,
    layer_quantizer,
    outputs,
    produce,
    recorded,
    weights,
)

from calibrant.errors import ConfigError

CHANNELS = {"conv1": 8, "depthwise": 16, "conv2": 8, "deconv": 6}


def override(layer, block):
    return f'override_layer_configs {{ layer_name : "{layer}" calibration_config {{ {block} }} }}'


@pytest.mark.parametrize("layer, channels", CHANNELS.items())
def test_channel_wise(layer, channels):
    apart = produce(override(layer, "arq_quantize { channel_wise : true }"))
    together = produce(override(layer, "arq_quantize { channel_wise : false }"))
    assert len(recorded(apart, layer)["scale_w"]) == channels and len(recorded(together, layer)["scale_w"]) == 1
    axes = {"depthwise": (0, 1), "deconv": (0, 1, 3)}.get(layer, (0, 1, 2))
    largest = [np.abs(codes_of_weights(result, layer)).max(axis=axes) for result in (apart, together)]
    assert (largest[0] >= 127).all() and (largest[1] < 100).any()
    errors = [np.square(weights(r, layer) - float_weights(r, layer)).sum() for r in (apart, together)]
    assert errors[0] < errors[1]


def test_channel_wise_in_common_config_leaves_other_types_per_tensor():
    result = produce("common_config { arq_quantize { channel_wise : true } }")
    assert {name: len(recorded(result, name)["scale_w"]) for name in CHANNELS} == CHANNELS
    assert len(recorded(result, "dense")["scale_w"]) == len(recorded(result, "head")["scale_w"]) == 1


@pytest.mark.parametrize("layer", ["dense", "pool", "scores"])
def test_channel_wise_in_an_override_of_a_type_without_channels(layer):
    with pytest.raises(ConfigError, match="channel_wise"):
        produce(override(layer, "arq_quantize { channel_wise : true }"))


@pytest.mark.parametrize("bits", [6, 7, 8])
def test_quant_bits(bits):
    result = produce(f"common_config {{ arq_quantize {{ quant_bits : {bits} }} }}")
    for layer in ("conv1", "conv2"):
        codes = codes_of_weights(result, layer)
        half = 2 ** (bits - 1)
        assert -half <= codes.min() and codes.max() <= half - 1 and np.abs(codes).max() >= half - 1
        assert recorded(result, layer).get("wts_type") == ([f'"INT{bits}"'] if bits < 8 else None)
    for layer in ("depthwise", "deconv", "dense"):
        assert np.abs(codes_of_weights(result, layer)).max() >= 127


def test_quant_bits_in_an_override():
    result = produce(override("conv2", "arq_quantize { quant_bits : 6 }"))
    assert np.abs(codes_of_weights(result, "conv2")).max() <= 32
    assert np.abs(codes_of_weights(result, "conv1")).max() >= 127
    with pytest.raises(ConfigError, match="quant_bits"):
        produce(override("dense", "arq_quantize { quant_bits : 7 }"))


@pytest.mark.parametrize("steps", [16, 32])
def test_num_steps(steps):
    result = produce(f"common_config {{ nuq_quantize {{ num_steps : {steps} }} }}")
    for layer in ("conv1", "depthwise", "conv2", "deconv"):
        used = np.unique(codes_of_weights(result, layer))
        assert steps / 2 < used.size <= steps
        assert [int(level) for level in recorded(result, layer)["cluster"]] == used.tolist()


def test_num_of_iteration():
    results = [produce(f"common_config {{ nuq_quantize {{ num_steps : 16 num_of_iteration : {n} }} }}") for n in (0, 5)]
    first, refined = (
        {name: np.square(weights(r, name) - float_weights(r, name)).sum() for name in CHANNELS} for r in results
    )
    assert all(refined[name] <= first[name] for name in CHANNELS)
    assert any(refined[name] < first[name] for name in CHANNELS)
    scales = [recorded(r, "conv1")["scale_w"] for r in results]
    assert scales[0] == recorded(produce(), "conv1")["scale_w"] != scales[1]


def mapping_file(folder, *names):
    ops = [
        {"name": name, "type": "Conv2D", "attr": [{"key": "_fe_weight_compress", "value": {"b": True}}]}
        for name in names
    ]
    path = folder / "offline.json"
    path.write_text(json.dumps({"graph": [{"op": ops}]}))
    return path


def test_mapping_file(tmp_path):
    chosen = produce(f'nuq_config {{ mapping_file : "{mapping_file(tmp_path, "conv2")}" }}')
    assert "cluster" in recorded(chosen, "conv2") and "cluster" not in recorded(chosen, "conv1")


def test_mapping_file_beside_the_configuration(tmp_path):
    mapping_file(tmp_path, "conv2")
    configuration = tmp_path / "quant.cfg"
    configuration.write_text('nuq_config { mapping_file : "offline.json" }\n')
    assert "cluster" in recorded(produce(str(configuration)), "conv2")


def test_mapping_file_with_unknown_ops(tmp_path):
    result = produce(f'nuq_config {{ mapping_file : "{mapping_file(tmp_path, "conv2", "gone", "pool")}" }}')
    unknown, unfit = result.plan.warnings
    assert "1 op " in unknown and "names no layer" in unknown and "'gone'" in unknown and "'pool'" not in unknown
    assert "cannot be non-uniform: 'pool' (AvgPool)" in unfit and "'conv2'" not in unknown + unfit
    assert "cluster" in recorded(result, "conv2")


def test_mapping_file_that_names_no_layer(tmp_path):
    with pytest.raises(ConfigError, match="names no layer of the model"):
        produce(f'nuq_config {{ mapping_file : "{mapping_file(tmp_path, "gone", "relu1")}" }}')


def test_nuq_quantize_of_nuq_config(tmp_path):
    path = mapping_file(tmp_path, "conv1", "conv2")
    result = produce(
        f'nuq_config {{ mapping_file : "{path}" nuq_quantize {{ num_steps : 16 num_of_iteration : 0 }} }} '
        + override("conv2", "arq_quantize { quant_bits : 8 }")
    )
    assert len(recorded(result, "conv1")["cluster"]) <= 16
    assert recorded(result, "conv1")["scale_w"] == recorded(produce(), "conv1")["scale_w"]
    assert "cluster" not in recorded(result, "conv2")


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8])
def test_migration_strength(strength):
    result = produce(override("conv1", f"dmq_balancer {{ migration_strength : {strength} }}") + " batch_num : 3")
    plain = produce("batch_num : 3")
    factors = np.array([float(value) for value in recorded(result, "conv1")["tensor_balance_factor"]])
    data = [batch["x"] for batch in batches()]
    activations = np.max([np.abs(x).max(axis=(0, 1, 2)) for x in data], axis=0)
    largest = np.abs(float_weights(plain, "conv1")).max(axis=(0, 1, 3))
    np.testing.assert_allclose(factors, activations**strength / largest ** (1 - strength), rtol=1e-5)
    assert layer_quantizer(result, "conv1").reads == "conv1/balance/divided:0"
    scale = np.array([float(s) for s in recorded(result, "conv1")["scale_w"]])
    balanced = float_weights(plain, "conv1") * factors[:, None]
    np.testing.assert_allclose(
        scale, np.maximum(balanced.max((0, 1, 2)) / 127, -balanced.min((0, 1, 2)) / 128), rtol=1e-5
    )
    assert "tensor_balance_factor" not in recorded(result, "conv2")


def test_dmq_balancer_leaves_the_float_outputs_alone():
    result = produce("common_config { dmq_balancer { } } batch_num : 3")
    balanced, original = outputs(result.network.graph), outputs(result.original)
    assert np.abs(balanced - original).max() <= 1e-4 * np.abs(original).max()
    every = {layer.layer.name for layer in result.network.layers if layer.balance is not None}
    assert every == {"conv1", "depthwise", "conv2", "deconv", "dense", "head"}


def test_dmq_balancer_in_an_override_of_another_type_is_an_error():
    with pytest.raises(ConfigError, match="the balancer does not act on 'pool', an AvgPool"):
        produce(override("pool", "dmq_balancer { }"))


def test_a_mapping_file_that_names_no_layer_is_reported_with_all_other_problems(tmp_path):
    with pytest.raises(ConfigError) as error:
        produce(
            f'nuq_config {{ mapping_file : "{mapping_file(tmp_path, "gone")}" }} '
            + override("conv9", "arq_quantize { }")
        )
    messages = " ".join(problem.message for problem in error.value.problems)
    assert "names no layer of the model" in messages and "no layer 'conv9'" in messages
