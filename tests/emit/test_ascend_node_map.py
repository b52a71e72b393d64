"""NAME_quant.json of the deployable file: its nodes, and the original nodes they stand for."""

import json

from ascend_networks import biased, conv, image, numbers, tf, v1

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import input_shapes
from calibrant.records.mapping_file import read_mapping
from graphs import graph_def


def network():
    y = tf.multiply(conv(image(), name="first"), 0.5, name="half")
    parameters = [abs(numbers(4, seed=seed)) + 0.5 for seed in range(4)]
    y, *_ = v1.nn.fused_batch_norm(y, *parameters, is_training=False, name="norm")
    y = tf.nn.relu(y, name="relu")
    biased(conv(y, name="last"), "last")


def written(tmp_path):
    graph = load(graph_def(network))
    [(key, (shape, _))] = input_shapes(graph).items()
    data = [{key: numbers(2, *shape[1:])}]
    calibrant.quantize(graph, data=data, out=tmp_path, name="net", export="ascend")
    return graph, read_mapping(tmp_path / "net_quant.json")


def test_says_what_every_node_stands_for(tmp_path):
    _, mapping = written(tmp_path)
    found = {op.name: (op.type, op.original_names) for op in mapping.ops}
    assert found == {
        "x": ("Placeholder", ("x",)),
        "first/Conv2D/act_quant/AscendQuant": ("AscendQuant", ()),
        "first/Conv2D/weight_quant/AscendWeightQuant": ("AscendWeightQuant", ()),
        "first/Conv2D/bias_quant/Cast": ("Cast", ()),
        "first/Conv2D": ("Conv2D", ("first/Conv2D",)),
        "norm": ("BiasAdd", ("norm",)),
        "first/dequant/AscendDequant": ("AscendDequant", ("first/Conv2D", "half", "norm")),
        "relu": ("Relu", ("relu",)),
        "last/Conv2D/act_quant/AscendQuant": ("AscendQuant", ()),
        "last/Conv2D/weight_quant/AscendWeightQuant": ("AscendWeightQuant", ()),
        "last/Conv2D/bias_quant/Cast": ("Cast", ()),
        "last/Conv2D": ("Conv2D", ("last/Conv2D",)),
        "last/bias/accumulator": ("BiasAdd", ("last/bias",)),
        "last/dequant/AscendDequant": ("AscendDequant", ("last/Conv2D", "last/bias")),
        "last/bias": ("Identity", ("last/bias",)),
    }


def test_every_node_that_computes_is_in_it_and_every_name_is_an_original(tmp_path):
    graph, mapping = written(tmp_path)
    from tensorflow.core.framework.graph_pb2 import GraphDef

    emitted = GraphDef.FromString((tmp_path / "net_quantized.pb").read_bytes())
    assert [op.name for op in mapping.ops] == [node.name for node in emitted.node if node.op != "Const"]
    assert {name for op in mapping.ops for name in op.original_names} <= set(graph.nodes)


def test_the_shape_of_a_mapping_file(tmp_path):
    written(tmp_path)
    content = json.loads((tmp_path / "net_quant.json").read_text())
    [graph] = content["graph"]
    assert all(set(op) == {"name", "type", "attr"} for op in graph["op"])
    assert all(op["attr"][0]["key"] == "_datadump_original_op_names" for op in graph["op"])
