"""The whole of folding: round after round until nothing changes any more."""

from __future__ import annotations

from collections.abc import Collection

from calibrant.fold.apply import apply
from calibrant.fold.not_fused import unfused_norms
from calibrant.fold.order import chains
from calibrant.fold.result import Folded, Fusion, NotFused
from calibrant.graph.graph import Graph


def fold(graph: Graph, do_fusion: bool = True, skip_fusion_layers: Collection[str] = ()) -> Folded:
    """Fold norms, scalar factors and biases into the layers before them (fusions 1 to 7 of docs/specification).

    The outputs stay the same up to rounding, under the same names. A layer keeps its name and reads new weights;
    constants that others read too are not touched. The last node that was folded keeps its name and is now the BiasAdd.

    Parameters
    ----------
    graph : any graph; it is not changed.
    do_fusion : False returns the graph as it is, additions of a bias included.
    skip_fusion_layers : layers to leave as they are, with everything behind them: no norm, factor or bias is folded
        into them, and an addition is not made a BiasAdd. A norm can be named instead; then what comes before it is
        still folded. One convolution of a group convolution stands for all of them.
    """
    if not do_fusion:
        return Folded(graph)
    skip = frozenset(skip_fusion_layers)
    fusions: list[Fusion] = []
    while True:
        edit = graph.edit()
        found = list(chains(graph, skip))
        unfit: list[NotFused] = []
        changed = False
        for chain in found:
            if isinstance(chain, NotFused) or not chain.groups:
                continue
            done, reason = apply(edit, chain)
            fusions.extend(done)
            changed = changed or bool(done)
            if reason is not None:
                unfit.append(reason)
        if not changed:
            return Folded(graph, tuple(fusions), unfused_norms(graph, found, unfit))
        graph = edit.finish()
