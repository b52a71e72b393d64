"""One test for each field of AMCTConfig, on the model that is written: it fails if the field is ignored."""

import json

import numpy as np
import pytest
from produced import (
    LAYERS,
    codes_of_weights,
    float_weights,
    layer_quantizer,
    network,
    outputs,
    produce,
    quantizer,
    recorded,
    weights,
)

import calibrant
from calibrant.errors import ConfigError, DataError
from calibrant.result import result_files


def test_batch_num():
    one, three = (layer_quantizer(produce(f"batch_num : {number}"), "conv1").scale for number in (1, 3))
    assert three == pytest.approx(3 * one, rel=0.3)
    with pytest.raises(DataError, match="batch_num is 4"):
        produce("batch_num : 4")


def test_activation_offset():
    with_offset, without = produce("activation_offset : true"), produce("activation_offset : false")
    assert all(layer_quantizer(without, name).offset == 0 for name in LAYERS)
    assert all(recorded(without, name)["offset_d"] == ["0"] for name in LAYERS)
    assert layer_quantizer(with_offset, "depthwise").offset == -128
    assert layer_quantizer(produce(), "depthwise") == layer_quantizer(with_offset, "depthwise")


def test_joint_quant():
    apart, joint = produce("joint_quant : false"), produce("joint_quant : true")
    assert quantizer(apart, "add", 0) is None and quantizer(apart, "add", 1) is None
    both = [quantizer(joint, "add", index) for index in (0, 1)]
    assert [found.reads for found in both] == ["conv2/bias:0", "relu1:0"]
    shared = {(found.scale, found.offset) for found in (*both, layer_quantizer(joint, "depthwise"))}
    assert len(shared) == 1
    assert layer_quantizer(apart, "depthwise").offset == -128 != both[0].offset
    assert recorded(joint, "add:0") == recorded(joint, "add:1") is not None
    assert recorded(apart, "add:0") is None
    (group,) = joint.report["joint_groups"]
    assert group["group"] == "add" and group["members"] == ["depthwise:0", "add:0", "add:1"]


def test_skip_layers():
    result = produce('skip_layers : "conv2"')
    assert layer_quantizer(result, "conv2") is None and recorded(result, "conv2") is None
    np.testing.assert_array_equal(weights(result, "conv2"), float_weights(result, "conv2"))
    assert layer_quantizer(result, "conv1") is not None


def test_skip_layers_keeps_an_addition_out_of_joint_quantization():
    result = produce('joint_quant : true skip_layers : "add"')
    assert quantizer(result, "add", 0) is None and quantizer(result, "add", 1) is None
    assert layer_quantizer(result, "depthwise").offset == -128


def test_skip_layer_types():
    result = produce('skip_layer_types : ["Conv2D", "AvgPool"]')
    kept = {name for name in LAYERS if layer_quantizer(result, name) is not None}
    assert kept == set(LAYERS) - {"conv1", "conv2", "pool"}
    np.testing.assert_array_equal(weights(result, "conv1"), float_weights(result, "conv1"))


def test_skip_approximation_layers():
    result = produce('skip_approximation_layers : "conv1"')
    model = f"{result.name}_fakequant.pb"
    assert result_files(result)[model] == result_files(produce())[model]
    assert [warning for warning in result.report["warnings"] if "skip_approximation_layers" in warning] == [
        "skip_approximation_layers has no effect: there is no calibrated approximation in this version"
    ]


def test_fakequant_precision_mode():
    plain, forced = produce(), produce("fakequant_precision_mode : FORCE_FP16_QUANT")
    for name in LAYERS:
        before, after = layer_quantizer(plain, name), layer_quantizer(forced, name)
        assert after.scale == float(np.float16(before.scale)) and after.offset == before.offset
        assert after.inverse == float(np.float32(1) / np.float32(after.scale))
        if name not in ("pool", "scores"):
            np.testing.assert_array_equal(weights(forced, name), weights(plain, name))
        assert recorded(forced, name)["scale_d"] == recorded(plain, name)["scale_d"]
    assert any(layer_quantizer(plain, name).scale != layer_quantizer(forced, name).scale for name in LAYERS)
    assert (outputs(forced.fakequant) != outputs(plain.fakequant)).any()


def test_fakequant_precision_mode_rounds_the_bias_to_the_same_steps():
    forced = produce("fakequant_precision_mode : FORCE_FP16_QUANT")
    (layer,) = [layer for layer in forced.network.layers if layer.layer.name == "dense"]
    graph = forced.fakequant
    bias = graph.constant(f"{graph.nodes['dense/bias'].input[1]}:0")
    steps = bias / (np.float64(layer_quantizer(forced, "dense").scale) * layer.weights.scale)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-2)


