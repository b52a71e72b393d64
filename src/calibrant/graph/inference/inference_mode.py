"""Graphs that can train as well: the switch turned to inference, and what only training needs left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from calibrant.errors import CalibrantError, ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import needed_library
from calibrant.graph.functions.inline import CALLS, inline_calls
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.assigned_variables import without_assignments
from calibrant.graph.inference.controls import without_idle_controls
from calibrant.graph.inference.dead_branches import DECIDING, without_dead_branches
from calibrant.graph.inference.decided import decided_values
from calibrant.graph.inference.dropout import UNIFORM, without_idle_dropout
from calibrant.graph.inference.placement import without_placement
from calibrant.graph.inference.settled_variables import with_settled_variables
from calibrant.graph.reading.bindings import bind
from calibrant.graph.reading.checks import MOST_PROBLEMS, importable, is_in_training, training_mode
from calibrant.graph.reading.cut_proposal import inputs_option
from calibrant.graph.reading.narrow_places import loses_layers, narrow_places
from calibrant.graph.sample_axis import takes_one_sample
from calibrant.graph.tf_core import dtypes

_DEPTH = 20  # decisions within decisions


def for_inference(graph: Graph) -> Graph:
    """The graph without branches that are never taken and without dropouts that drop nothing."""
    for _ in range(_DEPTH):
        operations = {node.op for node in graph.nodes.values()}
        if not operations & (DECIDING.keys() | UNIFORM):
            break
        before = graph
        graph = _inlined(without_dead_branches(graph))
        graph = without_idle_dropout(graph)
        if graph is before:
            break
        graph = without_idle_controls(graph)
    return graph


def _inlined(graph: Graph) -> Graph:
    if not any(node.op in CALLS for node in graph.nodes.values()):
        return graph
    result = inline_calls(graph.graph_def(), (*graph.outputs, *graph.inputs))
    kept = ordered({node.name: without_placement(node) for node in result.node}, (*graph.outputs, *graph.inputs))
    inlined = replace(graph, nodes=kept, library=needed_library(kept.values(), result.library))
    if any(node.op in CALLS for node in kept.values()):
        importable(inlined)  # a branch is read more closely where it is called
    return inlined


def switches(graph: Graph) -> list[str]:
    """Placeholders of one bool that decide which branch runs."""
    candidates = []
    for name in graph.input_nodes:
        node = graph.nodes[name]
        if node.op == "Placeholder" and nd.attribute(node, "dtype") == dtypes.bool and _may_be_scalar(graph, name):
            bound = _with(graph, {name: False})
            deciding = [nd.data_inputs(node)[DECIDING[node.op]] for node in graph.nodes.values() if node.op in DECIDING]
            if len(decided_values(bound, deciding)) > len(decided_values(graph, deciding)):
                candidates.append(name)
    return sorted(candidates)


def proposal(graph: Graph, is_fit: Callable[[Graph], bool]) -> dict[str, Any] | None:
    """Placeholder → value that makes the graph one for inference, found by trying; None where nothing does.

    Parameters
    ----------
    is_fit : Callable[[Graph], bool]
        Graph → whether it may be run as it is.
    """
    for values in _trials(graph):
        if _helps(graph, values, is_fit):
            for name in list(values):
                fewer = {other: value for other, value in values.items() if other != name}
                if fewer and _helps(graph, fewer, is_fit):
                    values = fewer
            return values
    return None


def _helps(graph: Graph, values: Mapping[str, Any], is_fit: Callable[[Graph], bool]) -> bool:
    try:
        return is_fit(for_inference(_with(graph, values)))
    except (CalibrantError, ValueError, TypeError):  # a placeholder that is no switch
        return False


def _trials(graph: Graph) -> Iterator[dict[str, Any]]:
    """Values worth trying: no training; every probability 1 (to keep), then 0 (to drop)."""
    kinds: dict[str, bool] = {}
    for name, node in graph.nodes.items():
        if node.op in ("Placeholder", "PlaceholderWithDefault") and _may_be_scalar(graph, name):
            dtype = nd.attribute(node, "dtype")
            if dtype == dtypes.bool or dtype.is_floating or dtype.is_integer:
                kinds[name] = dtype == dtypes.bool
    for name, is_bool in sorted(kinds.items(), key=lambda kind: not kind[1]):
        yield from ({name: value} for value in ((False, True) if is_bool else (1, 0)))
    for probability, training in itertools.product((1, 0), (False, True)) if len(kinds) > 1 else ():
        yield {name: training if is_bool else probability for name, is_bool in kinds.items()}


def _may_be_scalar(graph: Graph, name: str) -> bool:
    return graph.shape(f"{name}:0") in ((), None)


def _with(graph: Graph, values: Mapping[str, Any]) -> Graph:
    inputs = [tensor for tensor in graph.inputs if nd.node_name(tensor) not in values]
    nodes = bind(graph.nodes, values, graph.source)
    return replace(
        graph, nodes={name: nodes[name] for name in graph.nodes}, inputs=tuple(inputs), input_keys=tuple(inputs)
    )


def as_options(values: Mapping[str, Any]) -> str:
    """The values as a person writes them, for the command line and for Python."""
    options = " ".join(f"--set {name}={str(value).lower()}" for name, value in sorted(values.items()))
    return f"{options}; in Python constants={dict(sorted(values.items()))}"


def deterministic(graph: Graph, original: Graph) -> None:
    """The graph gives the same result for the same sample every time.

    A batch norm in training mode does if the model takes one sample at a time, and nothing would switch it off.

    Parameters
    ----------
    graph : Graph
        The graph after :func:`for_inference`.
    original : Graph
        The graph before it.

    Raises
    ------
    ModelError
        Operations are in training mode; lists them, or names the placeholder that would switch them off.
    """
    problems = training_mode(graph)
    if not problems:
        return
    values = proposal(original, lambda trial: not training_mode(trial))
    if values is None and takes_one_sample(graph):
        norms = {node.name for node in graph.nodes.values() if is_in_training(graph, node)}
        problems = [problem for problem in problems if problem.path not in norms]
        if not problems:
            return
    if values is None:
        cut = _cut(graph, problems)
        hints = [problem.hint and f"{problem.hint}{cut}" for problem in problems[:MOST_PROBLEMS]]
        raise ModelError(*(replace(each, hint=hint) for each, hint in zip(problems, hints, strict=False)))
    more = f" and {len(problems) - 1} more run" if len(problems) > 1 else " runs"
    raise ModelError(
        Problem(
            f"{problems[0].path!r}{more} as in training, until {' and '.join(map(repr, sorted(values)))} is set",
            file=graph.source,
            hint=as_options(values),
        )
    )


def unassigned(graph: Graph) -> Graph:
    """The graph without what stands in for assignments, as :func:`without_assignments` leaves it.

    Variables that it assigns what they are from the second run on are that.

    Raises
    ------
    ModelError
        A variable is, or may be, read after it was assigned; names the switch that turns that off, if there is one.
    """
    try:
        return without_assignments(*with_settled_variables(graph))
    except ModelError as error:
        trials: Iterator[dict[str, Any]] = ({name: value} for name in switches(graph) for value in (False, True))
        values = next((trial for trial in trials if _helps(graph, trial, _is_unassigned)), None)
        if values is None:
            raise
        hint = f"set it: {as_options(values)}"
        raise ModelError(*(replace(each, hint=f"{hint}, or {each.hint}") for each in error.problems)) from None


def _is_unassigned(graph: Graph) -> bool:
    without_assignments(graph)
    return True


def _cut(graph: Graph, problems: Sequence[Problem]) -> str:
    """The cut that leaves all of these operations out, where that loses no layer."""
    paths = {problem.path for problem in problems if problem.path is not None}
    place = next(narrow_places(graph, {*paths, *graph.input_nodes}), None)
    if place is None or loses_layers(graph, place):
        return ""
    return f", or feed what comes after: {inputs_option(graph, [place])}"


def undecided(graph: Graph) -> None:
    """No input of the graph is a switch for training.

    Raises
    ------
    ModelError
        Naming it, and what to write.
    """
    names = switches(graph)
    if names:
        others = [key for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)]
        raise ModelError(
            *(
                Problem(
                    "is one bool that decides which branch of the graph runs; calibration data have no place for it",
                    file=graph.source,
                    path=name,
                    hint=f"set it: {as_options({name: False})} (or, to feed it all the same, --inputs "
                    f"{','.join(others)})",
                )
                for name in names
            )
        )
