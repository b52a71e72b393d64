"""The first layer where a LiteRT file and its simulation differ by more than a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.simulation.parts import in_parts
from calibrant.emit.tflite.simulation.simulate import between_node
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import run_once


@dataclass(frozen=True)
class LayerDivergence:
    """One tensor of both.

    Parameters
    ----------
    layer : str
        Its name in the file, which is that of the node that makes it.
    largest_steps : int
        Largest difference of its codes.
    share_beyond : float
        Share of its codes that are more than one step apart.
    """

    layer: str
    largest_steps: int
    share_beyond: float


def first_parting(simulation: Graph, file: TfliteRunner, fed: Mapping[int, np.ndarray]) -> LayerDivergence | None:
    """The first tensor whose codes are more than a step apart; None where none are.

    Parameters
    ----------
    file : TfliteRunner
        As its last run left it.
    fed : Mapping[int, np.ndarray]
        What it ran on: values of the inputs by position.
    """
    batch = dict(zip(simulation.input_keys, fed.values(), strict=True))
    compared = _compared(simulation, file)
    for tensors in in_parts(compared, [file.codes(tensor).size for tensor in compared]):
        values = run_once(simulation, batch, [f"{between_node(tensor)}:0" for tensor in tensors])
        for tensor, real in zip(tensors, values, strict=True):
            found = _divergence(tensor, file.codes(tensor), real)
            if found.largest_steps > 1:
                return found
    return None


def _divergence(tensor: Tensor, codes: np.ndarray, real: np.ndarray) -> LayerDivergence:
    """How far apart the codes are; those of another number of values are not compared."""
    if codes.size != real.size:
        return LayerDivergence(tensor.name, 0, 0.0)
    scaled = np.rint(real.astype(np.float32) * (np.float32(1) / tensor.scale[0])) + tensor.zero_point
    scaled = np.where(np.isnan(scaled), tensor.zero_point, scaled)
    difference = np.abs(codes.astype(np.int32).reshape(-1) - np.clip(scaled, -128, 127).astype(np.int32).reshape(-1))
    return LayerDivergence(tensor.name, int(difference.max(initial=0)), float(np.mean(difference > 1)))


def _compared(simulation: Graph, file: TfliteRunner) -> list[Tensor]:
    """The int8 tensors that both have, in the order in which they are made."""
    used = set(file.file.used())
    return [
        made
        for operator in file.file.operators()
        for made in operator.outputs
        if made.dtype == np.int8
        and made.scale.size == 1
        and made.index in used
        and operator.name != "QUANTIZE"
        and between_node(made) in simulation.nodes
    ]
