"""What a configuration is told about a graph, the places that get quantizers, and the records of the factors."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calibrant
from calibrant.fold import fold
from calibrant.graph.reading.load import load
from calibrant.records.record_file import read_records
from calibrant.result import result_files
from calibrant.steps.graph_info import graph_info
from calibrant.steps.records import layer_records
from graphs import conv, dense, graph_def, numbers, placeholder, small_network, tf, two_layers_in_float


def additions():
    """Additions of activations, of a constant and of integers, and a pool."""
    x = placeholder([None, 6, 6, 4])
    y = tf.add(conv(x, name="conv"), x, name="residual")
    y = tf.add(y, tf.constant(numbers(1, 6, 6, 1)), name="shifted")
    y = tf.nn.max_pool2d(y, 2, 2, "SAME", name="largest")
    sizes = tf.add(tf.shape(y), [0, 0, 0, 0], name="sizes")
    tf.reshape(y, sizes, name="out")


def facts_of(build):
    graph = load(graph_def(build))
    return graph_info(graph, fold(graph).graph)[0]


def test_layers_that_depend_on_no_input_are_counted():
    def rows_of_what_is_known():
        states = dense(tf.nn.relu(dense(tf.constant(numbers(5, 4)), 6, "one")), 3, "two")
        tf.gather(states, placeholder([None], "x", tf.int32), name="out")

    info = facts_of(rows_of_what_is_known)
    assert (info.layers, info.constant_layers) == ((), 2)
    assert facts_of(small_network).constant_layers == 0


def test_tensors_that_can_be_quantized_without_a_layer():
    info = facts_of(additions)
    assert info.float_inputs == {
        "residual": (True, True),
        "shifted": (True, False),
        "largest": (True,),
        "sizes": (False, False),
    }


@pytest.mark.parametrize("node, index", [("shifted", 1), ("sizes", 0), ("largest", 1), ("conv", 0), ("nothing", 0)])
def test_other_tensors_are_refused(node, index):
    text = f'tensor_quantize {{ layer_name : "{node}" input_index : {index} }}'
    with pytest.raises(calibrant.ConfigError, match="tensor_quantize"):
        calibrant.quantize(graph_def(additions), text, numbers(16, 6, 6, 4))


def folded_addition():
    x = placeholder([None, 6, 6, 4])
    y = tf.add(conv(x, name="conv"), tf.constant(numbers(4)), name="bias")
    tf.nn.relu(y, name="out")


def test_an_addition_that_was_folded_says_so_and_the_hint_works():
    text = 'tensor_quantize { layer_name : "bias" input_index : 0 }'
    with pytest.raises(calibrant.ConfigError) as error:
        calibrant.quantize(graph_def(folded_addition), text, numbers(16, 6, 6, 4))
    (problem,) = error.value.problems
    assert problem.message == "'bias' is gone: it was folded into 'conv'"
    setting, _ = problem.hint.split(" keeps it")
    result = calibrant.quantize(graph_def(folded_addition), f"{setting}\n{text}", numbers(16, 6, 6, 4))
    assert [f"{entry.node}:{entry.index}" for entry in result.network.tensors] == ["bias:0"]


def test_layers_and_what_comes_near():
    info = facts_of(two_layers_in_float)
    assert [(layer.name, layer.has_channels, layer.has_weights) for layer in info.layers] == [("dense", False, True)]
    assert {name for name, _, _ in info.rejected} == {"transposed", "dynamic"}


def test_records_have_every_factor_and_can_be_read_back(tmp_path):
    text = 'tensor_quantize { layer_name : "residual" input_index : 1 }'
    result = calibrant.quantize(graph_def(additions), text, numbers(16, 6, 6, 4), tmp_path)
    records = read_records(tmp_path / "record.txt")
    assert records == layer_records(result.network)
    assert list(records) == ["conv", "residual:1"]
    (conv_layer,) = result.network.layers
    assert records["conv"].scale_d == conv_layer.inputs[0].quantizer.scale
    assert records["conv"].scale_w == tuple(conv_layer.weights.scale)
    assert records["residual:1"].scale_w == ()


def test_biases_that_do_not_fit_into_32_bits_are_told():
    def build():
        x = placeholder([None, 4])
        y = tf.matmul(x, tf.constant(numbers(4, 3) * np.float32(1e-5)), name="faint")
        tf.identity(tf.nn.bias_add(y, tf.constant([1e38, 0.0, -1e38])), name="out")

    result = calibrant.quantize(graph_def(build), data=numbers(16, 4) * np.float32(1e-30))
    (warning,) = (entry for entry in result.report["warnings"] if "32 bits" in entry)
    assert "'faint': 2 of 3 biases" in warning
    assert calibrant.quantize(graph_def(small_network), data=numbers(32, 6, 6, 2)).report["warnings"] == []


def test_the_node_map_names_the_original_nodes():
    """Every original node that computes something between input and output is in exactly one place or was a norm's."""

    def build():
        y = conv(placeholder([None, 6, 6, 2]), name="conv")
        parameters = (tf.constant(np.abs(numbers(4, seed=n)) + 0.1) for n in range(4))
        y = tf.compat.v1.nn.fused_batch_norm(y, *parameters, is_training=False, name="norm")[0]
        tf.identity(dense(tf.reshape(y, [-1, 144], name="flat")), name="out")

    result = calibrant.quantize(graph_def(build), data=numbers(16, 6, 6, 2))
    ops = json.loads(result_files(result)["model_quant.json"])["graph"][0]["op"]
    emitted = {op["name"] for op in ops}
    assert emitted == {
        name
        for name, node in result.fakequant.nodes.items()
        if node.op != "Const" and (node.op != "PlaceholderWithDefault")
    }
    origins = {}
    for op in ops:
        (attribute,) = [entry for entry in op["attr"] if entry["key"] == "_datadump_original_op_names"]
        origins[op["name"]] = attribute["value"]["list"].get("s", [])
    assert set(origins["conv"]) | set(origins.get("norm", [])) >= {"conv", "norm"}
    assert origins["dense"] == ["dense"] and origins["out"] == ["out"]
    assert origins["conv/act_quant/scaled"] == []
