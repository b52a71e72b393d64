"""The network as a picture: the graph of its layers and junctions, in layers from input to output."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph

SWEEPS = 6
MOST_WAYPOINTS = 4000


@dataclass(frozen=True)
class Picture:
    """Nodes with their places, and edges.

    Parameters
    ----------
    ops : Mapping[str, str]
        Name of each node that is drawn → its operator.
    places : Mapping[str, tuple[float, int]]
        Name → place across, in widths of a node with 0 in the middle, and row from the top.
    edges : tuple[tuple[str, str, tuple[tuple[float, int], ...]], ...]
        Source, target, and the places between them that the edge runs through.
    """

    ops: Mapping[str, str]
    places: Mapping[str, tuple[float, int]]
    edges: tuple[tuple[str, str, tuple[tuple[float, int], ...]], ...]


def picture(graph: Graph, layers: Collection[str]) -> Picture:
    """Draw inputs, outputs, the given layers, and every other node in which several tensors meet.

    All other nodes, such as activation functions, are part of an edge.
    """
    ops, edges = _condensed(graph, set(layers))
    rows = _rows(ops, edges)
    places, waypoints = _places(ops, edges, rows)
    return Picture(ops, places, tuple((a, b, waypoints.get((a, b), ())) for a, b in edges))


def _condensed(graph: Graph, layers: set[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The nodes that are drawn, with their operators, and the edges between them, in graph order."""
    anchors: dict[str, str] = {}
    ops: dict[str, str] = {}
    edges: dict[tuple[str, str], None] = {}
    for name, node in graph.nodes.items():
        data = [nd.node_name(tensor) for tensor in _data_tensors(graph, node.name)]
        sources = list(dict.fromkeys(anchors[source] for source in data if source in anchors))
        drawn = name in layers or name in graph.input_nodes or len(sources) > 1
        if drawn:
            ops[name] = "Input" if name in graph.input_nodes else node.op
            anchors[name] = name
            edges.update(dict.fromkeys((source, name) for source in sources))
        elif sources:
            anchors[name] = sources[0]
    for tensor in graph.outputs:
        source = anchors.get(nd.node_name(tensor))
        if source is not None:
            name = f"{tensor} (output)"
            ops[name] = "Output"
            edges[source, name] = None
    return ops, list(edges)


def _data_tensors(graph: Graph, name: str) -> list[str]:
    """What a node reads, without shapes and indices where it also reads numbers."""
    read = nd.data_inputs(graph.nodes[name])
    return [tensor for tensor in read if graph.dtype(tensor).is_floating] or list(read)


def _rows(ops: Mapping[str, str], edges: list[tuple[str, str]]) -> dict[str, int]:
    """Row of each node: one below the lowest of its sources. Edges run down in the order of ``ops``."""
    sources: dict[str, list[str]] = {name: [] for name in ops}
    for source, target in edges:
        sources[target].append(source)
    rows: dict[str, int] = {}
    for name in ops:
        rows[name] = 1 + max((rows[source] for source in sources[name]), default=-1)
    return rows


def _places(
    ops: Mapping[str, str], edges: list[tuple[str, str]], rows: Mapping[str, int]
) -> tuple[dict[str, tuple[float, int]], dict[tuple[str, str], tuple[tuple[float, int], ...]]]:
    """Places by the barycentres of neighbours, with waypoints for edges that pass rows (J. Sugiyama et al., 1981)."""
    by_row: list[list[object]] = [[] for _ in range(1 + max(rows.values(), default=0))]
    for name in ops:
        by_row[rows[name]].append(name)
    links: dict[object, tuple[list[object], list[object]]] = {name: ([], []) for name in ops}
    chains: dict[tuple[str, str], list[object]] = {}
    passing = sum(rows[target] - rows[source] - 1 for source, target in edges)
    for source, target in edges:
        chain: list[object] = []
        if passing <= MOST_WAYPOINTS:
            chain = [(source, target, row) for row in range(rows[source] + 1, rows[target])]
        for row, waypoint in enumerate(chain, start=rows[source] + 1):
            by_row[row].append(waypoint)
            links[waypoint] = ([], [])
        for upper, lower in zip([source, *chain], [*chain, target], strict=True):
            links[upper][1].append(lower)
            links[lower][0].append(upper)
        chains[source, target] = chain
    across: dict[object, float] = {}
    for points in by_row:
        across.update({point: place - (len(points) - 1) / 2 for place, point in enumerate(points)})
    for sweep in range(SWEEPS):
        side = sweep % 2
        for points in by_row if side == 0 else reversed(by_row):
            aims = {point: _mean(links[point][side], across, across[point]) for point in points}
            _spread(sorted(points, key=aims.__getitem__), aims, across)
    row_of = {point: row for row, points in enumerate(by_row) for point in points}
    places = {name: (round(across[name], 2), rows[name]) for name in ops}
    waypoints = {
        edge: tuple((round(across[point], 2), row_of[point]) for point in chain) for edge, chain in chains.items()
    }
    return places, waypoints


def _mean(points: list[object], across: Mapping[object, float], default: float) -> float:
    return sum(across[point] for point in points) / len(points) if points else default


def _spread(row: list[object], aims: Mapping[object, float], across: dict[object, float]) -> None:
    """Put a row at its aims, at least 1 apart (0.4 beside waypoints), moving neighbours as little as that allows.

    With the least distances from the first point subtracted, these are the means of an isotonic regression.
    """
    gaps = [0.0, *(1.0 if isinstance(one, str) or isinstance(next_, str) else 0.4 for one, next_ in pairwise(row))]
    distances = list(accumulate(gaps))
    groups: list[tuple[float, int]] = []  # sum and number of neighbours that touch
    for point, distance in zip(row, distances, strict=True):
        total, count = aims[point] - distance, 1
        while groups and groups[-1][0] * count > total * groups[-1][1]:
            before, members = groups.pop()
            total, count = before + total, members + count
        groups.append((total, count))
    means = (total / count for total, count in groups for _ in range(count))
    across.update({point: mean + distance for point, mean, distance in zip(row, means, distances, strict=True)})
