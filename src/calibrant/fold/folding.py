"""The whole of folding: round after round until nothing changes any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from calibrant.fold.apply import apply
from calibrant.fold.chain import FoldChain
from calibrant.fold.in_front import NormInFront, fold_in_front, norms_in_front
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
    graph : any graph; it is not changed.
    do_fusion : False folds nothing, not even additions of a bias.
    skip_fusion_layers : layers to leave as they are, with everything behind them: no norm, factor or bias is folded
        into them, and an addition is not made a BiasAdd. A norm can be named instead; then what comes before it is
        still folded. One convolution of a group convolution stands for all of them.
    """
    canonical = canonicalize(graph)
    graph = canonical.graph
    if not do_fusion:
        return Folded(graph, results=canonical.results)
    skip = frozenset(skip_fusion_layers)
    fusions: list[Fusion] = []
    while True:
        edit, found, failed, moved = graph.edit(), list(chains(graph, skip)), [], {}
        whole = [chain for chain in found if isinstance(chain, FoldChain)]
        in_front = list(norms_in_front(graph, skip))
        done = _apply(edit, [chain for chain in whole if not chain.is_partial], failed)
        done = done or _apply(edit, [chain for chain in whole if chain.is_partial], failed)
        done = done or _fold_first(edit, in_front, failed, moved)
        if not done:
            refused = [norm for norm in in_front if isinstance(norm, NotFused)]
            return Folded(graph, tuple(fusions), unfused_norms(graph, found, failed, refused), canonical.results)
        fusions.extend(done)
        graph = edit.finish(outputs=tuple(moved.get(tensor, tensor) for tensor in graph.outputs))


def _apply(edit: Edit, found: Iterable[FoldChain], failed: list[NotFused]) -> list[Fusion]:
    """Fold chains; ``failed`` gets those whose numbers do not fit."""
    fusions: list[Fusion] = []
    for chain in found:
        if not chain.groups:
            continue
        done, reason = apply(edit, chain)
        fusions.extend(done)
        if reason is not None:
            failed.append(reason)
    return fusions


def _fold_first(
    edit: Edit, found: Iterable[NormInFront | NotFused], failed: list[NotFused], moved: dict[str, str]
) -> Sequence[Fusion]:
    """Fold the first norm in front of layers that can be: it may change what the next one reads."""
    for norm in found:
        if isinstance(norm, NotFused):
            continue
        done, reason = fold_in_front(edit, norm, moved)
        if done:
            return done
        failed.append(reason)
    return ()
