"""Every number, name and attribute in the deployable file, decoded and compared with the record file (spec 04)."""

import re
import struct

import numpy as np
import pytest
from ascend_networks import KINDS, TENSORS, chain, file_of, half_precision, quantized, residual
from tensorflow.python.framework import tensor_util

from calibrant.graph.layers import KINDS as LAYER_KINDS
from calibrant.records.record_file import read_records
from calibrant.result import result_files

CONFIGS = {
    "asymmetric": "",
    "symmetric": "activation_offset : false",
    "7 bits per tensor": "common_config { arq_quantize { channel_wise : false quant_bits : 7 } }",
    "non-uniform": "common_config { nuq_quantize { num_steps : 16 } }",
}
ATTRIBUTES = {
    "AscendQuant": {"T", "scale", "offset", "quant_bits", "dst_type"},
    "AscendWeightQuant": {"T", "dst_type"},
    "AscendDequant": {"T", "ksize", "data_format"},
    "AscendAntiQuant": {"T", "scale", "offset"},
}
FLOAT, HALF = 1, 19


class File:
    """The nodes of a file, and what they read."""

    def __init__(self, result, folder):
        self.nodes = {node.name: node for node in file_of(result).node}
        path = folder / "record.txt"
        path.write_bytes(result_files(result)["record.txt"])
        self.records = read_records(path)

    def of(self, op):
        return [node for node in self.nodes.values() if node.op == op]

    def producer(self, node, index):
        return self.nodes[node.input[index].partition(":")[0]]

    def value(self, node, index):
        constant = self.producer(node, index)
        assert constant.op == "Const"
        return tensor_util.MakeNdarray(constant.attr["value"].tensor)

    def layer_behind(self, dequant):
        """The layer in front of an AscendDequant, and its BiasAdd."""
        node = self.producer(dequant, 0)
        bias = node if node.op == "BiasAdd" else None
        return (self.producer(bias, 0) if bias is not None else node), bias


def check_quantizer(file, reader, index, key, kind=FLOAT):
    record = file.records[key]
    node = file.producer(reader, index)
    assert node.op == "AscendQuant"
    assert node.attr["scale"].f == np.float32(1) / np.float32(record.scale_d)
    assert node.attr["offset"].f == record.offset_d
    assert (node.attr["quant_bits"].i, node.attr["dst_type"].s, node.attr["T"].type) == (8, b"INT8", kind)
    return node


def check_layers(file, result, kind=FLOAT):
    """All layers of the file; returns their names."""
    seen = set()
    bits = {layer.layer.name: layer for layer in result.network.layers}
    for dequant in file.of("AscendDequant"):
        layer, bias = file.layer_behind(dequant)
        seen.add(layer.name)
        record, found = file.records[layer.name], bits[layer.name]
        scope = layer.name.rpartition("/")[0] or layer.name
        assert re.fullmatch(re.escape(f"{scope}/dequant/AscendDequant") + r"(_\d+)?", dequant.name)
        dynamic = f"{layer.name}:1" in file.records
        inputs = (0, 1) if dynamic else LAYER_KINDS[layer.op].data_inputs
        first = check_quantizer(file, layer, inputs[0], layer.name, kind)
        assert first.name.endswith("/act_quant/AscendQuant")
        scale = np.float32(record.scale_d)
        if dynamic:
            check_quantizer(file, layer, 1, f"{layer.name}:1")
            scale = scale * np.float32(file.records[f"{layer.name}:1"].scale_d)
        words = file.value(dequant, 1)
        assert words.dtype == np.uint64 and words.shape == (max(len(record.scale_w), 1),)
        for word, scale_w in zip(words, record.scale_w or (1.0,), strict=True):
            content = struct.pack("<Q", int(word))
            assert np.float32(struct.unpack("<f", content[:4])[0]) == scale * np.float32(scale_w)
            assert content[4:] == b"\0\0\0\0"
        assert dequant.attr["T"].type == kind
        assert list(dequant.attr["ksize"].list.i) == list(window(layer))
        assert dequant.attr["data_format"].s == (layer.attr["data_format"].s or b"NHWC")
        if record.scale_w:
            check_weights(file, layer, found, kind)
        if bias is not None:
            check_bias(file, bias, found, record)
    return seen


def window(layer):
    return layer.attr["ksize"].list.i[1:3] if layer.op == "AvgPool" else (1, 1)


