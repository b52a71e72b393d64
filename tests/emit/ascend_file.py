"""A deployable file compared with its specification and a record file: every name, attribute and number."""

from __future__ import annotations

import re
import struct

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import tensor_util

from calibrant.layer_kinds import KINDS
from calibrant.records.record_file import read_records

ATTRIBUTES = {
    "AscendQuant": {"T", "scale", "offset", "quant_bits", "dst_type"},
    "AscendWeightQuant": {"T", "dst_type"},
    "AscendDequant": {"T", "ksize", "data_format"},
    "AscendAntiQuant": {"T", "scale", "offset"},
}
READS = {"AscendQuant": 1, "AscendWeightQuant": 2, "AscendDequant": 2, "AscendAntiQuant": 1}
FLOAT, HALF = 1, 19


class File:
    """The nodes of a file, what they read and who reads them; ``records`` are those of the record file beside it."""

    def __init__(self, graph_def: GraphDef, record_file):
        self.nodes = {node.name: node for node in graph_def.node}
        self.records = read_records(record_file)

    def of(self, op):
        return [node for node in self.nodes.values() if node.op == op]

    def producer(self, node, index):
        return self.nodes[node.input[index].partition(":")[0]]

    def readers(self, node):
        return [each for each in self.nodes.values() if node.name in (name.partition(":")[0] for name in each.input)]

    def value(self, node, index):
        constant = self.producer(node, index)
        assert constant.op == "Const"
        return tensor_util.MakeNdarray(constant.attr["value"].tensor)

    def layer_behind(self, dequant):
        """The layer in front of an AscendDequant, and its BiasAdd."""
        node = self.producer(dequant, 0)
        bias = node if node.op == "BiasAdd" else None
        return (self.producer(bias, 0) if bias is not None else node), bias


def check_file(file, network, kind=FLOAT):
    """Everything in the file; returns the names of its layers.

    Raises
    ------
    AssertionError : something departs from the specification, the record file or the quantized network.
    """
    ours = [node for node in file.nodes.values() if node.op.startswith("Ascend")]
    for node in ours:
        assert set(node.attr) == ATTRIBUTES[node.op]
        assert len(node.input) == READS[node.op]
        assert node.attr["T"].type == kind
    for node in file.of("AscendAntiQuant"):
        check_anti_quantizer(file, node)
    seen = {check_layer(file, dequant, network): dequant.name for dequant in file.of("AscendDequant")}
    used = {node.name for name in seen for node in (file.producer(file.nodes[name], i) for i in places(file, name))}
    used |= {file.producer(node, 0).name for node in file.of("AscendAntiQuant")}
    used |= {node.name for node in (*file.of("AscendDequant"), *file.of("AscendAntiQuant"))}
    assert {node.name for node in ours} == used, "operators that belong to no layer"
    keys = {layer if index is None else f"{layer}:{index}" for layer, index in places_of_records(file, seen)}
    assert keys == set(file.records)
    return set(seen)


def places(file, layer):
    """Inputs of a layer that its operators stand in front of."""
    kind = KINDS[file.nodes[layer].op]
    dynamic = f"{layer}:1" in file.records
    return (0, 1) if dynamic else (*kind.data_inputs, *(() if kind.weight_input is None else (kind.weight_input,)))


def places_of_records(file, layers):
    """(layer or node, input index) of every record that the file must have; None where the key has no index."""
    for layer in layers:
        yield layer, None
        if f"{layer}:1" in file.records:
            yield layer, 1
    for node in file.of("AscendAntiQuant"):
        for reader in file.readers(node):
            for index, name in enumerate(reader.input):
                if name.partition(":")[0] == node.name:
                    yield reader.name, index


def check_name(file, node, part, owners):
    """``<owner>/<part>/<op>`` of one of the owners, or that with a number behind it."""
    owned = (re.fullmatch(re.escape(f"{owner}/{part}/{node.op}") + r"(_\d+)?", node.name) for owner in owners)
    assert any(owned), (node.name, owners)


