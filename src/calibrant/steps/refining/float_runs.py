"""Runs of the float network that serve twice: for its outputs, and for their gradients by what is quantized."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrant.graph.graph import Graph
from calibrant.graph.logits import compared_tensors
from calibrant.graph.node_input import NodeInput
from calibrant.graph.running.gradients import Ahead, OutputGradients
from calibrant.quantized_network import QuantizedInput
from calibrant.steps.refining.output_errors import Piece, with_candidates

PIECES, KEPT = 2, 1 << 25
"""Numbers of pieces, and bytes, that are kept for the gradients; of further pieces all is computed again."""


class FloatRuns:
    """A float network made ready to tell its outputs, and the gradients of weighted sums of them.

    Parameters
    ----------
    graph : Graph
        The network.
    units : Sequence[Sequence[QuantizedInput]]
        The activations of each quantizer.
    quickly : bool
        As of :class:`calibrant.graph.running.gradients.OutputGradients`.

    Raises
    ------
    ModelError
        The outputs have no gradients.
    """

    def __init__(self, graph: Graph, units: Sequence[Sequence[QuantizedInput]], quickly: bool = False):
        changed, self.exchanges = with_candidates(graph, units)
        self._graph, self._places = graph, _places(units)
        self._gradients = OutputGradients(
            changed, [each.read_errors for unit in self.exchanges for each in unit], compared_tensors(graph), quickly
        )
        self._kept: dict[Piece, Ahead] = {}

    def serve(self, graph: Graph, units: Sequence[Sequence[QuantizedInput]]) -> bool:
        """Whether they are those of this network, by these activations."""
        return graph is self._graph and _places(units) == self._places

    def outputs(self, pieces: Sequence[Piece]) -> list[list[np.ndarray]]:
        """The outputs for each piece, before a final Softmax."""
        found, free = [], KEPT
        self._kept.clear()
        for piece in pieces:
            ahead = self._gradients.ahead(piece.batch)
            free -= sum(array.nbytes for array in ahead.values.values())
            if free >= 0 and len(self._kept) < PIECES:
                self._kept[piece] = ahead
            found.append([np.array(array) for array in ahead.outputs])
        return found

    def gradients(
        self, piece: Piece, weights: Sequence[Sequence[np.ndarray]]
    ) -> list[list[tuple[np.ndarray, list[np.ndarray]] | None]]:
        """For each unit and tensor of it its values and, for each sum, the gradient; None for one that has none.

        Parameters
        ----------
        piece : Piece
            The samples.
        weights : Sequence[Sequence[np.ndarray]]
            For each sum, the weights of all outputs, of their shapes.

        Raises
        ------
        ModelError
            TensorFlow could not run the piece, or has no kernel for a gradient.
        """
        ahead = self._kept.pop(piece, None) or self._gradients.ahead(piece.batch)
        found = self._gradients.back(piece.batch, ahead, weights)
        return [[found.get(exchange.read_errors) for exchange in unit] for unit in self.exchanges]

    def make_room(self) -> None:
        """Free what was kept for the gradients."""
        self._kept.clear()

    def close(self) -> None:
        """Free the session, and what was kept."""
        self.make_room()
        self._gradients.close()


def _places(units: Sequence[Sequence[QuantizedInput]]) -> list[list[NodeInput]]:
    return [[entry.place for entry in unit] for unit in units]
