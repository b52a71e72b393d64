"""What an export is made of, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.errors import CalibrantError
from calibrant.fed_shapes import FedShapes
from calibrant.graph.graph import Graph
from calibrant.publish.write import Content
from calibrant.quantized_network import QuantizedNetwork


@dataclass(frozen=True, eq=False)
class Exportable:
    """A quantized network, and all that a format may need to know of the run that made it.

    Parameters
    ----------
    name : str
        The prefix of the files.
    original : Graph
        The model as it was read.
    network : QuantizedNetwork
        The network with its quantization parameters.
    absorbed : Mapping[str, Sequence[str]]
        Layer → the original nodes that were folded into it.
    fakequant : Graph
        The fake-quantized graph.
    about : Callable[[], Mapping[str, str]]
        Gives plain values for the metadata of a file.
    tflite : TfliteSettings
        How a ``.tflite`` file is to be made.
    lite : FloatFile | CalibrantError | None
        The network as a float LiteRT file, or why it cannot be one.
    batches : Iterable[Mapping[str, np.ndarray]] | None
        The calibration data, if they can be read again.
    fed : FedShapes | None
        With which shapes the model is fed, if there were calibration data.
    one_a_run : bool
        Whether each batch of them is one sample, without an axis of samples.
    can_refine : bool
        Whether nothing was refined in this run.
    budget : float | None
        Share of the multiply-accumulates that may have activations of 16 bits, 0 … 1.
    """

    name: str
    original: Graph
    network: QuantizedNetwork
    absorbed: Mapping[str, Sequence[str]]
    fakequant: Graph
    about: Callable[[], Mapping[str, str]] = dict
    tflite: TfliteSettings = field(default_factory=TfliteSettings)
    lite: FloatFile | CalibrantError | None = None
    batches: Iterable[Mapping[str, np.ndarray]] | None = None
    fed: FedShapes | None = None
    one_a_run: bool = False
    can_refine: bool = False
    budget: float | None = None


@dataclass(frozen=True, eq=False)
class Exported:
    """The files of a format.

    Parameters
    ----------
    files : Mapping[str, Content]
        Name → content.
    notes : Mapping[str, Any]
        Plain values for the report about what the format could not hold unchanged; empty where there is nothing to say.
    simulation : Graph | None
        What a file computes, where that differs from the fake-quantized graph.
    scores : tuple[str, ...]
        For each output, the tensor of the simulation that a final Softmax reads, or the output itself.
    """

    files: Mapping[str, Content]
    notes: Mapping[str, Any] = field(default_factory=dict)
    simulation: Graph | None = None
    scores: tuple[str, ...] = ()
