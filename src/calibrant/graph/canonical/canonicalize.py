"""Every product of a graph into its canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from calibrant.graph.canonical.einsum import rewrite_einsum
from calibrant.graph.canonical.operands import ProductEdit, type_of
from calibrant.graph.canonical.transposed import rewrite_product
from calibrant.graph.graph import Graph
from calibrant.graph.inference.constant_folding import fold_constants
from calibrant.graph.inference.repeated_constants import without_repeated_constants
from calibrant.graph.inference.unread_values import without_unread_values
from calibrant.graph.known_sizes import with_known_sizes
from calibrant.graph.tf_core import dtypes

REWRITES = {
    "Einsum": rewrite_einsum,
    "MatMul": rewrite_product,
    "BatchMatMul": rewrite_product,
    "BatchMatMulV2": rewrite_product,
    "BatchMatMulV3": rewrite_product,
}
FLOATS = (dtypes.float16, dtypes.float32)


@dataclass(frozen=True)
class Canonical:
    """A graph whose products are canonical.

    Parameters
    ----------
    graph : Graph
        Gives the same outputs. An output that was a product is now called ``NAME/result`` where its result is
        rearranged; the order of the outputs is the same.
    results : Mapping[str, str]
        Name of each rearranged result → the original node whose values it has.
    """

    graph: Graph
    results: Mapping[str, str] = field(default_factory=dict)


def canonicalize(graph: Graph) -> Canonical:
    """Fold constants, and rewrite every float16 and float32 product that is not canonical; the rest stays as it is."""
    graph = fold_constants(without_repeated_constants(without_unread_values(with_known_sizes(graph))))
    edit = ProductEdit(graph)
    for node in graph.nodes.values():
        rewrite = REWRITES.get(node.op)
        if rewrite is not None and node.name not in graph.regions and type_of(node) in FLOATS:
            rewrite(edit, node)
    return Canonical(edit.finish(), edit.results)
