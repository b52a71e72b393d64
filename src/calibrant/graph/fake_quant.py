"""FakeQuant nodes, with which quantization-aware training says what it has trained for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.errors import Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

RANGES_AS_INPUTS = frozenset({"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"})
FAKE_QUANT = RANGES_AS_INPUTS | {"FakeQuantWithMinMaxArgs"}
_MOST_NAMES = 20


@dataclass(frozen=True, eq=False)
class FakeQuant:
    """One FakeQuant node: ``q = clip(floor(x / scale + zero_point + 0.5), lowest, 255)``, and back by the scale.

    Parameters
    ----------
    name, tensor : str
        The node, and what it reads.
    scale : np.ndarray
        Scales, float32, (1,) or one for each entry of the last axis; 0 if the range is empty.
    zero_point : np.ndarray
        Codes of real zero, int64, 0 … 255, in the shape of ``scale``.
    lowest : int
        1 with a narrow range, else 0.
    """

    name: str
    tensor: str
    scale: np.ndarray
    zero_point: np.ndarray
    lowest: int

    @property
    def quantizer(self) -> Quantizer | None:
        """The same with codes from -128; None with a range for each channel, or an empty one."""
        if self.scale.size != 1 or not 0 < self.scale[0] < np.inf:
            return None
        return Quantizer(self.scale[0], int(self.zero_point[0]) - 128)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """The codes of values less the zero point, int64."""
        scale = np.where(self.scale > 0, self.scale, 1)
        low = (self.lowest - self.zero_point).astype(np.float32) * scale
        high = (255 - self.zero_point).astype(np.float32) * scale
        shifted = (np.clip(np.asarray(values, np.float32), low, high) - low) * (np.float32(1) / scale)
        return np.floor(shifted + np.float32(0.5)).astype(np.int64) + (self.lowest - self.zero_point)


def read_fake_quants(graph: Graph) -> tuple[dict[str, FakeQuant], list[Problem]]:
    """Node → what it does; and what keeps others from being read."""
    fake_quants, problems = {}, []
    of_other_widths: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        if node.op in FAKE_QUANT:
            wrong = list(_wrong(graph, node))
            problems += wrong
            bits = nd.attribute(node, "num_bits", 8)
            if bits != 8:
                of_other_widths.setdefault(f"{node.op} of {bits} bits", []).append(node.name)
            elif not wrong:
                fake_quants[node.name] = _read(graph, node)
    if of_other_widths:
        message = "; ".join(f"{kind}: {_listed(names)}" for kind, names in of_other_widths.items())
        hint = "train with num_bits=8, or give quantize the model without these nodes"
        problems.insert(0, Problem(message, file=graph.source, allowed="8 bits", hint=hint))
    return fake_quants, problems


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _wrong(graph: Graph, node: NodeDef) -> Iterator[Problem]:
    if node.op in RANGES_AS_INPUTS:
        low, high = (graph.constant(tensor) for tensor in nd.data_inputs(node)[1:3])
        if low is None or high is None:
            message, hint = f"the range of this {node.op} is not a constant", "freeze the graph for inference"
            yield Problem(message, file=graph.source, path=node.name, hint=hint)
        elif not (np.isfinite(low).all() and np.isfinite(high).all()) or (low > high).any():
            message = f"the range of this {node.op} is {low.ravel()[:4]} … {high.ravel()[:4]}"
            yield Problem(message, file=graph.source, path=node.name, allowed="finite numbers, min <= max")


def _read(graph: Graph, node: NodeDef) -> FakeQuant:
    """The range moved to where real zero has a code, as TensorFlow does it."""
    inputs = nd.data_inputs(node)
    if node.op in RANGES_AS_INPUTS:
        low, high = (np.asarray(graph.constant(tensor), np.float32).reshape(-1) for tensor in inputs[1:3])
    else:
        ends = (nd.attribute(node, key, default) for key, default in (("min", -6.0), ("max", 6.0)))
        low, high = (np.array([end], np.float32) for end in ends)
    lowest = int(bool(nd.attribute(node, "narrow_range", False)))
    scale = (high - low) / np.float32(255 - lowest)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero_point = np.where(scale > 0, lowest - low / scale, lowest)
    zero_point = np.floor(np.clip(zero_point, lowest, 255) + 0.5).astype(np.int64)
    return FakeQuant(node.name, inputs[0], scale, zero_point, lowest)
