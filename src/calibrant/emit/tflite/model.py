"""The LiteRT file of a network: which part runs on integers, converting, checking, signing (spec 04)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.emit.tflite.convert import convert
from calibrant.emit.tflite.converter_graph import converter_graph, tensor_factors
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.integer_part import IntegerPart, integer_part
from calibrant.emit.tflite.layer_check import found_layers, set_factors
from calibrant.emit.tflite.refusals import refuse
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.factors import QuantizedNetwork

METADATA = "calibrant"


@dataclass(frozen=True)
class TfliteModel:
    """A LiteRT file.

    Parameters
    ----------
    content : its bytes.
    clipped : layer → how many of its weights are -128 in our factors and -127 in the file; layers without are left out.
    """

    content: bytes
    clipped: Mapping[str, int]


def part_of(network: QuantizedNetwork) -> IntegerPart:
    """The integer part of a quantized network."""
    places = [(found.node, found.index) for found in network.every_input()]
    return integer_part(network.graph, [layer.layer for layer in network.layers], places)


def tflite_model(
    network: QuantizedNetwork, settings: TfliteSettings | None = None, about: Mapping[str, Any] | None = None
) -> TfliteModel:
    """Make the file: every quantized layer on an int8 kernel, with the network's factors.

    Parameters
    ----------
    about : plain values for the metadata entry ``calibrant``.

    Raises
    ------
    ModelError : layers that LiteRT has no integer kernel for, operations that the converter does not know, or layers
        that came back with other numbers; with their names.
    """
    refuse(network)
    settings = settings or TfliteSettings()
    part = part_of(network)
    file = File(convert(converter_graph(network, part), settings))
    factors = tensor_factors(network, part)
    at_places = {f"{found.node}:{found.index}": found.quantizer for found in network.every_input()}
    set_factors(file, {**at_places, **factors})
    layers = found_layers(file, network)
    file.add_metadata(METADATA, json.dumps(about or {}, sort_keys=True, indent=1).encode())
    return TfliteModel(file.content(), {found.layer: found.clipped for found in layers if found.clipped})
