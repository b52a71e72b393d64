"""Step: round the weights once more, layer after layer, for what each reads behind the layers rounded before it.

Where all layers are rounded for what they read in the float network, each adds an error that those behind it know
nothing of. Here a layer aims at its outputs of the float network, but from what it reads behind quantized weights, so
part of what was lost before it is made up for. Activations stay in float: their errors differ by sample, and weights
that make up for them on some samples do worse on others.

References
----------
E. Frantar and D. Alistarh, "Optimal Brain Compression", 2022, on quantizing layers one after the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibrant.algorithms.patch_gram import out_of_blocks
from calibrant.algorithms.patch_mean import mean_of_outputs
from calibrant.algorithms.patch_pair import PatchPair
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.layer_kinds import KINDS
from calibrant.progress import LOG, ProgressFn
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.observed import with_changed
from calibrant.steps.prepared import Prepared
from calibrant.steps.refining.output_errors import Piece, runner_of
from calibrant.steps.refining.whole_errors import WholeErrors
from calibrant.steps.weights.bias_correction import bias_corrections
from calibrant.steps.weights.quantize_weights import LayerWeights, bias_of, with_quantized_weights
from calibrant.steps.weights.round_weights import KernelBlocks, gram_place, rounded_codes

MOST_PASSES = 16
"""In deeper networks some layers in a row are rounded at once, each as if those of its pass were in float."""
FEWEST_SAMPLES = 16
"""Number of samples below which weights keep the codes that they have."""


def rounded_in_turn(
    prepared: Prepared, network: QuantizedNetwork, whole: WholeErrors, track: ProgressFn
) -> tuple[Prepared, QuantizedNetwork]:
    """The plan and the network with other codes and biases, unless the outputs are farther off then.

    Parameters
    ----------
    prepared : Prepared
        The plan, and weights rounded for what their layers read in the float network.
    network : QuantizedNetwork
        With its quantization parameters: whether the outputs are farther off depends on how the activations are held.
    whole : WholeErrors
        Compares networks on the first samples, which the weights are rounded for.
    track : ProgressFn
        Shows progress.
    """
    alone = _with_own_weights(prepared.weights)
    passes = _passes(prepared.graph, alone)
    if whole.samples < FEWEST_SAMPLES or len(passes) < 2:
        return prepared, network
    done = [name for name in prepared.weights if name not in alone]
    if not done:  # nothing quantized is before them
        done = passes.pop(0)
    rounded = prepared
    for names in track(passes, "round weights", len(passes)):
        rounded = _with_rounded(rounded, names, done, whole.pieces)
        done += names
    changed = with_changed(rounded, network, {})
    plain, other = whole.of(network).mean(), whole.of(changed).mean()
    LOG.debug("weights rounded in turn: error %.4g, before %.4g", other, plain)
    return (rounded, changed) if other < plain else (prepared, network)


def _with_own_weights(weights: Mapping[str, LayerWeights]) -> dict[str, LayerWeights]:
    """The layers that share their weights with no other."""
    count = Counter(entry.constant for entry in weights.values())
    return {name: entry for name, entry in weights.items() if count[entry.constant] == 1}


def _passes(graph: Graph, names: Collection[str]) -> list[list[str]]:
    """Layers to round at once, in the order of the data."""
    behind: dict[str, int] = {}  # node → how many such layers the data have come through, itself included
    for name, node in graph.nodes.items():
        before = (behind.get(nd.node_name(tensor), 0) for tensor in nd.data_inputs(node))
        behind[name] = max(before, default=0) + (name in names)
    places = sorted({behind[name] for name in names})
    at_once = -(-len(places) // MOST_PASSES) or 1
    taken = [set(places[start : start + at_once]) for start in range(0, len(places), at_once)]
    return [[name for name in names if behind[name] in some] for some in taken]


def _with_rounded(prepared: Prepared, names: Sequence[str], done: Collection[str], pieces: Iterable[Piece]) -> Prepared:
    """With new codes of some layers, for what they read behind those that are done."""
    graph, layers = prepared.graph, prepared.layers
    places = {name: gram_place(graph, layers[name], prepared.weights[name]) for name in names}
    pairs = {place: PatchPair(*place[1:], centered=bool(prepared.patches)) for place in places.values()}
    tensors = list(dict.fromkeys(tensor for tensor, _, _ in pairs))
    quantized = _quantized_so_far(prepared, done)
    with runner_of(graph, tensors) as run_float, runner_of(quantized, tensors) as run_quantized:
        for piece in pieces:
            read = zip(tensors, run_quantized(piece.batch), run_float(piece.batch), strict=True)
            seen = {tensor: (np.float32(values), np.float32(others)) for tensor, values, others in read}
            for place, pair in pairs.items():
                pair.update(*seen[place[0]])
    weights, channel_weights, shifts = dict(prepared.weights), dict(prepared.channel_weights), dict(prepared.shifts)
    for name, place in places.items():
        pair, transposed = pairs[place], KINDS[layers[name].type].transposed
        if not pair.count:
            continue
        for kept in (weights, channel_weights):
            if name in kept:
                kept[name] = _rounded(kept[name], pair, transposed)
        if prepared.patches:
            kernel = weights[name].float_values
            sizes = kernel.shape[:-2]
            patch = out_of_blocks(pair.drift(), math.prod(sizes), pair.group).reshape(*sizes, -1)
            kernel = np.swapaxes(kernel, -1, -2) if transposed else kernel
            shifts[name] = mean_of_outputs(patch, kernel, depthwise=len(layers[name].channel_axes) == 2)
    return replace(prepared, weights=weights, channel_weights=channel_weights, shifts=shifts)


def _rounded(entry: LayerWeights, pair: PatchPair, transposed: bool) -> LayerWeights:
    moments, codes = pair.moments(), entry.quantized.values
    kernel = KernelBlocks(codes.shape, len(moments), pair.group, transposed)
    wanted = kernel.joined(pair.wanted(kernel.divided(entry.float_values.astype(np.float64))))
    codes = rounded_codes(replace(entry, float_values=wanted), [moments], pair.group, transposed)
    return replace(entry, quantized=replace(entry.quantized, values=codes))


def _quantized_so_far(prepared: Prepared, done: Collection[str]) -> Graph:
    """The float network with the quantized weights of some layers, and their biases."""
    layers, weights = prepared.layers, {name: prepared.weights[name] for name in done}
    graph = with_quantized_weights(prepared.graph, layers, weights)
    if not prepared.patches:
        return graph
    edit = graph.edit()
    for name, correction in bias_corrections(graph, layers, weights, prepared.patches, prepared.shifts).items():
        layer = layers[name]
        bias = bias_of(graph, layer, correction)
        if layer.bias is not None and bias is not None:
            values = bias.astype(graph.dtype(f"{layer.bias}:0").as_numpy_dtype)
            edit.set_input(layer.bias, 1, edit.add_constant(f"{name}/bias_quantized", values))
    return edit.finish()
