"""NAME_int8_quant.json: the operators of the LiteRT file, and the original nodes they stand for."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.running.run import run_once
from calibrant.records.mapping_file import read_mapping
from graphs import conv, dense, graph_def, numbers, tf, v1
from tflite_networks import NETWORKS, contents, definition, exported, image


def folded():
    """A scale, a norm and an activation that go into the layer in front, a bias, and a layer that is the output."""
    y = tf.multiply(conv(image(), name="first"), 0.5, name="half")
    parameters = [abs(numbers(4, seed=seed)) + 0.5 for seed in range(4)]
    y, *_ = v1.nn.fused_batch_norm(y, *parameters, is_training=False, name="norm")
    y = tf.nn.relu(y, name="relu")
    dense(tf.reshape(y, [-1, 256], name="flat"), name="last")


def mapping_of(result, folder):
    """The entries, read from the file, without those of inputs; and the LiteRT file."""
    [content] = [value for name, value in result.exported.items() if name.endswith("_int8_quant.json")]
    path = folder / "map.json"
    path.write_bytes(content)
    file = File(contents(result)[0])
    ops = read_mapping(path).ops
    inputs = ops[: len(file.inputs())]
    assert [(op.name, op.type) for op in inputs] == [(tensor.name, "Placeholder") for tensor in file.inputs()]
    return ops[len(inputs) :], file


@pytest.mark.parametrize("correction", [True, False], ids=["corrected biases", "biases as they are"])
def test_says_what_every_operator_stands_for(tmp_path, correction):
    result, _ = exported(graph_def(folded), bias_correction=correction)
    ops, _ = mapping_of(result, tmp_path)
    assert [(op.type, op.original_names) for op in ops] == [
        ("QUANTIZE", ()),
        ("CONV_2D", ("first", "half", "norm", "relu")),
        ("RESHAPE", ("flat",)),
        ("FULLY_CONNECTED", ("last", "last/bias")),
        ("DEQUANTIZE", ()),
    ]


def test_a_layer_whose_bias_is_not_of_the_model(tmp_path):
    result, _ = exported(definition("residual"))
    ops, _ = mapping_of(result, tmp_path)
    layers = [op.original_names for op in ops if op.type == "CONV_2D"]
    assert layers == [("one", "Relu"), ("two",), ("three",)]
    assert [op.original_names for op in ops if op.type == "ADD"] == [("add", "Relu_1")]


@pytest.mark.parametrize("io", ["float32", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_and_every_original_node(name, io, tmp_path):
    result, _ = exported(definition(name), tflite_io=io)
    ops, file = mapping_of(result, tmp_path)
    assert [(op.name, op.type) for op in ops] == [(found.outputs[0].name, found.name) for found in file.operators()]
    assert len({op.name for op in ops}) == len(ops)
    for layer in (layer.layer.name for layer in result.network.layers):
        assert len([op for op in ops if layer in op.original_names]) == 1
    computed = {
        node.name
        for node in result.original.nodes.values()
        if node.op != "Placeholder" and result.original.constant(f"{node.name}:0") is None
    }
    assert {each for op in ops for each in op.original_names} == computed


@pytest.mark.parametrize("name", [*NETWORKS, "folded"])
def test_a_tensor_has_the_values_of_the_last_node(name, tmp_path):
    model = graph_def(folded) if name == "folded" else definition(name)
    # A bound that is behind a layer also ends what the layer makes, where both run on integers.
    result, x = exported(model, tflite_ops="layers" if name == "clipped" else "all")
    ops, file = mapping_of(result, tmp_path)
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    made = {operator.outputs[0].name: operator.outputs[0] for operator in file.operators()}
    compared = [op for op in ops if op.original_names]
    tensors = [f"{op.original_names[-1]}:0" for op in compared]
    wanted = run_once(result.original, {result.original.input_keys[0]: x}, tensors)
    for op, value in zip(compared, wanted, strict=True):
        found = runner.real(made[op.name])
        assert found.size == value.size, op
        noise = np.mean((found.reshape(value.shape) - value) ** 2, dtype=np.float64)
        assert noise <= 0.02 * np.mean(np.square(value), dtype=np.float64), op


def test_the_shape_of_a_mapping_file():
    result, _ = exported(definition("conv"))
    content = json.loads(next(value for name, value in result.exported.items() if name.endswith("_int8_quant.json")))
    [graph] = content["graph"]
    assert all(set(op) == {"name", "type", "attr"} for op in graph["op"])
    assert all([entry["key"] for entry in op["attr"]] == ["_datadump_original_op_names"] for op in graph["op"])


def test_both_exports_have_their_own(tmp_path):
    data, options = [numbers(2, 8, 8, 4)], {"out": tmp_path, "name": "net", "export": "tflite,ascend"}
    calibrant.quantize(definition("conv"), data=data, **options)
    ascend, tflite = (
        {op.type for op in read_mapping(tmp_path / name).ops} for name in ("net_quant.json", "net_int8_quant.json")
    )
    layer = {"AscendQuant", "AscendWeightQuant", "Conv2D", "Cast", "BiasAdd", "AscendDequant"}
    assert ascend == {"Placeholder", *layer, "Identity"}
    assert tflite == {"Placeholder", "QUANTIZE", "CONV_2D", "DEQUANTIZE"}
