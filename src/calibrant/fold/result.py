"""What folding has done, and what it left alone, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from calibrant.graph.graph import Graph


@dataclass(frozen=True)
class Fusion:
    """One operation that a layer has taken in.

    Parameters
    ----------
    kind : what was folded: ``batch norm``, ``written-out batch norm``, ``scalar multiplication`` or ``bias``;
        with the structure around it where there is one: ``of a dilated convolution``, ``of a group convolution``,
        ``behind a Reshape``, ``behind a concatenation``, ``in front``.
    layer : the layer that took it in. A group convolution has one entry for each of its convolutions.
    absorbed : original nodes on the data path that the layer and its BiasAdd now stand for, in the order of the data.
    in_front : whether they were in front of the layer.
    """

    kind: str
    layer: str
    absorbed: tuple[str, ...]
    in_front: bool = False


class NotFused(NamedTuple):
    """A norm that is still there after folding, with the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class Folded:
    """A folded graph.

    Parameters
    ----------
    graph : gives the same outputs as the original up to rounding.
    fusions : what was folded.
    left : norms that were not, and why.
    results : nodes that rearrange the result of a product → the original node whose values they have; see
        :mod:`calibrant.graph.canonical`.
    """

    graph: Graph
    fusions: tuple[Fusion, ...] = ()
    left: tuple[NotFused, ...] = ()
    results: Mapping[str, str] = field(default_factory=dict)

    @property
    def absorbed(self) -> dict[str, list[str]]:
        """Layer → the original nodes behind it that folding has put into it; and what stands for a moved result."""
        absorbed = {result: [name] for result, name in self.results.items()}
        for fusion in self.fusions:
            if fusion.in_front:
                continue
            absorbed.setdefault(fusion.layer, []).extend(fusion.absorbed)
        return absorbed
