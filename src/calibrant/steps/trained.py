"""Step: a network with FakeQuant nodes → the parameters that its layers were trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arq import broadcast_shape, channels_last, quantize_weights
from calibrant.errors import ModelError, Problem
from calibrant.fold import fold
from calibrant.graph import nodes as nd
from calibrant.graph.fake_quant import FakeQuant, read_fake_quants
from calibrant.graph.graph import Graph
from calibrant.graph.inference.constant_folding import fold_constants
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.records.layer_record import LayerRecord
from calibrant.steps.trained_tensors import KEEPS_VALUES

_WHOLE = 1e-3  # largest distance from a whole number of a weight on the grid


@dataclass(frozen=True, eq=False)
class Trained:
    """The parameters in the FakeQuant nodes of a network.

    Parameters
    ----------
    graph : Graph
        The network; weights have the values that the FakeQuant nodes gave them.
    activations : Mapping[str, FakeQuant]
        The nodes that are still in it and can be quantizers, for :mod:`calibrant.steps.trained_tensors`.
    records : Mapping[str, LayerRecord]
        Layer → its record.
    warnings : tuple[str, ...]
        Sentences for the user.
    """

    graph: Graph
    activations: Mapping[str, FakeQuant]
    records: Mapping[str, LayerRecord]
    warnings: tuple[str, ...] = field(default=())


def trained_network(original: Graph) -> Trained:
    """Read the parameters of every layer whose weights and activations have FakeQuant nodes; others stay in float.

    Batch norms are folded into the trained weights: the integers stay, and each channel's scale absorbs the factor.

    Raises
    ------
    ModelError
        There is no FakeQuant node, or one without 8 bits or a constant range, or no layer has both.
    """
    original = fold_constants(original)
    fakes, problems = read_fake_quants(original)
    if problems:
        raise ModelError(*problems[:20])
    if not fakes:
        message, hint = "has no FakeQuant node", "quantize calibrates a float network; convert takes a record file, too"
        raise ModelError(Problem(message, file=original.source, hint=hint))
    graph = _with_trained_weights(original, fakes)
    on_activations = {name: fake for name, fake in fakes.items() if graph.constant(f"{name}:0") is None}
    quantizing = {
        name: fake for name, fake in on_activations.items() if fake.quantizer and name not in original.regions
    }
    layers = {layer.name: layer for layer in find_layers(graph)[0]}
    skip, folded = _fold_on_grid(graph, layers)
    records: dict[str, LayerRecord] = {}
    left: list[str] = []
    moved: list[str] = []
    clipped: list[str] = []
    for name, layer in layers.items():
        sources = [_activation(original, layer, index, fakes) for index in layer.data_inputs]
        activations = [source for source in sources if source is not None]
        fake = _source(original, layer.weights_place, fakes) if layer.constant is not None else None
        if len(activations) < len(sources) or (layer.constant is not None and fake is None):
            left.append(name)
            continue
        scale_w, on_grid = _weight_scale(graph, folded, layer, fake) if fake is not None else (np.zeros(0), True)
        moved += [] if on_grid else [name]
        clipped += [name] if on_grid and fake is not None and _exceed(folded, layer, scale_w) else []
        for position, (index, activation) in enumerate(zip(layer.data_inputs, activations, strict=True)):
            records[name if position == 0 else f"{name}:{index}"] = LayerRecord(
                scale_d=float(activation.scale[0]),
                offset_d=int(activation.zero_point[0]) - 128,
                scale_w=tuple(float(scale) for scale in scale_w) if position == 0 else (),
                skip_fusion=position == 0 and name in skip,
            )
    if not records:
        message = "no layer has FakeQuant nodes of the whole tensor in front of it and on its weights"
        raise ModelError(Problem(message, file=original.source))
    texts = (
        (left, "have no FakeQuant node of the whole tensor on weights or activations and stay in float"),
        (moved, "have trained weights that are no int8 multiples of one scale (per channel); they are rounded anew"),
        (clipped, "have trained weights of 128 steps, one more than int8 holds; these have 127"),
    )
    warnings = [f"{len(names)} layers {text}: {', '.join(names)}" for names, text in texts if names]
    kept = [name for name in on_activations if name not in quantizing]
    if kept:
        text = "have a range per channel or an empty one, or are in a loop or branch; the models have them as they are"
        warnings.append(f"{len(kept)} FakeQuant nodes on activations {text}: {', '.join(kept)}")
    return Trained(graph, quantizing, records, tuple(warnings))


def _with_trained_weights(graph: Graph, fakes: Mapping[str, FakeQuant]) -> Graph:
    """Replace FakeQuant nodes on weights by constants.

    The others stay where they are, so that nothing is folded across them.
    """
    remaining = dict(fakes)
    while on_constants := [fake for fake in remaining.values() if graph.constant(fake.tensor) is not None]:
        edit = graph.edit()
        for fake in on_constants:
            codes = remaining.pop(fake.name).codes(graph.require_constant(fake.tensor))
            edit.put(nd.constant_node(fake.name, codes.astype(np.float32) * fake.scale))
        graph = edit.finish()
    return graph


def _source(graph: Graph, place: NodeInput, fakes: Mapping[str, FakeQuant]) -> FakeQuant | None:
    """The FakeQuant node from which an input gets its values."""
    name = nd.node_name(read_tensor(graph, place))
    while name not in fakes:
        node = graph.nodes[name]
        if node.op not in KEEPS_VALUES:
            return None
        name = nd.node_name(nd.data_inputs(node)[0])
    return fakes[name]


def _activation(graph: Graph, layer: Layer, index: int, fakes: Mapping[str, FakeQuant]) -> FakeQuant | None:
    """The per-tensor quantizer of an activation, with a range that is not empty; symmetric for a product of two."""
    fake = _source(graph, (layer.name, index), fakes)
    if fake is None or fake.quantizer is None:
        return None
    return fake if not layer.is_dynamic or fake.zero_point[0] == 128 else None


def _fold_on_grid(graph: Graph, layers: Mapping[str, Layer]) -> tuple[frozenset[str], Graph]:
    """Layers not to fold, because one scale would no longer fit all their weights; and the folded graph."""
    folded = fold(graph).graph
    single = [layer for layer in layers.values() if layer.constant is not None and not layer.channel_axes]
    skip = frozenset(layer.name for layer in single if not _proportional(graph, folded, layer))
    return (skip, fold(graph, True, skip).graph) if skip else (skip, folded)


def _proportional(graph: Graph, folded: Graph, layer: Layer) -> bool:
    before, after = _weights(graph, layer), _weights(folded, layer)
    largest = np.abs(before).max(initial=0)
    ratio = np.abs(after).max(initial=0) / largest if largest > 0 else 1
    turned = np.swapaxes(before, -1, -2)  # as folding does where a product reads them transposed
    same = [values for values in (before, turned) if values.shape == after.shape]
    return any(np.allclose(after, sign * values * ratio, rtol=1e-5, atol=0) for values in same for sign in (1, -1))


def _weights(graph: Graph, layer: Layer) -> np.ndarray:
    return graph.require_constant(read_tensor(graph, layer.weights_place))


def _weight_scale(graph: Graph, folded: Graph, layer: Layer, fake: FakeQuant) -> tuple[np.ndarray, bool]:
    """float32 (1,) or (channels,) for the folded weights; and whether the trained integers are kept."""
    trained, weights = _weights(graph, layer), np.asarray(_weights(folded, layer), np.float32)
    axes = layer.channel_axes
    channels = int(np.prod([weights.shape[axis] for axis in axes], dtype=np.int64))
    scale = np.where(fake.scale > 0, fake.scale, 1).astype(np.float32)
    if scale.size not in {1, channels} or not _on_grid(trained, scale, axes if scale.size > 1 else ()):
        return quantize_weights(weights, 8, axes).scale, False
    before, after = (np.abs(channels_last(values, axes)).max(axis=0) for values in (trained, weights))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where((before > 0) & (after > 0), after / before, 1)
    if scale.size == 1 and np.allclose(factor, factor[0], rtol=1e-6):
        factor = factor[:1]
    return (scale * factor).astype(np.float32), True


def _codes(weights: np.ndarray, scale: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return weights / scale.reshape(broadcast_shape(weights.shape, axes))


def _on_grid(weights: np.ndarray, scale: np.ndarray, axes: tuple[int, ...]) -> bool:
    """Whether weights are multiples of the scale from -128 to 128."""
    codes = _codes(weights, scale, axes)
    whole = np.rint(codes)
    off_grid = np.abs(codes - whole).max(initial=0)
    return bool(off_grid < _WHOLE and np.abs(whole).max(initial=0) <= 128)


def _exceed(folded: Graph, layer: Layer, scale: np.ndarray) -> bool:
    """Whether weights have the code 128: where the zero point is 127, or a folded factor is negative."""
    weights = np.asarray(_weights(folded, layer), np.float32)
    codes = _codes(weights, scale, layer.channel_axes if scale.size > 1 else ())
    return bool(np.rint(codes).max(initial=0) > 127)
