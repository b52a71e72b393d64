"""Step: a network with FakeQuant nodes → the same network without them, and the factors that they were trained for."""

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
from calibrant.graph.layers import Layer, find_layers
from calibrant.records.layer_record import LayerRecord

KEEPS_VALUES = nd.PASS_THROUGH | {
    "BatchToSpaceND",
    "ExpandDims",
    "MaxPool",
    "MirrorPad",
    "Pad",
    "Relu",
    "Reshape",
    "Slice",
    "SpaceToBatchND",
    "Squeeze",
    "StridedSlice",
    "Transpose",
}
"""What hands on only values that it reads, and zeros: behind it a tensor is still on the grid of its quantizer."""
_WHOLE = 1e-3  # how far from a whole number a weight may be that is on the grid


@dataclass(frozen=True, eq=False)
class Trained:
    """What FakeQuant nodes say.

    Parameters
    ----------
    graph : the network without them; weights have the values that the FakeQuant nodes gave them.
    records : layer → factors.
    warnings : sentences for the user.
    """

    graph: Graph
    records: Mapping[str, LayerRecord]
    warnings: tuple[str, ...] = field(default=())


def trained_network(original: Graph) -> Trained:
    """Read the factors of every layer whose weights and activations have FakeQuant nodes; other layers stay in float.

    Batch norms are folded into the trained weights: the integers stay, and each channel's scale takes the factor in.

    Raises
    ------
    ModelError : there is no FakeQuant node; one has not 8 bits, or no constant range; or no layer has both.
    """
    fakes, problems = read_fake_quants(original)
    if problems:
        raise ModelError(*problems[:20])
    if not fakes:
        message, hint = "has no FakeQuant node", "quantize calibrates a float network; convert takes a record file, too"
        raise ModelError(Problem(message, file=original.source, hint=hint))
    graph = _without(original, fakes)
    layers = {layer.name: layer for layer in find_layers(graph)[0]}
    skip, folded = _fold_what_stays_on_a_grid(graph, layers)
    records: dict[str, LayerRecord] = {}
    left, moved, narrow = [], [], []
    for name, layer in layers.items():
        inputs = [_activation(original, layer, index, fakes) for index in layer.data_inputs]
        fake = _source(original, layer, layer.weight_input, fakes) if layer.constant is not None else None
        if None in inputs or (layer.constant is not None and fake is None):
            left.append(name)
            continue
        narrow += [name] if any(found.lowest for found in inputs) else []
        scale_w, on_grid = _weight_scale(graph, folded, layer, fake) if fake is not None else (np.zeros(0), True)
        moved += [] if on_grid else [name]
        for position, (index, found) in enumerate(zip(layer.data_inputs, inputs, strict=True)):
            records[name if position == 0 else f"{name}:{index}"] = LayerRecord(
                scale_d=float(found.scale[0]),
                offset_d=int(found.zero_point[0]) - 128,
                scale_w=tuple(float(scale) for scale in scale_w) if position == 0 else (),
                skip_fusion=position == 0 and name in skip,
            )
    if not records:
        message = "no layer has FakeQuant nodes of the whole tensor in front of it and on its weights"
        raise ModelError(Problem(message, file=original.source))
    texts = (
        (left, "have no FakeQuant node of the whole tensor on weights or activations and stay in float"),
        (moved, "have trained weights that are no int8 multiples of one scale (per channel); they are rounded anew"),
        (narrow, "were trained with a narrow range of activations; here the lowest code is used too"),
    )
    warnings = (f"{len(names)} layers {text}: {', '.join(names)}" for names, text in texts if names)
    return Trained(graph, records, tuple(warnings))


def _without(original: Graph, fakes: Mapping[str, FakeQuant]) -> Graph:
    """Constants in the place of FakeQuant nodes on weights, Identity in the place of the others."""
    edit = original.edit()
    for name, fake in fakes.items():
        values = original.constant(fake.tensor)
        if values is None:
            controls = [f"^{control}" for control in nd.control_inputs(original.nodes[name])]
            dtype = original.dtype(fake.tensor)
            edit.put(nd.make_node("Identity", name, [fake.tensor, *controls], T=dtype))
        else:
            edit.put(nd.constant_node(name, fake.codes(values).astype(np.float32) * fake.scale))
    return edit.finish()


def _source(graph: Graph, layer: Layer, index: int, fakes: Mapping[str, FakeQuant]) -> FakeQuant | None:
    """The FakeQuant node behind an input of a layer."""
    name = nd.node_name(nd.data_inputs(graph.nodes[layer.name])[index])
    while name not in fakes:
        node = graph.nodes[name]
        if node.op not in KEEPS_VALUES:
            return None
        name = nd.node_name(nd.data_inputs(node)[0])
    return fakes[name]


def _activation(graph: Graph, layer: Layer, index: int, fakes: Mapping[str, FakeQuant]) -> FakeQuant | None:
    """The quantizer of an activation: of the whole tensor, not empty; without offset for a product of two."""
    fake = _source(graph, layer, index, fakes)
    if fake is None or fake.scale.size != 1 or not fake.scale[0] > 0:
        return None
    return fake if not layer.is_dynamic or fake.zero_point[0] == 128 else None


def _fold_what_stays_on_a_grid(graph: Graph, layers: Mapping[str, Layer]) -> tuple[frozenset[str], Graph]:
    """Layers not to fold, because one scale for all their weights would no longer do; and the folded graph."""
    folded = fold(graph).graph
    single = [layer for layer in layers.values() if layer.constant is not None and not layer.channel_axes]
    skip = frozenset(layer.name for layer in single if not _proportional(graph, folded, layer))
    return (skip, fold(graph, True, skip).graph) if skip else (skip, folded)


def _proportional(graph: Graph, folded: Graph, layer: Layer) -> bool:
    before, after = _weights(graph, layer), _weights(folded, layer)
    largest = np.abs(before).max(initial=0)
    ratio = np.abs(after).max(initial=0) / largest if largest > 0 else 1
    return any(np.allclose(after, sign * before * ratio, rtol=1e-5, atol=0) for sign in (1, -1))


def _weights(graph: Graph, layer: Layer) -> np.ndarray:
    return graph.constant(nd.data_inputs(graph.nodes[layer.name])[layer.weight_input])


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


def _on_grid(weights: np.ndarray, scale: np.ndarray, axes: tuple[int, ...]) -> bool:
    """Whether weights are int8 multiples of the scale."""
    codes = weights / scale.reshape(broadcast_shape(weights.shape, axes))
    whole = np.rint(codes)
    off_grid = np.abs(codes - whole).max(initial=0)
    return bool(off_grid < _WHOLE and whole.min(initial=0) >= -128 and whole.max(initial=0) <= 127)
