"""The result of quantizing one graph: the parameters of every layer, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.algorithms.search_result import SearchResult
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput
from calibrant.graph.weight_only import WeightOnlyLayer


@dataclass(frozen=True)
class QuantizedInput:
    """One activation that is quantized where one node reads it.

    Parameters
    ----------
    node : str
        Name of the reader.
    index : int
        Its input index.
    tensor : str
        The tensor it reads.
    search : SearchResult
        The quantizer, and how it was found.
    group : str | None
        Name of the joint quantization group it belongs to, or None.
    unrefined : SearchResult | None
        The result of the search in the tensor itself, if the range was changed afterwards; else None.
    """

    node: str
    index: int
    tensor: str
    search: SearchResult
    group: str | None = None
    unrefined: SearchResult | None = None

    @property
    def place(self) -> NodeInput:
        """The reader and its input index."""
        return self.node, self.index

    @property
    def quantizer(self) -> Quantizer:
        """Scale and offset."""
        return self.search.quantizer


@dataclass(frozen=True, eq=False)
class ChannelWeights:
    """Weights with a scale for each output channel, of a dense layer that has one scale for all.

    Parameters
    ----------
    weights : QuantizedWeights
        Integer weights and their scales.
    bias : np.ndarray | None
        As of :class:`QuantizedLayer`, corrected for these weights.
    """

    weights: QuantizedWeights
    bias: np.ndarray | None


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """One layer with all of its quantization parameters.

    Parameters
    ----------
    layer : Layer
        The layer in the folded graph.
    inputs : tuple[QuantizedInput, ...]
        Its quantized activations, one per data input.
    weights : QuantizedWeights | None
        Integer weights and their scales; None for a layer without weights.
    float_weights : np.ndarray | None
        The float weights, after folding and balancing.
    bias : np.ndarray | None
        The bias to be rounded to int32 steps of scale_d * scale_w, float32, shape (channels,); None without a bias.
    bias_correction : np.ndarray | None
        ``bias`` less the float network's bias, float64; None without bias correction.
    balance : np.ndarray | None
        Factors per input channel by which the activations were divided, float32; None if the layer is not balanced.
    channel_weights : ChannelWeights | None
        What formats with such kernels use in the place of ``weights`` and ``bias``; None where that was not asked for.
    """

    layer: Layer
    inputs: tuple[QuantizedInput, ...]
    weights: QuantizedWeights | None = None
    float_weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    bias_correction: np.ndarray | None = None
    balance: np.ndarray | None = None
    channel_weights: ChannelWeights | None = None

    def require_weights(self) -> QuantizedWeights:
        """The quantized weights of a layer that has some.

        Raises
        ------
        ValueError
            The layer has no weights.
        """
        if self.weights is None:
            raise ValueError(f"{self.layer.name!r} has no weights")
        return self.weights

    def bias_scale(self, quantizer: Quantizer | None = None) -> np.ndarray:
        """scale_d * scale_w per channel, in float64: the step of the int32 accumulator and of the bias."""
        scale = (quantizer or self.inputs[0].quantizer).accumulator_scale
        return np.float64(scale) * self.require_weights().scale.astype(np.float64)

    def integer_bias(self, quantizer: Quantizer | None = None) -> np.ndarray:
        """The bias as int32 in steps of :meth:`bias_scale`, saturated."""
        if self.bias is None:
            raise ValueError(f"{self.layer.name!r} has no bias")
        steps = np.rint(self.bias.astype(np.float64) / self.bias_scale(quantizer))
        limits = np.iinfo(np.int32)
        return np.clip(steps, limits.min, limits.max).astype(np.int32)


@dataclass(frozen=True, eq=False)
class QuantizedWeightOnly:
    """One layer that computes in float, with integer weights; the network's graph makes float ones of them.

    Parameters
    ----------
    layer : WeightOnlyLayer
        The layer in the folded graph.
    weights : QuantizedWeights
        Integer weights and their scales.
    """

    layer: WeightOnlyLayer
    weights: QuantizedWeights


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A folded and balanced float graph with the parameters of its layers; every emitter starts from this.

    Parameters
    ----------
    graph : Graph
        Float graph; its layers are those of ``layers``, among others that stay float.
    layers : tuple[QuantizedLayer, ...]
        The quantized layers, in graph order.
    tensors : tuple[QuantizedInput, ...]
        Inputs of MaxPool and Add nodes that are quantized without a layer.
    force_float16_scale : bool
        The fake-quantized model uses scale_d rounded to float16.
    intermediate : Mapping[str, SearchResult]
        Tensor that no layer reads → its quantizer; for exports that run on integers between layers as well.
    too_coarse : frozenset[str]
        Those of ``intermediate`` for which 8 bits are too few, so that exports leave them in float.
    weight_only : tuple[QuantizedWeightOnly, ...]
        Layers inside loops and branches of which ``graph`` has the quantized weights already.
    output_tensors : tuple[str, ...]
        Names of the graph's outputs in the model that was read. They differ if a layer that is an output got a bias:
        emitted models give the old name to the new node, see :func:`calibrant.emit.output_names.with_output_names`.
    """

    graph: Graph
    layers: tuple[QuantizedLayer, ...]
    tensors: tuple[QuantizedInput, ...] = ()
    force_float16_scale: bool = False
    intermediate: Mapping[str, SearchResult] = field(default_factory=dict)
    too_coarse: frozenset[str] = frozenset()
    weight_only: tuple[QuantizedWeightOnly, ...] = ()
    output_tensors: tuple[str, ...] = ()

    def every_input(self) -> tuple[QuantizedInput, ...]:
        """All quantized activations, those of layers first."""
        return (*(found for layer in self.layers for found in layer.inputs), *self.tensors)

    def inputs_by_place(self) -> dict[NodeInput, QuantizedInput]:
        """Where it is read → each of :meth:`every_input`, in that order."""
        return {entry.place: entry for entry in self.every_input()}

    @property
    def nonuniform_layers(self) -> tuple[str, ...]:
        """Names of the layers with non-uniform weights."""
        return tuple(
            entry.layer.name for entry in self.layers if entry.weights is not None and entry.weights.levels is not None
        )

    def constants(self, layer: QuantizedLayer) -> dict[str, int]:
        """The constants that a layer multiplies with → their sizes; some are quantized like activations."""
        if layer.weights is not None:
            return {layer.layer.weights_constant: int(layer.weights.values.size)}
        values = {found.tensor: self.graph.constant(found.tensor) for found in layer.inputs}
        return {
            self.graph.constant_source(tensor) or nd.node_name(tensor): int(value.size)
            for tensor, value in values.items()
            if value is not None
        }


