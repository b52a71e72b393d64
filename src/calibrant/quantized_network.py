"""What the quantization of one graph came to: the factors of every layer, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.algorithms.search_result import SearchResult
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer


@dataclass(frozen=True)
class QuantizedInput:
    """One activation that is quantized where one node reads it.

    Parameters
    ----------
    node, index : the reader and its input index.
    tensor : the tensor it reads.
    search : the factors and how they were found.
    group : name of the joint quantization group it belongs to, or None.
    unrefined : what the search in the tensor itself had found, where the range was moved afterwards; else None.
    """

    node: str
    index: int
    tensor: str
    search: SearchResult
    group: str | None = None
    unrefined: SearchResult | None = None

    @property
    def quantizer(self) -> Quantizer:
        """Scale and offset."""
        return self.search.quantizer


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """One layer with everything that was found for it.

    Parameters
    ----------
    layer : the layer in the folded graph.
    inputs : its quantized activations, one per data input.
    weights : integer weights and their scales; None for a layer without weights.
    float_weights : the weights they stand for, balanced, folded and all.
    bias : float32, shape (channels,); the bias to be rounded to int32 steps of scale_d * scale_w; None where there
        is none.
    bias_correction : what ``bias`` holds more than the float network's, float64; None without bias correction.
    balance : float32 factors per input channel by which the activations were divided; None where the layer is not
        balanced.
    """

    layer: Layer
    inputs: tuple[QuantizedInput, ...]
    weights: QuantizedWeights | None = None
    float_weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    bias_correction: np.ndarray | None = None
    balance: np.ndarray | None = None

    def bias_scale(self, quantizer: Quantizer | None = None) -> np.ndarray:
        """scale_d * scale_w per channel, in float64: the step of the int32 accumulator and of the bias."""
        scale = (quantizer or self.inputs[0].quantizer).scale
        return np.float64(scale) * self.weights.scale.astype(np.float64)

    def integer_bias(self, quantizer: Quantizer | None = None) -> np.ndarray:
        """The bias as int32 in steps of :meth:`bias_scale`, saturated."""
        steps = np.rint(self.bias.astype(np.float64) / self.bias_scale(quantizer))
        limits = np.iinfo(np.int32)
        return np.clip(steps, limits.min, limits.max).astype(np.int32)


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A folded and balanced float graph together with the factors of its layers; every emitter starts from this.

    Parameters
    ----------
    graph : float graph; its layers are those of ``layers``, among others that stay float.
    layers : in graph order.
    tensors : inputs of MaxPool and Add nodes that are quantized without a layer.
    force_float16_scale : the fake-quantized model uses scale_d rounded to float16.
    between : tensor → factors of tensors that no layer reads; for exports that run on integers between layers as well.
    output_tensors : names of the graph's outputs in the model that was read. They differ where a layer that is an
        output got a bias: emitted models give the old name to the new node, see
        :func:`calibrant.emit.output_names.with_output_names`.
    """

    graph: Graph
    layers: tuple[QuantizedLayer, ...]
    tensors: tuple[QuantizedInput, ...] = ()
    force_float16_scale: bool = False
    intermediate: Mapping[str, SearchResult] = field(default_factory=dict)
    output_tensors: tuple[str, ...] = ()

    def every_input(self) -> tuple[QuantizedInput, ...]:
        """All quantized activations, those of layers first."""
        return (*(found for layer in self.layers for found in layer.inputs), *self.tensors)


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs, measured where the outputs come from (in front of a final Softmax).

    Parameters
    ----------
    layer, type : the layer.
    only_db, only_cosine : signal-to-noise ratio and cosine against the float network with only this layer quantized.
    without_db, without_cosine : the same with all layers quantized but this one.
    """

    layer: str
    type: str
    only_db: float
    only_cosine: float
    without_db: float
    without_cosine: float
