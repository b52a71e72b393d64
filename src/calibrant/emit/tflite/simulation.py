"""What a LiteRT file computes, as a graph of stock operations: the fake-quantized model with quantizers between layers.

``NAME_fakequant.pb`` quantizes where layers read, as the device does. A file of integer kernels rounds behind every
layer, addition and pooling as well; this graph shows what that alone costs, and the file is held against it. Float
operations round as LiteRT's float kernels do, as far as stock operations can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from tensorflow.python.framework import dtypes

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.search_result import SearchResult
from calibrant.emit.fakequant import fake_quantized
from calibrant.emit.tflite.float_kernels import means_in_kernel_order, powers_as_products, same_reciprocal_roots
from calibrant.emit.tflite.integer_layers import layers_on_integers
from calibrant.emit.tflite.integer_part import IntegerPart
from calibrant.emit.tflite.integer_rounding import round_as_kernels
from calibrant.emit.tflite.simulated_codes import stop_name
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork


def simulation(network: QuantizedNetwork, part: IntegerPart, factors: Mapping[str, Quantizer]) -> Graph:
    """The graph; ``factors`` are those of every tensor of the integer part.

    The tensor ``x`` is rounded behind a node called ``x/between``; other names are those of the fake-quantized model.
    """
    edit = network.graph.edit()
    outputs = list(network.graph.outputs)
    stops: dict[str, str] = {}
    for tensor in factors:
        stops[tensor] = edit.add("Identity", stop_name(tensor), [tensor], T=dtypes.float32)
        for reader, index in network.graph.consumers(tensor):
            edit.set_input(reader.name, index, stops[tensor])
        outputs = [stops[tensor] if output == tensor else output for output in outputs]
    same_reciprocal_roots(edit)
    powers_as_products(edit)
    intermediate = [
        QuantizedInput(nd.node_name(stop), 0, tensor, _found(factors[tensor])) for tensor, stop in stops.items()
    ]
    layers = [replace(layer, inputs=tuple(_moved(found, stops) for found in layer.inputs)) for layer in network.layers]
    tensors = [*(_moved(found, stops) for found in network.tensors), *intermediate]
    graph = edit.finish(outputs=tuple(outputs))
    changed = replace(
        network, graph=graph, layers=tuple(layers), tensors=tuple(tensors), intermediate={}, output_tensors=()
    )
    rounded = fake_quantized(changed).edit()
    round_as_kernels(rounded, network, part, factors)
    layers_on_integers(rounded, network, factors)
    return means_in_kernel_order(rounded.finish())


def _moved(found: QuantizedInput, stops: Mapping[str, str]) -> QuantizedInput:
    return replace(found, tensor=stops.get(found.tensor, found.tensor))


def _found(quantizer: Quantizer) -> SearchResult:
    low, high = quantizer.range
    return SearchResult(quantizer, low, high, float(np.nan), float(np.nan), True, True, 0)