def check_weights(file, layer, found, kind):
    node = file.producer(layer, LAYER_KINDS[layer.op].weight_input)
    assert node.op == "AscendWeightQuant" and node.attr["dst_type"].s == b"INT8" and node.attr["T"].type == kind
    weights, offsets = file.value(node, 0), file.value(node, 1)
    assert weights.dtype == offsets.dtype == np.int8 and not offsets.any()
    np.testing.assert_array_equal(weights, found.weights.values)
    record = file.records[layer.name]
    assert np.abs(weights.astype(int)).max() <= 2 ** (record.weight_bits - 1)
    if record.cluster:
        assert set(np.unique(weights)) <= set(record.cluster)
    axes = LAYER_KINDS[layer.op].channel_axes if len(record.scale_w) > 1 else ()
    shape = [size if axis in axes else 1 for axis, size in enumerate(weights.shape)]
    scale = np.array(record.scale_w, np.float32).reshape(shape)
    assert np.abs(weights * scale - found.float_weights).max() <= 0.51 * scale.max() or record.cluster
    assert offsets.size == len(record.scale_w)


def check_bias(file, bias, found, record):
    cast = file.producer(bias, 1)
    assert cast.op == "Cast"
    steps = file.value(cast, 0)
    assert steps.dtype == np.int32
    scale = np.float64(np.float32(record.scale_d)) * np.array(record.scale_w, np.float32).astype(np.float64)
    np.testing.assert_array_equal(steps, np.rint(found.bias.astype(np.float64) / scale))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("build", KINDS.values(), ids=KINDS)
def test_numbers_of_layers(build, config, tmp_path):
    result = quantized(build, config)
    file = File(result, tmp_path)
    assert check_layers(file, result) == {layer.layer.name for layer in result.network.layers}


def test_numbers_of_tensor_quantizers(tmp_path):
    result = quantized(residual, TENSORS)
    file = File(result, tmp_path)
    for reader, index in (("sum", 0), ("sum", 1), ("maxpool", 0)):
        anti = file.producer(file.nodes[reader], index)
        assert anti.op == "AscendAntiQuant" and anti.name.startswith(f"{reader}/anti_quant/AscendAntiQuant")
        quantizer = check_quantizer(file, anti, 0, f"{reader}:{index}")
        assert quantizer.name.startswith(f"{reader}/act_quant/AscendQuant")
        assert anti.attr["scale"].f == np.float32(file.records[f"{reader}:{index}"].scale_d)
        assert anti.attr["offset"].f == quantizer.attr["offset"].f
        assert anti.attr["T"].type == FLOAT
    assert len(file.of("AscendAntiQuant")) == 3


def test_half_precision(tmp_path):
    result = quantized(half_precision)
    file = File(result, tmp_path)
    assert check_layers(file, result, HALF) == {"conv/Conv2D"}


@pytest.mark.parametrize("build, config", [(chain, ""), (residual, TENSORS)], ids=["chain", "residual"])
def test_no_other_attributes_and_no_float_weights(build, config, tmp_path):
    file = File(quantized(build, config), tmp_path)
    for op, wanted in ATTRIBUTES.items():
        assert all(set(node.attr) == wanted for node in file.of(op))
    floats = [
        tensor_util.MakeNdarray(node.attr["value"].tensor).size
        for node in file.of("Const")
        if node.attr["dtype"].type == FLOAT
    ]
    assert sum(floats) <= 2


def test_one_quantizer_for_layers_that_read_one_tensor(tmp_path):
    shared = File(quantized(residual), tmp_path)
    assert len(shared.of("AscendQuant")) == 1
    own = """override_layer_configs { layer_name : "two/Conv2D" calibration_config { hfmg_quantize { } } }"""
    assert len(File(quantized(residual, own), tmp_path).of("AscendQuant")) == 2


def test_relu6_becomes_relu_only_where_its_quantizer_ends_at_6(tmp_path):
    ends = {}
    for config in ("", "common_config { ifmr_quantize { search_range_start : 2 search_range_end : 2.01 } }"):
        result = quantized(chain, config)
        [depthwise] = [layer for layer in result.network.layers if layer.layer.name == "depthwise"]
        ends[File(result, tmp_path).nodes["relu6"].op] = depthwise.inputs[0].quantizer.range[1]
    assert ends["Relu"] <= 6 < ends["Relu6"]
