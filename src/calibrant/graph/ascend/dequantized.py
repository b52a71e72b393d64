"""Matched layers in the form of the fake-quantized model: dequantized inputs, weights and bias.

The integer product times a scale and the product of dequantized operands are the same number, but not the same float32:
they differ in the last bit, which the next quantizer now and then turns into a whole step. In this form a file of
calibrant gives the very bits of the fake-quantized model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arq import broadcast_shape
from calibrant.graph import nodes as nd
from calibrant.graph.ascend.attributes import accumulator_type, float_type, scale_of
from calibrant.graph.ascend.matched import MatchedLayer
from calibrant.graph.ascend.scales import activation_scale, weight_scale
from calibrant.graph.ascend.scoped_builder import ScopedBuilder
from calibrant.graph.tf_core import NodeDef, dtypes


@dataclass
class DequantizedLayers:
    """Rewrites layers one by one; tensors and weights that several layers read are made once.

    ``dequantized`` are the new nodes that turn codes into floats.
    """

    pieces: ScopedBuilder
    dequantized: set[str] = field(default_factory=set)
    _tensors: dict[str, str] = field(default_factory=dict)
    _weights: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def rewrite(self, matched: MatchedLayer) -> None:
        """Let the layer compute on dequantized values; AscendDequant becomes an Identity."""
        kind = float_type(matched.dequant)
        inputs = list(nd.data_inputs(matched.layer))
        scale_d = np.float64(1)
        for index, quantizer in matched.quantizers.items():
            inputs[index] = self._dequantized(quantizer, inputs[index])
            scale_d *= np.float64(activation_scale(scale_of(quantizer)))
        step: np.ndarray | np.float64 = scale_d
        if matched.weight_input is not None and matched.weights is not None:
            scale_w = weight_scale(matched.scale, scale_d)
            step = scale_d * scale_w.astype(np.float64)
            source = inputs[matched.weight_input]
            inputs[matched.weight_input] = self._dequantized_weights(matched, source, matched.weights, scale_w, kind)
        self._read(matched.layer, inputs)
        if matched.bias is not None and matched.steps is not None:
            value = (matched.steps.astype(np.float64) * step).astype(kind.as_numpy_dtype)
            name = f"{matched.layer.name}/bias_dequantized"
            self._read(matched.bias, [nd.data_inputs(matched.bias)[0], self.pieces.add_constant(name, value)])
        result = self.pieces.add("Identity", f"{matched.dequant.name}/x", [nd.data_inputs(matched.dequant)[0]], T=kind)
        self.pieces.replace(matched.dequant.name, result)

    def _read(self, node: NodeDef, inputs: list[str]) -> None:
        controls = [f"^{control}" for control in nd.control_inputs(node)]
        self.pieces.nodes[node.name] = nd.copy_node(node, [*inputs, *controls])

    def _dequantized(self, quantizer: NodeDef, codes: str) -> str:
        if quantizer.name not in self._tensors:
            kind, wide = float_type(quantizer), accumulator_type(quantizer)
            value = np.asarray(activation_scale(scale_of(quantizer)), wide.as_numpy_dtype)
            scale = self.pieces.add_factor(f"{quantizer.name}/scale", value)
            result = self.pieces.add("Mul", f"{quantizer.name}/dequantized", [codes, scale], T=wide)
            self.dequantized.add(nd.node_name(result))
            self._tensors[quantizer.name] = self.pieces.cast(result, f"{quantizer.name}/narrow", wide, kind)
        return self._tensors[quantizer.name]

    def _dequantized_weights(
        self, matched: MatchedLayer, source: str, weights: np.ndarray, scale_w: np.ndarray, kind: dtypes.DType
    ) -> str:
        key = (source, scale_w.tobytes())
        if key not in self._weights:
            values = weights * scale_w.reshape(broadcast_shape(weights.shape, matched.channel_axes))
            name = f"{matched.layer.name}/weights_dequantized"
            self._weights[key] = self.pieces.add_constant(name, values.astype(kind.as_numpy_dtype))
        return self._weights[key]
