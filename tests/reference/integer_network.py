"""A network as the device computes it: int8 codes, int32 accumulators, one multiplication at the end of each layer.

Slow and plain: NumPy only, one node after the other, windows cut out one by one.
"""

from __future__ import annotations

import itertools

import numpy as np

from calibrant.graph import nodes as nd

ELEMENTWISE = {
    "Relu": lambda x: np.maximum(x, 0),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "Identity": lambda x: x,
    "Softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "AddV2": lambda a, b: a + b,
    "Mul": lambda a, b: a * b,
    "Mean": lambda x, axes: x.mean(tuple(int(axis) for axis in np.ravel(axes))),
}


def integer_outputs(network, batch):
    """The outputs of a quantized network, layers in integers and all else in float64."""
    values = {
        nd.node_name(tensor): np.asarray(batch[key])
        for key, tensor in zip(network.graph.input_keys, network.graph.inputs, strict=True)
    }
    return [_value(network, nd.node_name(tensor), values) for tensor in network.graph.outputs]


def _value(network, name, values):
    """What a node gives, computed from what it reads."""
    if name not in values:
        constant = network.graph.constant(f"{name}:0")
        values[name] = _computed(network, name, values) if constant is None else constant
    return values[name]


def _computed(network, name, values):
    graph, node = network.graph, network.graph.nodes[name]
    read = nd.data_inputs(node)
    data = _value(network, nd.node_name(read[0]), values)
    for layer in network.layers:
        if layer.layer.name == name:
            return _layer(node, layer, data)
        if layer.bias is not None and layer.layer.bias == name:
            return data + layer.integer_bias().astype(np.int64) * layer.bias_scale()
    if node.op == "Reshape":
        return data.reshape(len(data), *graph.shape(f"{name}:0")[1:])
    if node.op == "MaxPool":
        largest = [window.max((1, 2)) for window in _windows(node, data, nd.attribute(node, "ksize")[1:3], -np.inf)]
        return np.stack(largest, 1).reshape(_pooled(node, data))
    return ELEMENTWISE[node.op](data, *(_value(network, nd.node_name(tensor), values) for tensor in read[1:]))


def _layer(node, layer, data):
    """Accumulate codes without their offset in integers; scale the sums."""
    quantizer = layer.inputs[0].quantizer
    codes = quantizer.quantize(data.astype(np.float32)).astype(np.int64) - quantizer.offset
    if layer.weights is None:
        ones = _windows(node, np.ones_like(codes), nd.attribute(node, "ksize")[1:3])
        sums = _windows(node, codes, nd.attribute(node, "ksize")[1:3])
        means = [s.sum((1, 2)) / o.sum((1, 2)) for s, o in zip(sums, ones, strict=True)]
        return np.stack(means, 1).reshape(_pooled(node, codes)) * np.float64(quantizer.scale)
    weights = layer.weights.values.astype(np.int64)
    if node.op == "MatMul":
        sums = codes @ weights
    else:
        height, width, into, out = weights.shape
        found = [_products(node, window, weights) for window in _windows(node, codes, (height, width))]
        channels = into * out if node.op == "DepthwiseConv2dNative" else out
        sums = np.stack(found, 1).reshape(*_pooled(node, codes, (height, width))[:3], channels)
    assert np.abs(sums).max() < 2**31, "the accumulator has 32 bits"
    return sums * layer.bias_scale()


def _products(node, window, weights):
    if node.op == "DepthwiseConv2dNative":
        return np.einsum("nhwi,hwim->nim", window, weights).reshape(len(window), -1)
    return np.einsum("nhwi,hwio->no", window, weights)


def _windows(node, data, size, fill=0):
    """The windows of an NHWC array in row-major order, padded with zeros (codes without offset)."""
    strides = nd.attribute(node, "strides")[1:3]
    counts = _pooled(node, data, size)[1:3]
    padded = data
    for axis, (window, stride, count) in enumerate(zip(size, strides, counts, strict=True), start=1):
        missing = max((count - 1) * stride + window - data.shape[axis], 0)
        around = [(0, 0)] * 4
        around[axis] = (missing // 2, missing - missing // 2)
        padded = np.pad(padded, around, constant_values=fill) if missing else padded
    for row, column in itertools.product(*map(range, counts)):
        top, left = row * strides[0], column * strides[1]
        yield padded[:, top : top + size[0], left : left + size[1]]


def _pooled(node, data, size=None):
    """Shape of the output for windows of this size."""
    size = size or nd.attribute(node, "ksize")[1:3]
    strides = nd.attribute(node, "strides")[1:3]
    same = nd.attribute(node, "padding") == "SAME"
    counts = [-(-n // s) if same else (n - w) // s + 1 for n, w, s in zip(data.shape[1:3], size, strides, strict=True)]
    return (len(data), *counts, data.shape[3])
