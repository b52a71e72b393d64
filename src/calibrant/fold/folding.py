"""Folding: rounds of fusions until nothing changes any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from calibrant.fold.apply import apply
from calibrant.fold.chain import FoldChain
from calibrant.fold.norm_before_layer import NormBeforeLayer, norms_before_layers
from calibrant.fold.norm_into_weights import fold_into_layers
from calibrant.fold.not_fused import unfused_norms
from calibrant.fold.order import chains
from calibrant.fold.result import Folded, Fusion, NotFused
from calibrant.graph.canonical import canonicalize
from calibrant.graph.graph import Edit, Graph


def fold(graph: Graph, do_fusion: bool = True, skip_fusion_layers: Collection[str] = ()) -> Folded:
    """Bring products into canonical form, then fold norms, scalar factors and biases into layers.

    The outputs stay the same up to rounding, in the same order, and under the same names unless an output is a product
    whose result is rearranged, or a layer that gets a bias. A layer keeps its name and reads new weights;
    constants that others read too are not touched. The last node that was folded keeps its name and is now the BiasAdd.

    Parameters
    ----------
    graph : Graph
        Any graph; it is not changed.
    do_fusion : bool
        False folds nothing, not even additions of a bias.
    skip_fusion_layers : Collection[str]
        Layers to leave unchanged: no norm, factor or bias is folded into them, and no addition after them becomes a
        BiasAdd. A norm can be named instead; then the operations before it are still folded. Naming one convolution of
        a group convolution names them all.

    Returns
    -------
    Folded
        The folded graph, what was folded, and the norms that were not.
    """
    canonical = canonicalize(graph)
    graph = canonical.graph
    if not do_fusion:
        return Folded(graph, results=canonical.results)
    skip = frozenset(skip_fusion_layers)
    fusions: list[Fusion] = []
    while True:
        edit = graph.edit()
        failed: list[NotFused] = []
        moved: dict[str, str] = {}
        candidates = list(chains(graph, skip))
        foldable = [chain for chain in candidates if isinstance(chain, FoldChain)]
        norms_before = list(norms_before_layers(graph, skip))
        new = _apply(edit, [chain for chain in foldable if not chain.is_partial], failed)
        new = new or _apply(edit, [chain for chain in foldable if chain.is_partial], failed)
        new = new or _fold_first(edit, norms_before, failed, moved)
        if not new:
            refused = [norm for norm in norms_before if isinstance(norm, NotFused)]
            return Folded(graph, tuple(fusions), unfused_norms(graph, candidates, failed, refused), canonical.results)
        fusions.extend(new)
        graph = edit.finish(outputs=tuple(moved.get(tensor, tensor) for tensor in graph.outputs))


def _apply(edit: Edit, candidates: Iterable[FoldChain], failed: list[NotFused]) -> list[Fusion]:
    """Fold chains; ``failed`` gets those whose numbers do not fit."""
    fusions: list[Fusion] = []
    for chain in candidates:
        if not chain.groups:
            continue
        new, reason = apply(edit, chain)
        fusions.extend(new)
        if reason is not None:
            failed.append(reason)
    return fusions


def _fold_first(
    edit: Edit, norms: Iterable[NormBeforeLayer | NotFused], failed: list[NotFused], moved: dict[str, str]
) -> list[Fusion]:
    """Fold the first norm before layers that can be folded: it may change what the next one reads."""
    for norm in norms:
        if isinstance(norm, NotFused):
            continue
        fusions, reason = fold_into_layers(edit, norm, moved)
        if reason is None:
            return list(fusions)
        failed.append(reason)
    return []
