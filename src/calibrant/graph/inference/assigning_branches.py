"""Branches that assign variables, left out before variables become constants, where constants decide against them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from calibrant.errors import CalibrantError, ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import called_functions
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.assigned_variables import HINT, assigns_resource, may_assign, with_constants
from calibrant.graph.inference.inference_mode import as_options, for_inference
from calibrant.graph.inference.variable_reads import READERS
from calibrant.graph.inference.variable_tensors import FRAMES
from calibrant.graph.inference.variables import inlined, read_after_assignment
from calibrant.graph.reading.bindings import PLACEHOLDERS, bind
from calibrant.graph.tf_core import GraphDef, NodeDef, dtypes

_MOST_PLACEHOLDERS = 8  # that are tried


def without_assigning_branches(
    graph_def: GraphDef,
    tensors: Sequence[str],
    source: str,
    constants: Mapping[str, Any] | None = None,
    fed: Sequence[str] = (),
) -> GraphDef:
    """The graph without branches that are never taken, where no variable is assigned then; otherwise as it was.

    Placeholders that are bound stay, to be bound again with the rest of the graph.

    Parameters
    ----------
    constants : Mapping[str, Any] | None
        Placeholder → the value that it is bound to; others have no say here.
    fed : Sequence[str]
        Tensors that no default decides.

    Raises
    ------
    ModelError
        A value is not of the type and shape of its placeholder.
    """
    if not may_assign(graph_def):
        return graph_def
    whole = GraphDef(versions=graph_def.versions, library=graph_def.library)
    whole.node.extend(with_constants({node.name: node for node in graph_def.node}).values())
    used = inlined(whole, tensors)
    if not _is_assigned(used, tensors):
        return graph_def
    nodes = {node.name: node for node in used.node}
    known = {nd.node_name(key): value for key, value in (constants or {}).items()}
    known = {name: value for name, value in known.items() if name in nodes and nodes[name].op in PLACEHOLDERS}
    bound = bind(nodes, known, source)
    graph = Graph(
        nodes=ordered(bound, tensors),
        inputs=tuple(tensor for tensor in map(nd.tensor_name, fed) if nd.node_name(tensor) in nodes.keys() - known),
        outputs=tuple(map(nd.tensor_name, tensors)),
        library=used.library,
        versions=used.versions,
        source=source,
    )
    try:
        decided = for_inference(graph)
    except ModelError:  # a tensor of a branch that is never taken: said of those that turn out to be wanted
        return graph_def
    if decided.outputs != graph.outputs:
        return graph_def
    placeholders = ordered(nodes, list(known))

    def with_placeholders(rest: Mapping[str, NodeDef]) -> GraphDef:
        result = GraphDef(versions=used.versions, library=decided.library)
        result.node.extend({**rest, **placeholders}.values())
        return result

    if _is_assigned(with_placeholders(decided.nodes), tensors):
        return graph_def
    return with_placeholders(_without_waiting(decided.nodes))


def _without_waiting(nodes: Mapping[str, NodeDef]) -> dict[str, NodeDef]:
    """The nodes, of which none waits to read a variable that nothing assigns, and no constant does.

    Where branches and loops are nodes, they stay: what a node waits for says there in which of them it is.
    """
    if any(node.op in FRAMES for node in nodes.values()):
        return dict(nodes)
    return {
        name: nd.copy_node(node, nd.data_inputs(node)) if _is_at_rest(node) else node for name, node in nodes.items()
    }


def _is_at_rest(node: NodeDef) -> bool:
    """Whether a node gives a constant, or a variable or its value."""
    is_handle = node.op == "Identity" and nd.attribute(node, "T") == dtypes.resource
    return is_handle or node.op == "Const" or node.op in READERS


@contextmanager
def naming_switch(
    model: Callable[[], GraphDef],
    tensors: Sequence[str],
    source: str,
    keys: Mapping[str, str],
    bound: Container[str],
) -> Iterator[None]:
    """Errors of variables that are assigned name the placeholder that turns the assignments off.

    Parameters
    ----------
    model : Callable[[], GraphDef]
        The graph in which nothing is decided; asked for when there is such an error.
    keys : Mapping[str, str]
        What users call an input → its tensor.
    bound : Container[str]
        Placeholders that users have set.

    Raises
    ------
    ModelError
        That of the body.
    """
    try:
        yield
    except ModelError as error:
        if all(problem.hint != HINT for problem in error.problems):
            raise
        hint = switch_hint(model(), tensors, source, keys, bound)
        if hint is None:
            raise
        changed = (replace(problem, hint=f"{hint}, or {HINT}") for problem in error.problems if problem.hint == HINT)
        raise ModelError(*changed, *(problem for problem in error.problems if problem.hint != HINT)) from None


def switch_hint(
    graph_def: GraphDef, tensors: Sequence[str], source: str, keys: Mapping[str, str], bound: Container[str]
) -> str | None:
    """What to set, and how, for no variable to be assigned that is read afterwards; None where nothing helps."""
    names = {nd.node_name(tensor): key for key, tensor in keys.items()}
    used = inlined(graph_def, tensors)
    bools = [node.name for node in used.node if node.op in PLACEHOLDERS and node.name not in bound and _is_bool(node)]
    trials: list[dict[str, bool]] = [{name: value} for name in bools[:_MOST_PLACEHOLDERS] for value in (False, True)]
    trials += [dict.fromkeys(bools, False)] if len(bools) > 1 else []
    for values in trials:
        try:
            decided = without_assigning_branches(graph_def, tensors, source, values)
        except (CalibrantError, ValueError, TypeError):  # a placeholder that is no switch
            continue
        if decided is not graph_def:
            return f"set it: {as_options({names.get(name, name): value for name, value in values.items()})}"
    return None


def _is_bool(node: NodeDef) -> bool:
    return nd.attribute(node, "dtype") == dtypes.bool and not node.attr["shape"].shape.dim


def _is_assigned(graph_def: GraphDef, tensors: Sequence[str]) -> bool:
    """Whether a variable is assigned in a function, or before it is read."""
    needed = ordered({node.name: node for node in graph_def.node}, tensors)
    called, _ = called_functions(needed.values(), graph_def.library)
    if any(assigns_resource(node) for function in called.values() for node in function.node_def):
        return True
    return bool(read_after_assignment(graph_def, tensors))