@pytest.fixture
def mapping(tmp_path):
    """A function that writes a mapping file whose marked ops stand for layers; its path."""

    def write(*names):
        ops = [
            {
                "name": f"op{number}",
                "type": "Conv2D",
                "attr": [
                    {"key": "_datadump_original_op_names", "value": {"list": {"s": [name, f"{name}/other"]}}},
                    {"key": "_fe_weight_compress", "value": {"b": True}},
                ],
            }
            for number, name in enumerate(names)
        ]
        path = tmp_path / "mapping.json"
        path.write_text(json.dumps({"graph": [{"op": ops}]}))
        return path

    return write


def test_nuq_config(mapping):
    result = produce(f'nuq_config {{ mapping_file : "{mapping("conv1", "dense", "depthwise")}" }}')
    for name in ("conv1", "dense"):
        levels = {int(level) for level in recorded(result, name)["cluster"]}
        assert set(codes_of_weights(result, name).ravel()) <= levels and len(levels) <= 32
    assert "cluster" not in recorded(result, "conv2") and "cluster" not in recorded(result, "depthwise")
    assert len(np.unique(codes_of_weights(result, "conv2"))) > 32
    assert result_files(result)[f"{result.name}_nuq_record.txt"] == b"conv1\ndense\n"
    told = result.report["nonuniform_weights"]
    assert told["mapping_file"] == "mapping.json"
    assert [(row["layer"], row["chosen_by"]) for row in told["layers"]] == [
        ("conv1", "nuq_config"),
        ("dense", "nuq_config"),
    ]


def test_common_config():
    result = produce("common_config { hfmg_quantize { num_of_bins : 1024 } arq_quantize { channel_wise : false } }")
    plain = produce()
    different = [name for name in LAYERS if layer_quantizer(result, name) != layer_quantizer(plain, name)]
    assert len(different) >= 6
    assert all(len(recorded(result, name)["scale_w"]) == 1 for name in ("conv1", "depthwise", "conv2", "deconv"))


def test_override_layer_types():
    result = produce(
        'override_layer_types { layer_type : "Conv2D" calibration_config { arq_quantize { channel_wise : false } } }'
    )
    assert len(recorded(result, "conv1")["scale_w"]) == len(recorded(result, "conv2")["scale_w"]) == 1
    assert len(recorded(result, "depthwise")["scale_w"]) == 16


def test_override_layer_configs():
    result = produce(
        'override_layer_configs { layer_name : "conv2" calibration_config { arq_quantize { channel_wise : false } } }'
    )
    assert len(recorded(result, "conv2")["scale_w"]) == 1
    assert len(recorded(result, "conv1")["scale_w"]) == 8


def test_do_fusion():
    folded, apart = produce("do_fusion : true"), produce("do_fusion : false")
    assert [node.op for node in folded.fakequant.nodes.values()].count("FusedBatchNormV3") == 0
    assert [node.op for node in apart.fakequant.nodes.values()].count("FusedBatchNormV3") == 1
    np.testing.assert_allclose(
        apart.network.layers[0].float_weights, apart.original.constant("conv1/weights:0"), rtol=1e-6
    )


def test_skip_fusion_layers():
    result = produce('skip_fusion_layers : "conv1"')
    assert "FusedBatchNormV3" in {node.op for node in result.fakequant.nodes.values()}
    assert recorded(result, "conv1")["skip_fusion"] == ["true"]
    assert "skip_fusion" not in recorded(produce(), "conv1")


def test_tensor_quantize():
    result = produce(
        'tensor_quantize { layer_name : "maxpool" input_index : 0 } '
        'tensor_quantize { layer_name : "add" input_index : 1 }'
    )
    assert quantizer(result, "maxpool").reads == "relu2:0" and quantizer(result, "add", 1).reads == "relu1:0"
    assert quantizer(result, "add", 0) is None
    assert recorded(result, "maxpool:0") is not None and recorded(result, "add:0") is None
    assert quantizer(produce(), "maxpool") is None


def test_nothing_left_is_an_error():
    types = '["Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "AvgPool", "MatMul", "BatchMatMulV2"]'
    with pytest.raises(ConfigError, match="nothing is left to quantize"):
        produce(f"skip_layer_types : {types}")
    tensors_only = calibrant.quantize(
        network(),
        f'skip_layer_types : {types} tensor_quantize {{ layer_name : "maxpool" input_index : 0 }}',
        data=[{"x": np.ones((4, 8, 8, 4), np.float32)}],
        outputs=["out"],
    )
    assert quantizer(tensors_only, "maxpool") is not None
