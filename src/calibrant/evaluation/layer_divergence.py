"""The first layer where a LiteRT file and its simulation part by more than a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.flatbuffer import Tensor
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.graph import Graph
from calibrant.graph.run import run_once

BETWEEN = "/between"


@dataclass(frozen=True)
class LayerDivergence:
    """One tensor of both.

    Parameters
    ----------
    layer : str
        The node that makes it.
    largest_steps : int
        Largest difference of its codes.
    share_beyond : float
        Share of its codes that are more than one step apart.
    """

    layer: str
    largest_steps: int
    share_beyond: float


class LayerWatch:
    """Compares codes tensor by tensor on one batch; ``first`` is then the first parting, ``seen`` all tensors."""

    def __init__(self, simulation: Graph, tflite: TfliteRunner):
        self._simulation = simulation
        self._tflite = tflite
        self.first: LayerDivergence | None = None
        self.seen: tuple[LayerDivergence, ...] = ()

    def look(self, fed: Mapping[int, np.ndarray]) -> None:
        """Compare, with the file's tensors as its last run left them; ``fed`` is what it ran on."""
        pairs = self._pairs()
        batch = dict(zip(self._simulation.input_keys, fed.values(), strict=True))
        values = run_once(self._simulation, batch, [f"{name}{BETWEEN}:0" for name in pairs])
        seen = []
        for (name, tensor), real in zip(pairs.items(), values, strict=True):
            found = self._tflite.codes(tensor).astype(np.int32)
            if found.size != real.size:
                continue
            scaled = np.rint(real.astype(np.float32) * (np.float32(1) / tensor.scale[0])) + tensor.zero_point
            difference = np.abs(found.reshape(-1) - np.clip(scaled, -128, 127).astype(np.int32).reshape(-1))
            seen.append(LayerDivergence(name, int(difference.max(initial=0)), float(np.mean(difference > 1))))
        self.seen = tuple(seen)
        self.first = next((entry for entry in seen if entry.largest_steps > 1), None)

    def _pairs(self) -> dict[str, Tensor]:
        """Node → the int8 tensor of the file that carries its name, in graph order."""
        names = [name.removesuffix(BETWEEN) for name in self._simulation.nodes if name.endswith(BETWEEN)]
        by_name: dict[str, Tensor] = {}
        used = set(self._tflite.file.used())
        for operator in self._tflite.file.operators():
            made = operator.outputs[0]
            codes = made.dtype == np.int8 and made.scale.size == 1
            if codes and made.index in used and operator.name != "QUANTIZE":
                for part in made.name.split(";"):
                    by_name.setdefault(part, made)
        return {name: by_name[name] for name in names if name in by_name}
