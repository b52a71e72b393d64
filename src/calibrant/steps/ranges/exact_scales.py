"""Step: replace every scale by the nearest one that the deployable file holds exactly, at most one last bit away."""

from __future__ import annotations

from dataclasses import replace

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.graph.ascend.scales import exact_activation_scale, exact_weight_scale
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork


def with_exact_scales(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with scales that ``NAME_quantized.pb`` reproduces exactly.

    That file holds 1/scale_d and scale_d * scale_w in float32; about one scale in four computed from them differs in
    the last bit. The last bit sometimes decides to which code of the next layer a value is rounded, so the file would
    compute other results than ``NAME_fakequant.pb``. Weights that several layers share are fitted to the first layer.
    """
    weights: dict[str, QuantizedWeights] = {}
    layers = []
    for layer in network.layers:
        layer = replace(layer, inputs=tuple(_exact(entry) for entry in layer.inputs))
        if layer.weights is not None:
            constant = layer.layer.weights_constant
            if constant not in weights:
                scale = exact_weight_scale(layer.weights.scale, layer.inputs[0].quantizer.scale)
                weights[constant] = replace(layer.weights, scale=scale)
            layer = replace(layer, weights=weights[constant])
        layers.append(layer)
    return replace(network, layers=tuple(layers), tensors=tuple(_exact(entry) for entry in network.tensors))


def _exact(entry: QuantizedInput) -> QuantizedInput:
    quantizer = entry.quantizer
    scale = exact_activation_scale(quantizer.scale)
    return replace(entry, search=replace(entry.search, quantizer=Quantizer(scale, quantizer.offset, quantizer.bits)))
