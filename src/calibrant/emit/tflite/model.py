"""The LiteRT file of a network: which part runs on integers, converting, checking, signing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from calibrant.emit.tflite.convert import convert
from calibrant.emit.tflite.converter_graph import converter_graph, tensor_factors
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.integer_part import IntegerPart, integer_part
from calibrant.emit.tflite.layer_check import check_layers, set_factors
from calibrant.emit.tflite.operator_check import check_operators
from calibrant.emit.tflite.refusals import refuse, refuse_float_ends
from calibrant.emit.tflite.rounding_once import round_once
from calibrant.emit.tflite.scale_limits import refuse_scales
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.emit.tflite.simulation import simulation
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedNetwork

METADATA = "calibrant"


def part_of(network: QuantizedNetwork) -> IntegerPart:
    """The integer part of a quantized network."""
    places = [(found.node, found.index) for found in network.every_input()]
    return integer_part(network.graph, [layer.layer for layer in network.layers], places)


def tflite_simulation(network: QuantizedNetwork) -> Graph:
    """What the file computes, as stock operations; see :mod:`calibrant.emit.tflite.simulation`."""
    part = part_of(network)
    return simulation(network, part, tensor_factors(network, part))


def tflite_model(
    network: QuantizedNetwork, settings: TfliteSettings | None = None, about: Mapping[str, Any] | None = None
) -> bytes:
    """The file's bytes: every quantized layer on an int8 kernel, with the network's factors.

    Parameters
    ----------
    about : plain values for the metadata entry ``calibrant``.

    Raises
    ------
    ModelError : layers that LiteRT has no integer kernel for, operations that the converter does not know, layers that
        came back with other numbers, or inputs and outputs that cannot be int8 as asked for; with their names.
    """
    part = part_of(network)
    refuse(network, part)
    factors = tensor_factors(network, part)
    refuse_scales(network, part, factors)
    settings = settings or TfliteSettings()
    file = File(convert(converter_graph(network, part), settings))
    if settings.io == "int8":
        refuse_float_ends(file, network.graph)
    round_once(file)
    at_places = {f"{found.node}:{found.index}": found.quantizer for found in network.every_input()}
    set_factors(file, {**at_places, **factors})
    check_operators(file, network, part, factors, check_layers(file, network))
    file.add_metadata(METADATA, json.dumps(about or {}, sort_keys=True, indent=1).encode())
    return file.content()
