"""Which share of a network is on integers: of its weights, and of its multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.fed_shapes import FedShapes
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.multiply_accumulates import count_products
from calibrant.graph.weight_constants import weight_constants
from calibrant.quantized_network import QuantizedNetwork

IN_NO_LAYER = frozenset(
    {
        *("Add", "AddV2", "AddN", "BiasAdd", "Sub", "Mul", "RealDiv", "Div", "Pow", "SquaredDifference"),
        *("Maximum", "Minimum", "Select", "SelectV2", "ConcatV2", "Pack"),
    }
)
"""What reads positions, grids and masks: no layer is one of these operations."""
MOST_TOLD = 2
"""Inputs whose sizes are told in one line; all are in the report."""

OTHERWISE = ("layers_in_float", "products_beside_layers", "products_written_out", "widened_layers")
"""What only a LiteRT file has, of its share."""


def integer_share(network: QuantizedNetwork, fed: FedShapes | None) -> dict[str, Any]:
    """Plain values for the report; the weights are those of the layers and all other :func:`weight_constants`."""
    quantized = {name: size for layer in network.layers for name, size in network.constants(layer).items()}
    weight_only = {entry.layer.constant: int(entry.weights.values.size) for entry in network.weight_only}
    stored = sum(weight_only.values())
    others = [(name, size) for name, size in weight_constants(network.graph).items() if name not in quantized]
    in_float = sum(size for _, size in others)
    products = count_products(network.graph, fed)
    on_integers = sum(products.counts.get(layer.layer.name, 0) for layer in network.layers)
    wide = [layer.layer.name for layer in network.layers if layer.inputs[0].quantizer.bits == 16]
    return {
        "quantized_weights": sum(quantized.values()) + stored,
        "weight_only_weights": stored,
        "weights_in_no_layer": sum(size for name, size in others if _is_in_no_layer(network.graph, name)),
        "weights": sum(quantized.values()) + stored + in_float,
        "quantized_multiply_accumulates": on_integers,
        "wide_layers": len(wide),
        "wide_multiply_accumulates": sum(products.counts.get(name, 0) for name in wide),
        "multiply_accumulates": sum(products.counts.values()),
        "products_not_counted": list(products.unknown),
        "counted_sizes": {key: list(shape) for key, shape in products.sizes.items()},
    }


def share_line(share: dict[str, Any]) -> str:
    """The same as one line for a person."""
    on_integers, stored = weight_shares(share)
    beside = share["weights_in_no_layer"]
    notes = [f"{stored} more stored as integers and multiplied in float"] if share["weight_only_weights"] else []
    notes += [f"{beside:,} in no layer, such as positions and masks"] if beside else []
    noted = f" ({'; '.join(notes)})" if notes else ""
    products = part_of_counted(share, share["quantized_multiply_accumulates"])
    wide = ""
    if share["wide_layers"]:
        wide = f", {part_of_counted(share, share['wide_multiply_accumulates'])} with activations of 16 bits"
    return (
        f"on integers: {on_integers} of {share['weights']:,} weights{noted}, "
        f"{products} of {share['multiply_accumulates']:,} multiply-accumulates a sample"
        f"{wide}{not_counted(share)}{counted_with(share)}"
    )


def weight_shares(share: Mapping[str, Any]) -> tuple[str, str]:
    """Which share of the weights is multiplied on integers, and which only stored as integers."""
    stored, whole = share["weight_only_weights"], share["weights"]
    return percent(share["quantized_weights"] - stored, whole), percent(stored, whole)


def part_of_counted(share: Mapping[str, Any], part: int) -> str:
    """Some of the multiply-accumulates as a share; as a number where not all are counted, as a share would mislead."""
    return f"{part:,}" if share["products_not_counted"] else percent(part, share["multiply_accumulates"])


def not_counted(share: Mapping[str, Any]) -> str:
    """What the numbers of multiply-accumulates leave out; empty where that is nothing."""
    unknown = len(share["products_not_counted"])
    return f" that are counted; {unknown} product{'s' if unknown > 1 else ''} could not be counted" if unknown else ""


def counted_with(share: Mapping[str, Any]) -> str:
    """The sizes that were counted with where the model leaves some open; empty where it does not."""
    told = [f"{key} {shape}" for key, shape in share["counted_sizes"].items()]
    more = f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return f", counted with {', '.join(told[:MOST_TOLD])}{more}" if told else ""


def is_otherwise(share: Mapping[str, Any]) -> bool:
    """Whether a LiteRT file has not the same products on integers, or with 16 bits, as the other files."""
    return any(share[key] for key in OTHERWISE)


def file_share_line(notes: Mapping[str, Any], unknown: Sequence[str] = ()) -> str | None:
    """The line for a LiteRT file, from the report's notes on it; None where nothing is otherwise there.

    Parameters
    ----------
    notes : Mapping[str, Any]
        ``exports.tflite`` of the report.
    unknown : Sequence[str]
        The products that could not be counted.
    """
    share = notes.get("on_integers")
    if share is None or not is_otherwise(share):
        return None
    share = {**share, "products_not_counted": unknown}
    weights = percent(share["quantized_weights"], share["weights"])
    products = part_of_counted(share, share["quantized_multiply_accumulates"])
    in_float, beside = len(share["layers_in_float"]), len(share["products_beside_layers"])
    written = len(share["products_written_out"])
    wide = share["wide_multiply_accumulates"]
    ends = [f"{part_of_counted(share, wide)} with activations of 16 bits"] if wide else []
    ends += [f"{in_float} of {share['layers']} quantized layers in float"] if in_float else []
    ends += [f"{beside} product{'s' * (beside > 1)} on integers that other files have in float"] if beside else []
    ends += [f"{written} product{'s' * (written > 1)} in float that other operations are written as"] if written else []
    counted = " that are counted" if unknown else ""
    return (
        f"in {notes['files'][0]}: {weights} of {share['weights']:,} weights, "
        f"{products} of {share['multiply_accumulates']:,} multiply-accumulates{counted}, {', '.join(ends)}"
    )


def percent(part: int, whole: int) -> str:
    """A share in words."""
    return "none" if not whole else f"{100 * part / whole:.1f} %"


def _is_in_no_layer(graph: Graph, name: str) -> bool:
    """Whether a constant outside functions is read by such operations alone."""
    readers = [reader for reader, _ in graph.consumers(f"{name}:0")]
    return bool(readers) and all(
        _is_in_no_layer(graph, reader.name) if reader.op in nd.PASS_THROUGH else reader.op in IN_NO_LAYER
        for reader in readers
    )
