"""Step: where numbers of the float network become NaN or infinite once it is quantized, as a logarithm of zero does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.running.run import run_once

NOT_EVERYWHERE = frozenset(
    {
        *("Log", "Log1p", "Sqrt", "Rsqrt", "Pow", "Exp", "Expm1"),
        *("Reciprocal", "Inv", "RealDiv", "Div", "Xlogy", "Xdivy"),
        *("Acos", "Asin", "Acosh", "Atanh", "Lgamma", "Erfinv", "Ndtri"),
    }
)
"""Operations that have no finite result for some numbers."""
MOST_LAYERS = 3


def undefined_samples(reference: np.ndarray, outputs: np.ndarray) -> int:
    """How many samples have a number in the first that is none in the second; both are [N, ...]."""
    lost = np.isfinite(reference) & ~np.isfinite(outputs)
    return int(lost.reshape(len(lost), -1).any(axis=1).sum())


def where_undefined(graph: Graph, fed: Sequence[Mapping[str, np.ndarray]], layers: Collection[str]) -> str | None:
    """The first operation that makes something else than numbers of numbers, and the layers that it reads from.

    Parameters
    ----------
    graph : Graph
        The fake-quantized network.
    fed : Sequence[Mapping[str, np.ndarray]]
        Batches by input.
    layers : Collection[str]
        Names of the quantized layers.
    """
    suspects = [
        node
        for node in ordered(graph.nodes, graph.outputs).values()
        if node.op in NOT_EVERYWHERE and node.name not in graph.regions and graph.dtype(f"{node.name}:0").is_floating
    ]
    fetches = {tensor: None for node in suspects for tensor in (f"{node.name}:0", *nd.data_inputs(node))}
    for batch in fed:
        values = dict(zip(fetches, run_once(graph, batch, list(fetches)), strict=True))
        finite = {tensor: bool(np.isfinite(value).all()) for tensor, value in values.items()}
        for node in suspects:
            if not finite[f"{node.name}:0"] and all(finite[tensor] for tensor in nd.data_inputs(node)):
                read = _layers_before(graph, node.name, layers)
                quoted = " and ".join(f'"{name}"' for name in read)
                way_out = f"; in float it is as before: skip_layers : {quoted}" if read else ""
                return f"{node.op} {node.name!r} has no finite result for what it reads{way_out}"
    return None


def _layers_before(graph: Graph, name: str, layers: Collection[str]) -> list[str]:
    """The nearest layers that a node depends on."""
    found: list[str] = []
    seen = {name}
    waiting = [name]
    for current in waiting:
        for tensor in nd.data_inputs(graph.nodes[current]):
            before = nd.node_name(tensor)
            if before in seen:
                continue
            seen.add(before)
            if before in layers:
                found.append(before)
            else:
                waiting.append(before)
    return found[:MOST_LAYERS]
