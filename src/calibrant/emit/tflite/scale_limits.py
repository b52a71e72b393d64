"""Scales that TensorFlow's converter or a LiteRT kernel does not take, said by name before the converter runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.converter_graph import effective, place_factors
from calibrant.emit.tflite.integer_part import IntegerPart, fused_end
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.layers import ADDITIONS
from calibrant.quantized_network import QuantizedNetwork

LEAST_ACTIVATION_SCALE = 1e-6 / 255  # the converter widens ranges of less than 1e-6
PRODUCT_LIMIT = 256  # of scale_d * scale_w / scale of the result, in the kernels that run by default (XNNPACK)
ADDITION_LIMIT = 2.0**19  # of the larger scale of the operands / scale of the sum; the process ends at more
HINT = "leave {} in float with skip_layers, or export another format"


def refuse_scales(network: QuantizedNetwork, part: IntegerPart, factors: Mapping[str, Quantizer]) -> None:
    """Say which scales the file cannot have.

    Parameters
    ----------
    factors : of the tensors of the integer part.

    Raises
    ------
    ModelError : one problem for each tensor, layer or addition.
    """
    problems = [*_narrow_ranges(network, factors), *_products(network, factors), *_additions(network, part, factors)]
    if problems:
        raise ModelError(*problems)


def _narrow_ranges(network: QuantizedNetwork, factors: Mapping[str, Quantizer]) -> Iterator[Problem]:
    for tensor, quantizer in factors.items():
        if quantizer.scale < LEAST_ACTIVATION_SCALE:
            yield Problem(
                f"its values have a scale of {quantizer.scale:.3g}, TensorFlow's converter widens such small ranges",
                file=network.graph.source,
                path=nd.node_name(tensor),
                allowed=f"a scale of {LEAST_ACTIVATION_SCALE:.3g} or more",
                hint="multiply the model's input by a constant, " + HINT.format("the layers beside it"),
            )


def _products(network: QuantizedNetwork, factors: Mapping[str, Quantizer]) -> Iterator[Problem]:
    for layer in network.layers:
        if layer.weights is None:
            continue
        made = factors.get(f"{fused_end(network.graph, layer.layer.name, layer.layer.bias)}:0")
        if made is None:
            continue
        ratio = float(layer.bias_scale(effective(network, layer.inputs[0].quantizer)).max()) / float(made.scale)
        if ratio >= PRODUCT_LIMIT:
            yield Problem(
                f"one step of its products (scale_d * scale_w) is {ratio:.3g} steps of its result, "
                "and LiteRT's kernels do not run that",
                file=network.graph.source,
                path=layer.layer.name,
                allowed=f"less than {PRODUCT_LIMIT}",
                hint=HINT.format("it"),
            )


def _additions(network: QuantizedNetwork, part: IntegerPart, factors: Mapping[str, Quantizer]) -> Iterator[Problem]:
    places = place_factors(network)
    for name in sorted(part.nodes):
        node = network.graph.nodes[name]
        made = factors.get(f"{fused_end(network.graph, name)}:0") if node.op in ADDITIONS else None
        if made is None:
            continue
        read = [places.get((name, index)) or factors.get(tensor) for index, tensor in enumerate(nd.data_inputs(node))]
        ratio = max((float(quantizer.scale) for quantizer in read if quantizer), default=0.0) / float(made.scale)
        if ratio >= ADDITION_LIMIT:
            yield Problem(
                f"one step of an operand is {ratio:.3g} steps of the sum, and LiteRT's kernel does not run that",
                file=network.graph.source,
                path=name,
                allowed=f"less than {ADDITION_LIMIT:.0f}",
                hint=HINT.format("the layers beside it"),
            )