def owners(file, node):
    """The nodes that an operator is in front of."""
    readers = file.readers(node)
    return [name for each in readers for name in (owners(file, each) if each.op == "AscendAntiQuant" else [each.name])]


def check_quantizer(file, reader, index, key):
    record = file.records[key]
    node = file.producer(reader, index)
    assert node.op == "AscendQuant"
    check_name(file, node, "act_quant", owners(file, node))
    assert node.attr["scale"].f == np.float32(1) / np.float32(record.scale_d)
    assert node.attr["offset"].f == record.offset_d
    assert (node.attr["quant_bits"].i, node.attr["dst_type"].s) == (8, b"INT8")
    return node


def check_anti_quantizer(file, node):
    check_name(file, node, "anti_quant", owners(file, node))
    for reader in file.readers(node):
        for index, name in enumerate(reader.input):
            if name.partition(":")[0] == node.name:
                quantizer = check_quantizer(file, node, 0, f"{reader.name}:{index}")
                assert node.attr["scale"].f == np.float32(file.records[f"{reader.name}:{index}"].scale_d)
                assert node.attr["offset"].f == quantizer.attr["offset"].f


def check_layer(file, dequant, network):
    """The layer in front of an AscendDequant; returns its name."""
    layer, bias = file.layer_behind(dequant)
    record = file.records[layer.name]
    [found] = [each for each in network.layers if each.layer.name == layer.name]
    check_name(file, dequant, "dequant", [layer.name.rpartition("/")[0] or layer.name])
    dynamic = f"{layer.name}:1" in file.records
    check_quantizer(file, layer, 0 if dynamic else KINDS[layer.op].data_inputs[0], layer.name)
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
    assert list(dequant.attr["ksize"].list.i) == list(window(layer))
    assert dequant.attr["data_format"].s == (layer.attr["data_format"].s or b"NHWC")
    if record.scale_w:
        check_weights(file, layer, found)
    if bias is not None:
        check_bias(file, bias, found, record)
    return layer.name


def window(layer):
    return layer.attr["ksize"].list.i[1:3] if layer.op == "AvgPool" else (1, 1)


def check_weights(file, layer, found):
    node = file.producer(layer, KINDS[layer.op].weight_input)
    assert node.op == "AscendWeightQuant" and node.attr["dst_type"].s == b"INT8"
    check_name(file, node, "weight_quant", owners(file, node))
    weights, offsets = file.value(node, 0), file.value(node, 1)
    assert weights.dtype == offsets.dtype == np.int8 and not offsets.any()
    np.testing.assert_array_equal(weights, found.weights.values)
    record = file.records[layer.name]
    assert np.abs(weights.astype(int)).max() <= 2 ** (record.weight_bits - 1)
    if record.cluster:
        assert set(np.unique(weights)) <= set(record.cluster)
    axes = KINDS[layer.op].channel_axes if len(record.scale_w) > 1 else ()
    shape = [size if axis in axes else 1 for axis, size in enumerate(weights.shape)]
    scale = np.array(record.scale_w, np.float32).reshape(shape)
    steps = np.clip(found.float_weights / scale, -(2 ** (record.weight_bits - 1)), 2 ** (record.weight_bits - 1) - 1)
    assert np.abs(weights - steps).max() <= 0.51 or record.cluster
    assert offsets.size == len(record.scale_w)


def check_bias(file, bias, found, record):
    cast = file.producer(bias, 1)
    assert cast.op == "Cast"
    steps = file.value(cast, 0)
    assert steps.dtype == np.int32
    scale = np.float64(np.float32(record.scale_d)) * np.array(record.scale_w, np.float32).astype(np.float64)
    np.testing.assert_array_equal(steps, np.rint(found.bias.astype(np.float64) / scale))