@dataclass(frozen=True)
class Sensitivity:
    """The error that one layer causes, measured at the outputs (before a final Softmax).

    Parameters
    ----------
    layer, type : str
        The layer.
    only_db, only_cosine : float
        Signal-to-noise ratio and cosine against the float network with only this layer quantized.
    without_db, without_cosine : float
        The same with all layers quantized but this one.
    """

    layer: str
    type: str
    only_db: float
    only_cosine: float
    without_db: float
    without_cosine: float


@dataclass(frozen=True)
class OutputSqnr:
    """How far the quantized network's outputs are from the float network's.

    Parameters
    ----------
    by_output : dict[str, float]
        Output → signal-to-quantization-noise ratio of its median sample in decibels, before a final Softmax; at least
        one.
    samples : int
        Number of calibration samples that were run, above 0.
    not_compared : tuple[str, ...]
        The outputs that have no values there, or another number of them once quantized, as boxes above a threshold;
        of a LiteRT file also those without a tensor for what the final Softmax reads.
    undefined : Mapping[str, int]
        Output → number of samples that it has a number for that is NaN or infinite once quantized, above 0.
    undefined_at : str | None
        Where that begins, in words.
    silent : tuple[str, ...]
        The outputs of which the float network has nothing but zeros there.
    pooled : Mapping[str, float]
        Output → the ratio of all its values together: less than that of the median sample where large errors are in few
        samples.
    """

    by_output: dict[str, float]
    samples: int
    not_compared: tuple[str, ...] = ()
    undefined: Mapping[str, int] = field(default_factory=dict)
    undefined_at: str | None = None
    silent: tuple[str, ...] = ()
    pooled: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_db(self) -> float:
        """Of the output that is farthest off."""
        return min(self.by_output.values())


@dataclass(frozen=True)
class InputError:
    """The error of one quantized input.

    Parameters
    ----------
    node : str
        Name of the reader.
    index : int
        Its input index.
    arriving_db : float | None
        Signal-to-noise ratio of the tensor in the quantized network against the float network, before it is quantized
        here; None where both are equal.
    own_db : float | None
        That of rounding alone: the float network's values quantized here, as the mean over the channels of each one's
        ratio within 0 and 90 dB; None where no channel has a signal.
    channel_ratio : float
        Largest over median magnitude of the channels, at least 1.
    """

    node: str
    index: int
    arriving_db: float | None
    own_db: float | None
    channel_ratio: float


@dataclass(frozen=True)
class ErrorGrowth:
    """The errors of a network's inputs.

    Parameters
    ----------
    samples : int
        Number of samples it was measured on.
    inputs : tuple[InputError, ...]
        Of every quantized activation, in graph order.
    """

    samples: int
    inputs: tuple[InputError, ...]


@dataclass(frozen=True)
class RangeMove:
    """What leaving out the second half of the calibration data does to one quantized input.

    Parameters
    ----------
    node : str
        Name of the reader.
    index : int
        Its input index.
    moved : float
        How far an end of the range moves, as a share of the range's width.
    loss_db : float
        How much larger the error over all data is with the range of the first half, in dB, >= 0.
    """

    node: str
    index: int
    moved: float
    loss_db: float
