"""Non-uniform weights in the files that are deployed: few distinct int8 values, so that the files compress."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import tensor_util

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.reading.load import load
from graphs import numbers
from tflite_networks import definition

LEVELS = 16


def weights_in_graph(path):
    """Every int8 constant of a deployable file but the offsets."""
    graph_def = GraphDef.FromString(path.read_bytes())
    constants = (node for node in graph_def.node if node.op == "Const")
    values = (tensor_util.MakeNdarray(node.attr["value"].tensor) for node in constants)
    weights = [value for value in values if value.dtype == np.int8 and value.any()]
    assert len(weights) == sum(node.op == "AscendWeightQuant" for node in graph_def.node)
    return weights


def weights_in_flatbuffer(path):
    """Every int8 constant of a LiteRT file."""
    constants = (tensor for tensor in File(path.read_bytes()).tensors() if tensor.values is not None)
    return [tensor.values for tensor in constants if tensor.dtype == np.int8]


READERS = {"net_quantized.pb": weights_in_graph, "net_int8.tflite": weights_in_flatbuffer}


def quantize(model, config, data, out):
    return calibrant.quantize(model, config, data, out, export="ascend,tflite", name="net")


@pytest.mark.parametrize("name", ["residual", "depthwise, multiplier 2", "transposed", "global average"])
def test_no_layer_has_more_values_than_levels(name, tmp_path):
    config = f"common_config {{ nuq_quantize {{ num_steps : {LEVELS} }} }}"
    model = definition(name)
    shape = load(model).shape("x:0")
    result = quantize(model, config, [numbers(shape[0] or 4, *shape[1:])], tmp_path)
    layers = [layer for layer in result.network.layers if layer.weights is not None]
    found = {}
    for file, read in READERS.items():
        found[file] = read(tmp_path / file)
        assert len(found[file]) == len(layers)
        assert all(2 < np.unique(values).size <= LEVELS for values in found[file])
    one, other = ([sorted(np.unique(values)) for values in each] for each in found.values())
    assert sorted(one) == sorted(other), "both files hold the same levels"


@pytest.mark.real
def test_both_files_are_a_quarter_smaller_when_compressed(shared, tmp_path):
    folder = shared / "real" / "resnet8_cifar10"
    data = f"{folder / 'cifar10_part.npz'}:x_calibration[:64]"
    uniform = quantize(folder / "resnet8.pb", "batch_num : 4", data, tmp_path / "uniform")
    names = [layer.layer.name for layer in uniform.network.layers if layer.weights is not None]
    ops = [{"name": n, "type": "Conv2D", "attr": [{"key": "_fe_weight_compress", "value": {"b": True}}]} for n in names]
    (tmp_path / "offline.json").write_text(json.dumps({"graph": [{"op": ops}]}))
    config = tmp_path / "nuq.cfg"
    settings = f'mapping_file : "offline.json" nuq_quantize {{ num_steps : {LEVELS} }}'
    config.write_text(f"batch_num : 4 nuq_config {{ {settings} }}")
    quantize(folder / "resnet8.pb", config, data, tmp_path / "few")
    for file, read in READERS.items():
        weights = read(tmp_path / "few" / file)
        assert [np.unique(values).size <= LEVELS for values in weights] == [True] * len(names)
        sizes = [len(gzip.compress((tmp_path / kind / file).read_bytes(), mtime=0)) for kind in ("uniform", "few")]
        assert sizes[1] <= 0.75 * sizes[0], (file, sizes)
