"""The result of folding as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from calibrant.graph.graph import Graph


@dataclass(frozen=True)
class Fusion:
    """One operation that a layer has absorbed.

    Parameters
    ----------
    kind : str
        What was folded: ``batch norm``, ``written-out batch norm``, ``scalar multiplication`` or ``bias``; with the
        structure around it if there is one: ``of a dilated convolution``, ``of a group convolution``, ``behind a
        Reshape``, ``behind a concatenation``, ``in front``.
    layer : str
        The layer that absorbed it. A group convolution has one entry for each of its convolutions.
    absorbed : tuple[str, ...]
        Original nodes on the data path that the layer and its BiasAdd replace, in the order of the data.
    before_layer : bool
        Whether they came before the layer.
    """

    kind: str
    layer: str
    absorbed: tuple[str, ...]
    before_layer: bool = False


class NotFused(NamedTuple):
    """A norm that was not folded, with the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class Folded:
    """A folded graph.

    Parameters
    ----------
    graph : Graph
        The folded graph; its outputs equal the original's up to rounding.
    fusions : tuple[Fusion, ...]
        The operations that were folded.
    left : tuple[NotFused, ...]
        Norms that were not folded, and why.
    results : Mapping[str, str]
        Nodes that rearrange the result of a product → the original node whose values they have; see
        :mod:`calibrant.graph.canonical`.
    """

    graph: Graph
    fusions: tuple[Fusion, ...] = ()
    left: tuple[NotFused, ...] = ()
    results: Mapping[str, str] = field(default_factory=dict)

    @property
    def absorbed(self) -> dict[str, list[str]]:
        """Layer → the original nodes after it that it absorbed; rearranged result → the product with its values."""
        absorbed = {result: [name] for result, name in self.results.items()}
        for fusion in self.fusions:
            if fusion.before_layer:
                continue
            absorbed.setdefault(fusion.layer, []).extend(fusion.absorbed)
        return absorbed
