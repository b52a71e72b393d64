"""A warning about batch norms in training mode, which a model that takes one sample at a time may have on purpose."""

from __future__ import annotations

from calibrant.graph.graph import Graph
from calibrant.graph.reading.checks import is_in_training


def training_norm_warnings(graph: Graph) -> list[str]:
    """One sentence, if there are any."""
    norms = [node.name for node in graph.nodes.values() if is_in_training(graph, node)]
    if not norms:
        return []
    more = f" and {len(norms) - 1} more batch norms take their" if len(norms) > 1 else ": this batch norm takes its"
    return [
        f"{norms[0]!r}{more} statistics from the sample, as in training; export the model for inference unless that is "
        "meant, as in image generators"
    ]
