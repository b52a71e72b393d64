"""Graphs of a few nodes, and whether two of them compute the same."""

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import dtypes

from calibrant.graph import nodes as nd
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once

TO_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
TO_FIRST = {4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
LAST = {"NCHW": "NHWC", "NCDHW": "NDHWC"}


class Sketch:
    """A graph that is written down node by node. Every method returns the tensor that it adds."""

    def __init__(self, seed=0, dtype=np.float32):
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.type = dtypes.as_dtype(self.dtype)
        self.nodes = []

    def node(self, op, name, *inputs, **attributes):
        """Any node; T is filled in."""
        self.nodes.append(nd.make_node(op, name, inputs, **{"T": self.type, **attributes}))
        return name

    def input(self, *shape):
        """A placeholder called x with an open batch size."""
        node = nd.make_node("Placeholder", "x", [], dtype=self.type)
        for size in (-1, *shape):
            node.attr["shape"].shape.dim.add().size = size
        self.nodes.append(node)
        return "x"

    def constant(self, name, value, dtype=None):
        """A Const behind an Identity, as frozen variables are."""
        array = np.asarray(value, dtype or self.dtype)
        self.nodes.append(nd.constant_node(f"{name}/value", array))
        return self.node("Identity", name, f"{name}/value", T=dtypes.as_dtype(array.dtype))

    def values(self, *shape, low=-1.0, high=1.0):
        """Random numbers away from zero."""
        return self.random.uniform(low, high, shape) + np.where(low < 0, 0.05, 0.0)

    def conv(self, data, name="conv", channels=(3, 4), data_format="NHWC", op="Conv2D", weights=None, **attributes):
        """A convolution with a 3×3 window (2×2×2 in 3-D); ``channels`` are those of the input and the output."""
        axes = 3 if op == "Conv3D" else 2
        into, out = channels
        shape = {
            "Conv2D": (3, 3, into, out),
            "Conv3D": (2, 2, 2, into, out),
            "DepthwiseConv2dNative": (3, 3, into, max(out // max(into, 1), 1)),
            "Conv2DBackpropInput": (3, 3, out, into),
        }[op]
        if weights is None:
            weights = self.constant(f"{name}/weights", self.values(*shape))
        attributes = {"strides": [1] * (axes + 2), "padding": "SAME", "data_format": data_format, **attributes}
        if op == "Conv2DBackpropInput":
            size = (2, 6, 6, out) if data_format == "NHWC" else (2, out, 6, 6)
            sizes = self.constant(f"{name}/sizes", size, np.int32)
            return self.node(op, name, sizes, weights, data, **attributes)
        return self.node(op, name, data, weights, **attributes)

    def matmul(self, data, name="dense", channels=(3, 4), **attributes):
        """A product with constant weights."""
        weights = self.constant(f"{name}/weights", self.values(*channels))
        return self.node("MatMul", name, data, weights, **attributes)

    def bias_add(self, data, name="bias", channels=4, data_format="NHWC"):
        """A BiasAdd with random numbers."""
        return self.node(
            "BiasAdd", name, data, self.constant(f"{name}/b", self.values(channels)), data_format=data_format
        )

    def fused_norm(self, data, name="norm", channels=4, data_format="NHWC", op="FusedBatchNormV3", **attributes):
        """A batch norm in inference mode with random parameters."""
        limits = {"gamma": (-1.5, 1.5), "beta": (-1, 1), "mean": (-1, 1), "variance": (0.2, 3)}
        kind = np.float32 if op != "FusedBatchNorm" else self.dtype
        inputs = [
            self.constant(f"{name}/{key}", self.values(channels, low=low, high=high), kind)
            for key, (low, high) in limits.items()
        ]
        attributes = {"is_training": False, "data_format": data_format, "epsilon": 0.01, **attributes}
        if op != "FusedBatchNorm":
            attributes["U"] = dtypes.float32
        return self.node(op, name, data, *inputs, **attributes)

    def decomposed_batch_norm(self, data, name="norm", shape=(4,), scale=True, center=True):
        """Keras' BatchNormalization with fused=False: constants in small operations, then Mul and AddV2."""
        variance = self.constant(f"{name}/variance", self.values(*shape, low=0.2, high=3))
        epsilon = self.constant(f"{name}/epsilon", 0.01)
        factor = self.node("Rsqrt", f"{name}/rsqrt", self.node("AddV2", f"{name}/add", variance, epsilon))
        if scale:
            gamma = self.constant(f"{name}/gamma", self.values(*shape))
            factor = self.node("Mul", f"{name}/mul", factor, gamma)
        mean = self.constant(f"{name}/mean", self.values(*shape))
        moved = self.node("Mul", f"{name}/mul_2", mean, factor)
        if center:
            moved = self.node("Sub", f"{name}/sub", self.constant(f"{name}/beta", self.values(*shape)), moved)
        else:
            moved = self.node("Neg", f"{name}/neg", moved)
        return self.node("AddV2", name, self.node("Mul", f"{name}/mul_1", data, factor), moved)

    def graph(self, *outputs, inputs=None):
        """The graph, loaded as a user's would be."""
        return load(self.graph_def(), inputs=inputs, outputs=outputs)

    def graph_def(self):
        """The nodes as a message."""
        result = GraphDef()
        result.versions.producer = 1882
        result.node.extend(self.nodes)
        return result


def ops(graph, leave_out=("Const", "Identity", "Placeholder")):
    """The operations of a graph in order, without constants."""
    return [node.op for node in graph.nodes.values() if node.op not in leave_out]


def computing(graph):
    """What a graph computes from its inputs: name and operation of each node, and what it reads."""
    return [
        (node.name, node.op, [tensor for tensor in nd.data_inputs(node) if graph.constant(tensor) is None])
        for node in graph.nodes.values()
        if graph.constant(f"{node.name}:0") is None
    ]


def difference(original, folded, batch=2, seed=1):
    """The largest difference of any output, relative to the largest value of that output."""
    assert folded.output_keys == original.output_keys
    random = np.random.default_rng(seed)
    feeds = {}
    for key, tensor in zip(original.input_keys, original.inputs, strict=True):
        shape = [size or batch for size in original.shape(tensor)]
        feeds[key] = random.normal(size=shape).astype(original.dtype(tensor).as_numpy_dtype)
    worst = 0.0
    for before, after in zip(run_once(on_any_cpu(original), feeds), run_once(on_any_cpu(folded), feeds), strict=True):
        assert before.shape == after.shape and before.dtype == after.dtype and np.abs(before).max() > 0
        gap = np.abs(before.astype(np.float64) - after).max() / np.abs(before).max()
        worst = max(worst, float(gap))
    return worst


def on_any_cpu(graph):
    """The same function with convolutions that have their channels last: not every CPU build runs the others."""
    edit = graph.edit()
    for node in graph.nodes.values():
        if node.op not in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
            continue
        data_format = nd.attribute(node, "data_format")
        if data_format not in LAST:
            continue
        rank = len(data_format)
        data = edit.nodes[node.name].input[0]
        weights = edit.nodes[node.name].input[1]
        last = edit.add_constant(f"{node.name}/last", np.array(TO_LAST[rank], np.int32))
        first = edit.add_constant(f"{node.name}/first", np.array(TO_FIRST[rank], np.int32))
        kind = nd.attribute(node, "T")
        moved = edit.add("Transpose", f"{node.name}/moved", [data, last], T=kind, Tperm=dtypes.int32)
        inner = nd.copy_node(node, [moved, weights], edit.free_name(f"{node.name}/inner"))
        nd.set_attribute(inner, "data_format", LAST[data_format])
        edit.put(inner)
        edit.put(nd.make_node("Transpose", node.name, [inner.name, first], T=kind, Tperm=dtypes.int32))
    return edit.finish()
