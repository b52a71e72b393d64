"""Step: every scale onto the next one that the deployable file can hold without loss, at most one last bit away."""

from __future__ import annotations

from dataclasses import replace

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.graph.ascend.scales import exact_activation_scale, exact_weight_scale
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork


def with_exact_scales(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with scales that come back unchanged from ``NAME_quantized.pb``.

    That file has 1/scale_d and scale_d * scale_w in float32, from which about one scale in four comes back
    one last bit away. As the last bit of a product decides now and then on which side of a rounding the next layer's
    code falls, the file would then be another network than ``NAME_fakequant.pb``. Weights that several layers share
    are fitted to the first of them.
    """
    weights: dict[str, QuantizedWeights] = {}
    layers = []
    for layer in network.layers:
        inputs = tuple(_exact(found) for found in layer.inputs)
        if layer.weights is not None and layer.layer.constant not in weights:
            scale = exact_weight_scale(layer.weights.scale, inputs[0].quantizer.scale)
            weights[layer.layer.constant] = replace(layer.weights, scale=scale)
        layers.append(replace(layer, inputs=inputs, weights=_of(layer, weights)))
    return replace(network, layers=tuple(layers), tensors=tuple(_exact(found) for found in network.tensors))


def _of(layer: QuantizedLayer, weights: dict[str, QuantizedWeights]) -> QuantizedWeights | None:
    return None if layer.weights is None else weights[layer.layer.constant]


def _exact(found: QuantizedInput) -> QuantizedInput:
    quantizer = found.quantizer
    scale = exact_activation_scale(quantizer.scale)
    return replace(found, search=replace(found.search, quantizer=Quantizer(scale, quantizer.offset, quantizer.bits)))
