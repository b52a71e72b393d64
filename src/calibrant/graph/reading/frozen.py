"""Frozen GraphDefs: reading, checking, choosing inputs and outputs, cutting at inner tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from calibrant.errors import ModelError, Problem, did_you_mean
from calibrant.graph import nodes as nd
from calibrant.graph.ascend.lower import has_ascend_operators, lower
from calibrant.graph.functions.control_flow import needed_library
from calibrant.graph.functions.enclosed_channels import with_channels_last_enclosed
from calibrant.graph.functions.inline import CALLS, inline_calls
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.grouped_conv3d import split_groups
from calibrant.graph.inference.assigned_variables import with_constants
from calibrant.graph.inference.controls import without_idle_controls, without_unfed_controls
from calibrant.graph.inference.inference_mode import deterministic, for_inference, proposal, unassigned, undecided
from calibrant.graph.inference.placement import without_placement
from calibrant.graph.inference.prints import without_prints
from calibrant.graph.inference.single_precision import BRAIN, in_single_precision, not_quantized
from calibrant.graph.pieces import read_graph_def
from calibrant.graph.reading import checks
from calibrant.graph.reading.bindings import bind
from calibrant.graph.reading.cut import cut, stand_in
from calibrant.graph.reading.cut_proposal import cut_hint
from calibrant.graph.reading.fixed_batch import with_fixed_batch
from calibrant.graph.reading.plausible import plausible
from calibrant.graph.reading.possible_outputs import only_output, possible_outputs, refuse_in_loops
from calibrant.graph.reading.written_ends import written_ends
from calibrant.graph.tf_core import GraphDef, NodeDef


def from_binary(
    path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None, constants: Mapping[str, Any] | None
) -> Graph:
    """A binary GraphDef file."""
    graph_def = GraphDef()
    try:
        graph_def, sizes = read_graph_def(path)
        damaged = not graph_def.node or any(not node.name or not node.op for node in graph_def.node)
    except DecodeError:
        damaged = True
    except OSError as error:
        raise _unreadable(path, error) from None
    if damaged:
        raise ModelError(
            Problem(
                f"is not a frozen TensorFlow graph, or is cut short ({path.stat().st_size} bytes)",
                file=str(path),
                allowed="a binary GraphDef (.pb), a text one (.pbtxt), a SavedModel folder, .keras, .h5 or .meta file",
            )
        )
    plausible(graph_def, str(path), sizes)
    ends = None if inputs or outputs or constants else written_ends(path, {node.name for node in graph_def.node})
    if ends is not None:
        inputs, outputs = ends.inputs, ends.outputs
    input_keys, output_keys = ((), ()) if ends is None else (ends.input_keys, ends.output_keys)
    return select(graph_def, str(path), inputs, outputs, input_keys, output_keys, constants, is_plausible=True)


def from_text(
    path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None, constants: Mapping[str, Any] | None
) -> Graph:
    """A text GraphDef file."""
    graph_def = GraphDef()
    try:
        text_format.Parse(_read(path).decode(), graph_def)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(Problem(f"is not a GraphDef in text form: {error}", file=str(path))) from None
    except RecursionError:
        raise ModelError(Problem("is not a GraphDef in text form: it is nested too deeply", file=str(path))) from None
    return select(graph_def, str(path), inputs, outputs, constants=constants)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path)))


def select(
    graph_def: GraphDef,
    source: str,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None = None,
    input_keys: Sequence[str] = (),
    output_keys: Sequence[str] = (),
    constants: Mapping[str, Any] | None = None,
    is_plausible: bool = False,
) -> Graph:
    """A checked Graph of what lies between the inputs and the outputs.

    ``inputs`` may name inner tensors: their producers become placeholders and what lies before them is dropped.
    Placeholders that ``constants`` names are bound, and what only training needs is left out.
    A deployable model in the Ascend operator set is lowered to stock operations on the way. ``is_plausible`` says that
    :func:`plausible` has passed the graph, or what it was made of.
    """
    if not is_plausible:
        plausible(graph_def, source)
    try:
        return _select(graph_def, source, inputs, outputs, input_keys, output_keys, constants)
    except ModelError as error:
        error.unfit = graph_def
        raise


def _select(
    graph_def: GraphDef,
    source: str,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    input_keys: Sequence[str],
    output_keys: Sequence[str],
    constants: Mapping[str, Any] | None,
) -> Graph:
    nodes = _unique_nodes(graph_def, source)
    if any(node.op in CALLS for node in nodes.values()):
        named = [name for name in outputs or () if nd.node_name(name) in nodes]  # others may be inside a function
        fetches = [nd.tensor_name(name) for name in named or possible_outputs(nodes)]
        graph_def = inline_calls(graph_def, fetches)
        nodes = _unique_nodes(graph_def, source)
    checks.dangling_inputs(nodes, source)
    is_quantized = has_ascend_operators(nodes.values())
    if is_quantized:
        graph_def = lower(graph_def, source)
        nodes = _unique_nodes(graph_def, source)
    nodes = with_constants(nodes)
    if constants:
        nodes = bind(nodes, constants, source)
    output_tensors = resolve(nodes, outputs, "output", source) if outputs else only_output(nodes, source)
    refuse_in_loops(nodes, output_tensors, "output", source)
    inputs = inputs or _instead_of_a_queue(nodes, output_tensors)
    if inputs:
        input_tensors = resolve(nodes, inputs, "input", source)
        refuse_in_loops(nodes, input_tensors, "input", source)
        nodes, input_tensors = cut(graph_def, nodes, input_tensors, source)
        kept = ordered(nodes, (*output_tensors, *input_tensors))
    else:
        kept = ordered(nodes, output_tensors)
        input_tensors = tuple(f"{name}:0" for name, node in kept.items() if node.op == "Placeholder")
    graph = Graph(
        nodes=kept,
        inputs=input_tensors,
        outputs=output_tensors,
        input_keys=tuple(input_keys) or tuple(nd.input_reference(tensor) for tensor in input_tensors),
        output_keys=tuple(output_keys) or tuple(nd.input_reference(tensor) for tensor in output_tensors),
        library=with_channels_last_enclosed(needed_library(kept.values(), graph_def.library)),
        versions=graph_def.versions,
        source=source,
    )
    checks.well_formed(graph)
    if inputs:
        graph = without_unfed_controls(graph)
    inference = without_idle_controls(for_inference(without_prints(graph)))
    if not inputs and (inference is not graph or not graph.inputs):
        inference = _with_needed_inputs(inference)
    given = (input_keys or inputs) if inputs else ()
    checks.fed(inference, lambda: proposal(graph, lambda trial: not checks.training_mode(trial)), given)
    deterministic(inference, graph)
    checks.norm_statistics(inference)
    if not inputs:
        undecided(inference)
    inference = unassigned(inference)
    others = BRAIN if is_quantized else not_quantized(inference)
    return with_fixed_batch(split_groups(in_single_precision(inference, others)))


def _instead_of_a_queue(nodes: Mapping[str, NodeDef], outputs: Sequence[str]) -> list[str]:
    """The placeholders that take what a pipeline gives unless they are fed, where nothing else can be fed."""
    needed = ordered(nodes, outputs)
    if any(node.op == "Placeholder" for node in needed.values()):
        return []
    by_default = [node for node in needed.values() if node.op == "PlaceholderWithDefault"]
    return [node.name for node in by_default if _sources(ordered(nodes, nd.data_inputs(node)))]


def _sources(nodes: Mapping[str, NodeDef]) -> list[str]:
    """What reads nothing and is no constant."""
    return [name for name, node in nodes.items() if not nd.data_inputs(node) and node.op != "Const"]


def all_nodes(graph_def: GraphDef, source: str) -> Graph:
    """Everything that a GraphDef has, unchecked, to be listed."""
    nodes = {node.name: node for node in graph_def.node}
    return Graph(nodes, (), (), library=graph_def.library, versions=graph_def.versions, source=source)


def known_tensors(graph: Graph) -> Mapping[str, tuple[nd.OpenShape | None, Any]]:
    """Shape and type of every tensor; neither for the first of each node where TensorFlow does not accept the graph."""
    try:
        checks.importable(graph)
        return graph.tensors
    except ModelError:
        return {f"{name}:0": (None, None) for name in graph.nodes}


def select_by_key(
    graph_def: GraphDef,
    source: str,
    feeds: Mapping[str, str],
    fetches: Mapping[str, str],
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    constants: Mapping[str, Any] | None,
    is_plausible: bool,
) -> Graph:
    """The same for a model whose inputs and outputs have names of their own, which ``inputs`` and ``outputs`` may use.

    Parameters
    ----------
    feeds, fetches : Mapping[str, str]
        Key → tensor. A tensor with two keys is passed on by a node for the second.
    is_plausible : bool
        As for :func:`select`.
    """
    bound = {nd.node_name(feeds.get(key, key)): value for key, value in (constants or {}).items()}
    fed = _keyed(feeds, inputs)
    fed = {key: tensor for key, tensor in fed.items() if nd.node_name(tensor) not in bound}
    read = _keyed(fetches, outputs)
    tensors = dict.fromkeys(read.values())
    graph = select(graph_def, source, list(fed.values()), list(tensors), list(fed), list(tensors), bound, is_plausible)
    places = dict(zip(tensors, graph.outputs, strict=True))
    edit, results = graph.edit(), []
    for tensor in read.values():
        place = places[tensor]
        if place in results:
            place = edit.add("Identity", f"{nd.node_name(place)}/again", [place], T=graph.dtype(place))
        results.append(place)
    changed = edit.finish(outputs=tuple(results)) if len(read) > len(tensors) else graph
    return replace(changed, output_keys=tuple(read))


def _keyed(tensors: Mapping[str, str], wanted: Sequence[str] | None) -> dict[str, str]:
    """Key → tensor of those that are wanted, by key or by tensor; all by default."""
    if not wanted:
        return {key: nd.tensor_name(tensor) for key, tensor in tensors.items()}
    keys = {nd.tensor_name(tensor): key for key, tensor in tensors.items()}
    named = [tensors.get(_exact(name, tensors), name) for name in wanted]
    return {keys.get(nd.tensor_name(name), name): name for name in named}


def _with_needed_inputs(graph: Graph) -> Graph:
    """The graph fed at the placeholders that its outputs need."""
    needed = ordered(graph.nodes, graph.outputs)
    inputs = tuple(f"{name}:0" for name, node in needed.items() if node.op == "Placeholder")
    if not inputs:
        message, hint = "has no placeholder that leads to the outputs", "name the tensor to feed with --inputs"
        if sources := _sources(needed):
            message, hint = f"{message}, which read from {sources[0]!r}", cut_hint(graph, sources)
        raise ModelError(Problem(message, file=graph.source, hint=hint))
    if inputs == graph.inputs:
        return graph
    keys = tuple(nd.input_reference(tensor) for tensor in inputs)
    return replace(graph, nodes=needed, inputs=inputs, input_keys=keys)


def _unique_nodes(graph_def: GraphDef, source: str) -> dict[str, NodeDef]:
    nodes = {node.name: without_placement(node) for node in graph_def.node}
    if not nodes:
        raise ModelError(Problem("the graph has no nodes", file=source))
    if len(nodes) != len(graph_def.node):
        twice = next(name for name, count in Counter(node.name for node in graph_def.node).items() if count > 1)
        raise ModelError(Problem(f"two nodes have the same name, {twice!r}", file=source))
    return nodes


def resolve(nodes: Mapping[str, NodeDef], names: Sequence[str], role: str, source: str) -> tuple[str, ...]:
    """The tensors that are meant by the names of inputs or outputs.

    Parameters
    ----------
    role : str
        What they are to be, for the messages: ``'input'`` or ``'output'``.

    Raises
    ------
    ModelError
        There is no such node, or one is named twice.
    """
    problems = []
    tensors = []
    for name in names:
        tensor = nd.tensor_name(name.strip())
        node, index = nd.split_tensor(tensor)
        if (exact := _exact(node, nodes)) != node:
            node, tensor = exact, f"{exact}:{index}"
        if node in nodes:
            tensors.append(tensor)
        elif role == "input" and stand_in(tensor) in nodes:  # the model was cut there before
            tensors.append(f"{stand_in(tensor)}:0")
        else:
            candidates = _candidates(nodes, role)
            problems.append(
                Problem(
                    f"there is no node {node!r} to be an {role}",
                    file=source,
                    allowed="for example " + ", ".join(candidates) if candidates else None,
                    hint=did_you_mean(node, nodes) or "inspect --nodes lists all tensors",
                )
            )
    if len(set(tensors)) != len(tensors):
        problems.append(Problem(f"an {role} is named twice: {', '.join(names)}", file=source))
    if problems:
        raise ModelError(*problems)
    return tuple(tensors)


def _exact(name: str, names: Collection[str]) -> str:
    """The one of the names that is meant: the same, or else the only one that differs in case alone."""
    if name in names:
        return name
    same = [other for other in names if other.lower() == name.lower()]
    return same[0] if len(same) == 1 else name


def _candidates(nodes: Mapping[str, NodeDef], role: str) -> list[str]:
    if role == "input":
        return [name for name, node in nodes.items() if node.op == "Placeholder"][:8]
    return possible_outputs(nodes)
