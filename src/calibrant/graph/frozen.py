"""Frozen GraphDefs: reading, checking, choosing inputs and outputs, cutting at inner tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from calibrant.errors import ModelError, Problem, did_you_mean
from calibrant.graph import checks
from calibrant.graph import nodes as nd
from calibrant.graph.ascend.lower import has_ascend_operators, lower
from calibrant.graph.control_flow import needed_library
from calibrant.graph.controls import without_idle_controls
from calibrant.graph.cut import cut, stand_in
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inline import inline_calls

NEVER_OUTPUTS = frozenset(
    {
        "Assert",
        "Assign",
        "AssignVariableOp",
        "Const",
        "NoOp",
        "Placeholder",
        "PlaceholderWithDefault",
        "Print",
        "PrintV2",
        "VarIsInitializedOp",
    }
)
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def from_binary(path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Graph:
    """A binary GraphDef file."""
    content = _read(path)
    graph_def = GraphDef()
    try:
        graph_def.ParseFromString(content)
        damaged = not graph_def.node or any(not node.name or not node.op for node in graph_def.node)
    except DecodeError:
        damaged = True
    if damaged:
        raise ModelError(
            Problem(
                f"is not a frozen TensorFlow graph, or is cut short ({len(content)} bytes)",
                file=str(path),
                allowed="a binary GraphDef (.pb), a text one (.pbtxt), a SavedModel folder, a .keras or .h5 file",
            )
        )
    return select(graph_def, str(path), inputs, outputs)


def from_text(path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Graph:
    """A text GraphDef file."""
    graph_def = GraphDef()
    try:
        text_format.Parse(_read(path).decode(), graph_def)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(Problem(f"is not a GraphDef in text form: {error}", file=str(path))) from None
    return select(graph_def, str(path), inputs, outputs)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None


def select(
    graph_def: GraphDef,
    source: str,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    input_keys: Sequence[str] = (),
    output_keys: Sequence[str] = (),
) -> Graph:
    """A checked Graph of what lies between the inputs and the outputs.

    ``inputs`` may name inner tensors: their producers become placeholders and what lies before them is dropped.
    A deployable model in the Ascend operator set is lowered to stock operations on the way.
    """
    nodes = _unique_nodes(graph_def, source)
    if any(node.op in CALLS for node in nodes.values()):
        named = [name for name in outputs or () if nd.node_name(name) in nodes]  # others may be inside a function
        fetches = [nd.tensor_name(name) for name in named or _candidates(nodes, "output")]
        graph_def = inline_calls(graph_def, fetches)
        nodes = _unique_nodes(graph_def, source)
    checks.dangling_inputs(nodes, source)
    if has_ascend_operators(nodes.values()):
        graph_def = lower(graph_def, source)
        nodes = _unique_nodes(graph_def, source)
    output_tensors = _resolve(nodes, outputs, "output", source) if outputs else _only_sink(nodes, source)
    if inputs:
        input_tensors = _resolve(nodes, inputs, "input", source)
        nodes, input_tensors = cut(graph_def, nodes, input_tensors, source)
    else:
        needed = ordered(nodes, output_tensors)
        input_tensors = tuple(f"{name}:0" for name, node in needed.items() if node.op == "Placeholder")
        if not input_tensors:
            raise ModelError(
                Problem(
                    "has no placeholder that leads to the outputs",
                    file=source,
                    hint="name the tensor to feed with --inputs",
                )
            )
    kept = ordered(nodes, (*output_tensors, *input_tensors))
    graph = Graph(
        nodes=kept,
        inputs=input_tensors,
        outputs=output_tensors,
        input_keys=tuple(input_keys) or tuple(nd.input_reference(tensor) for tensor in input_tensors),
        output_keys=tuple(output_keys) or tuple(nd.input_reference(tensor) for tensor in output_tensors),
        library=needed_library(kept.values(), graph_def.library),
        versions=graph_def.versions,
        source=source,
    )
    checks.runnable(graph)
    return without_idle_controls(graph)


def _unique_nodes(graph_def: GraphDef, source: str) -> dict[str, NodeDef]:
    nodes = {node.name: _without_placement(node) for node in graph_def.node}
    if not nodes:
        raise ModelError(Problem("the graph has no nodes", file=source))
    if len(nodes) != len(graph_def.node):
        raise ModelError(Problem("two nodes have the same name", file=source))
    return nodes


def _without_placement(node: NodeDef) -> NodeDef:
    """The node without what ties it to the machine and the run that made it: device, neighbours, names of functions."""
    if not (node.device or "_class" in node.attr or node.HasField("experimental_debug_info")):
        return node
    free = nd.copy_node(node)
    free.device = ""
    free.attr.pop("_class", None)
    free.ClearField("experimental_debug_info")
    return free


def _resolve(nodes: Mapping[str, NodeDef], names: Sequence[str], role: str, source: str) -> tuple[str, ...]:
    problems = []
    tensors = []
    for name in names:
        tensor = nd.tensor_name(name.strip())
        node = nd.split_tensor(tensor)[0]
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
                    hint=did_you_mean(node, nodes),
                )
            )
    if len(set(tensors)) != len(tensors):
        problems.append(Problem(f"an {role} is named twice: {', '.join(names)}", file=source))
    if problems:
        raise ModelError(*problems)
    return tuple(tensors)


def _candidates(nodes: Mapping[str, NodeDef], role: str) -> list[str]:
    if role == "input":
        return [name for name, node in nodes.items() if node.op == "Placeholder"][:8]
    read = {nd.node_name(reference) for node in nodes.values() for reference in node.input}
    return [name for name, node in nodes.items() if name not in read and node.op not in NEVER_OUTPUTS][:8]


def _only_sink(nodes: Mapping[str, NodeDef], source: str) -> tuple[str, ...]:
    sinks = _candidates(nodes, "output")
    if len(sinks) == 1:
        return (f"{sinks[0]}:0",)
    raise ModelError(
        *checks.variables(nodes, source)[: checks.MOST],
        Problem(
            f"the file does not say which tensors are outputs, and {len(sinks)} nodes have no reader"
            if sinks
            else "has no node that could be an output",
            file=source,
            allowed=", ".join(sinks) if sinks else None,
            hint="name them with --outputs",
        ),
    )
