"""Activations of 16 bits on integer layers of 8 bits: the sum of two layers.

A code of 16 bits is 256 * upper + lower with two INT8 codes. The upper code is that of a quantizer Q with 256 times the
scale, the lower one that of what it leaves, x - Q(x). A layer is linear, so it is the sum of two that have the same
integer weights: one reads Q(x) and has the bias, the other reads the quantized rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork

UPPER, LOWER = "upper_term", "lower_term"


@dataclass(frozen=True, eq=False)
class TwoTerms:
    """A network whose activations have 8 bits.

    Parameters
    ----------
    network : QuantizedNetwork
        The network. In float, the second layer of a pair reads zeros.
    sums : Mapping[str, str]
        Name of each addition → the layer that the two layers before it stand for.
    """

    network: QuantizedNetwork
    sums: Mapping[str, str]


def with_two_terms(network: QuantizedNetwork) -> TwoTerms:
    """The network with two layers and a sum in the place of each layer whose activation has 16 bits.

    The sum has the name of the layer's bias, or of the layer without a bias; readers and outputs do not notice.
    """
    if all(entry.quantizer.bits == 8 for entry in network.every_input()):
        return TwoTerms(network, {})
    edit = network.graph.edit()
    rests: dict[tuple[str, Quantizer], QuantizedInput] = {}
    layers: list[QuantizedLayer] = []
    sums: dict[str, str] = {}
    for layer in network.layers:
        (entry, *others) = layer.inputs
        if others or entry.quantizer.bits == 8:
            layers.append(layer)
            continue
        key = (entry.tensor, entry.quantizer)
        if key not in rests:
            rests[key] = _rest(edit, entry)
        layers += _pair(edit, layer, f"{rests[key].node}:0")
        sums[layer.layer.end] = layer.layer.name
    changed = replace(
        network,
        graph=edit.finish(),
        layers=tuple(layers),
        tensors=(*network.tensors, *rests.values()),
    )
    return TwoTerms(changed, sums)


def upper(quantizer: Quantizer) -> Quantizer:
    """The quantizer of the upper INT8 code."""
    return Quantizer(quantizer.accumulator_scale, 0)


def lower(quantizer: Quantizer) -> Quantizer:
    """The quantizer of the lower INT8 code."""
    return Quantizer(quantizer.scale, 0)


def _rest(edit: Edit, entry: QuantizedInput) -> QuantizedInput:
    """The subtraction of what the upper code stands for from a tensor; its second operand, to be quantized."""
    name = edit.free_name(f"{entry.node}/rest")
    edit.put(nd.make_node("Sub", name, [entry.tensor, entry.tensor], T=edit.graph.dtype(entry.tensor)))
    return QuantizedInput(name, 1, entry.tensor, replace(entry.search, quantizer=upper(entry.quantizer)))


def _pair(edit: Edit, layer: QuantizedLayer, rest: str) -> tuple[QuantizedLayer, QuantizedLayer]:
    """A layer for the upper and one for the lower code; puts the sum of the two under the name of its end."""
    entry, old = layer.inputs[0], layer.layer
    node, end = edit.nodes[old.name], old.end
    upper_name = old.name if old.bias else edit.free_name(f"{old.name}/{UPPER}")
    first = replace(old, name=upper_name, bias=edit.free_name(f"{end}/{UPPER}") if old.bias else None)
    second = replace(old, name=edit.free_name(f"{old.name}/{LOWER}"), bias=None)
    edit.put(nd.copy_node(node, None, first.name))
    edit.put(nd.copy_node(node, None, second.name))
    edit.set_input(second.name, entry.index, rest)
    if first.bias is not None:
        edit.put(nd.copy_node(edit.nodes[end], None, first.bias))
    terms = [f"{first.end}:0", f"{second.name}:0"]
    edit.put(nd.make_node("AddV2", end, terms, T=edit.graph.dtype(f"{old.name}:0")))
    above, below = (
        replace(entry, node=name, tensor=tensor, search=replace(entry.search, quantizer=quantizer))
        for name, tensor, quantizer in (
            (first.name, entry.tensor, upper(entry.quantizer)),
            (second.name, rest, lower(entry.quantizer)),
        )
    )
    return (
        replace(layer, layer=first, inputs=(above,)),
        replace(layer, layer=second, inputs=(below,), bias=None, bias_correction=None),
    )
