"""Every graph that is written has the nodes that are outputs of the model, by their names."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf
from tflite_networks import contents


def network():
    """A last layer without bias, and nodes with the names that emitters would give to others."""
    x = placeholder([None, 8, 8, 4])
    y = tf.nn.relu(conv(x, name="one"))
    last = conv(y, name="lo", seed=4)
    for name in ("twin", "other_twin"):
        tf.identity(last, name=name)
    for seed, name in enumerate(("lo/bias", "lo/read")):
        conv(y, name=name, seed=seed + 5)


@pytest.mark.parametrize(
    "names",
    [["lo"], ["twin", "other_twin"], ["lo", "twin"], ["lo", "x"], ["lo", "lo/read"], ["lo/bias", "lo"]],
    ids=" ".join,
)
def test_outputs_keep_their_names_in_every_graph(names):
    model, x = graph_def(network), numbers(8, 8, 8, 4)
    result = calibrant.quantize(model, "batch_num: 1", [x], export=["tflite", "ascend"], outputs=names)
    graphs = {"fake-quantized": result.fakequant}
    graphs |= {name: load(content, inputs="x", outputs=names) for name, content in definitions(result).items()}
    wanted = dict(zip(names, run_once(load(model, outputs=names), {"x": x}), strict=True))
    assert len(graphs) == 3
    for graph in graphs.values():
        found = run_once(graph, dict.fromkeys(graph.input_keys, x), [f"{name}:0" for name in names])
        for name, values in zip(names, found, strict=True):
            assert np.mean((values - wanted[name]) ** 2) < 0.01 * np.mean(wanted[name] ** 2), name  # 20 dB


def test_a_second_result_of_a_node_takes_no_name_of_another_output():
    def split():
        x = placeholder([None, 8])
        tf.split(tf.matmul(x, numbers(8, 6)), 2, -1, name="s")
        tf.matmul(x, numbers(8, 5, seed=2), name="s_1")

    model, x = graph_def(split), numbers(32, 8)
    result = calibrant.quantize(model, "batch_num: 1", [x], export="tflite", outputs=["s:1", "s:0", "s_1:0"])
    [content] = [value for name, value in definitions(result).items() if name.endswith("_int8_fakequant.pb")]
    wanted = run_once(load(model, outputs=["s:0", "s_1:0"]), {"x": x})
    found = run_once(load(content, inputs="x", outputs=["s:0", "s_1:0"]), {"x": x})
    for values, expected in zip(found, wanted, strict=True):
        assert np.mean((values - expected) ** 2) < 0.01 * np.mean(expected**2)


@pytest.mark.parametrize("io", ["float32", "int8"])
def test_the_tensors_of_a_litert_file_are_called_as_the_outputs(io):
    result = calibrant.quantize(
        graph_def(network), "batch_num: 1", [numbers(8, 8, 8, 4)], export="tflite", outputs=["lo"], tflite_io=io
    )
    assert [tensor.name for tensor in File(contents(result)[0]).outputs()] == ["lo"]


def definitions(result):
    from tensorflow.core.framework.graph_pb2 import GraphDef

    return {name: GraphDef.FromString(content) for name, content in result.exported.items() if name.endswith(".pb")}
