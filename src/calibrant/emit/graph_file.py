"""A graph as the content of a file: its bytes, or where they are many, an object that writes them piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calibrant.graph.graph import Graph
from calibrant.graph.skeleton import large_constants

MOST_BYTES = 1 << 28  # of constants that may be held in memory a second time


@dataclass(frozen=True, eq=False)
class GraphFile:
    """A ``.pb`` file that is written when it is called with a path.

    Parameters
    ----------
    graph : Graph
        What it holds.
    """

    graph: Graph

    def __len__(self) -> int:
        """Size in bytes."""
        return sum(map(len, self.graph.chunks()))

    def __call__(self, path: Path) -> None:
        """Write the file."""
        with path.open("wb") as stream:
            stream.writelines(self.graph.chunks())


def graph_file(graph: Graph) -> bytes | GraphFile:
    """The content of a ``.pb`` file."""
    size = large_constants(graph)
    return graph.serialized() if size <= MOST_BYTES else GraphFile(graph)
