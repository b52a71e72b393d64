"""FakeQuant nodes, with which quantization-aware training says what it has trained for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calibrant.errors import Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef

RANGES_AS_INPUTS = frozenset({"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"})
FAKE_QUANT = RANGES_AS_INPUTS | {"FakeQuantWithMinMaxArgs"}


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
    for node in graph.nodes.values():
        if node.op in FAKE_QUANT:
            wrong = list(_wrong(graph, node))
            problems += wrong
            if not wrong:
                fake_quants[node.name] = _read(graph, node)
    return fake_quants, problems


def _wrong(graph: Graph, node: NodeDef) -> Iterator[Problem]:
    bits = nd.attribute(node, "num_bits", 8)
    if bits != 8:
        message, hint = f"{node.op} of {bits} bits", "train with num_bits=8"
        yield Problem(message, file=graph.source, path=node.name, allowed="8 bits", hint=hint)
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
