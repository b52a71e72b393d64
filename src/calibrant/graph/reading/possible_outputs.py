"""Where a graph may end whose file does not say it: nodes that nobody reads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import EXITS, LOOP_EDGES, in_loops
from calibrant.graph.reading import checks
from calibrant.graph.tf_core import NodeDef, dtypes, op_def_registry

MOST_OUTPUTS = 8
IN_PLACE = "calibrant_in_place"
"""Scope of the nodes that calibration in place adds to a graph."""
NEVER_OUTPUTS = frozenset(
    {
        "Assign",
        "Const",
        "IteratorToStringHandle",
        "Placeholder",
        "PlaceholderWithDefault",
        "Print",
        "VarIsInitializedOp",
    }
)
"""Operations whose outputs are no results."""

_HANDLES = (dtypes.resource.as_datatype_enum, dtypes.variant.as_datatype_enum)


def possible_outputs(nodes: Mapping[str, NodeDef]) -> list[str]:
    """The first nodes that nobody reads and that could be outputs."""
    return _sinks(nodes)[:MOST_OUTPUTS]


def _sinks(nodes: Mapping[str, NodeDef]) -> list[str]:
    """All nodes that nobody reads and that could be outputs."""
    inside = in_loops(nodes)
    own = {name: node for name, node in nodes.items() if not name.startswith(IN_PLACE)}
    read = {nd.node_name(reference) for node in own.values() for reference in node.input}
    used = {_loop_of(nodes, node) for node in nodes.values() if node.op in EXITS and node.name in read} - {None}
    sinks = (node for name, node in own.items() if name not in read and not _never_an_output(node))
    return [
        node.name
        for node in sinks
        if not (
            node.name in inside
            or _is_pivot(nodes, node)
            or _is_unused_argument(node)
            or (node.op in EXITS and _loop_of(nodes, node) in used)  # such as its counter
        )
    ]


def refuse_in_loops(nodes: Mapping[str, NodeDef], tensors: Sequence[str], role: str, source: str) -> None:
    """Refuse tensors as inputs or outputs that have a value for each turn of a loop of TensorFlow 1.x.

    Raises
    ------
    ModelError
        Naming each of them, and what may be an output instead.
    """
    inside = in_loops(nodes)
    named = [tensor for tensor in tensors if nd.node_name(tensor) in inside]
    ends = possible_outputs(nodes) if named else []
    hint = "name a tensor in front of the loop or behind it; inspect --nodes lists them"
    if role == "output" and ends:
        hint = f"name what is made of the loop: --outputs {shlex.quote(','.join(ends))}"
    if named:
        message = f"is inside a loop, where it has another value in every turn: it cannot be an {role}"
        raise ModelError(
            *(Problem(message, file=source, path=nd.input_reference(tensor), hint=hint) for tensor in named)
        )


def _never_an_output(node: NodeDef) -> bool:
    """Whether a node does something, stands for something or is fed, instead of giving numbers."""
    if node.op in NEVER_OUTPUTS:
        return True
    definition = op_def_registry.get(node.op)
    return definition is not None and all(output.type in _HANDLES for output in definition.output_arg)


def only_output(nodes: Mapping[str, NodeDef], source: str) -> tuple[str, ...]:
    """The output tensor of a graph with a single possible one.

    Raises
    ------
    ModelError
        There is none, or more than one.
    """
    sinks = _sinks(nodes)
    if len(sinks) == 1:
        if turning := _without_an_end(nodes):
            message = (
                f"{len(turning)} nodes lead to no output: they read one another in a cycle, through {turning[0]!r}"
            )
            raise ModelError(Problem(message, file=source, hint="mend the graph, or name the outputs with --outputs"))
        return (f"{sinks[0]}:0",)
    raise ModelError(
        *checks.variables(nodes, source)[: checks.MOST_PROBLEMS],
        Problem(
            f"the file does not say which tensors are outputs, and {len(sinks)} nodes have no reader"
            if sinks
            else "has no node that could be an output",
            file=source,
            allowed=", ".join(sinks[:MOST_OUTPUTS]) + (", …" if len(sinks) > MOST_OUTPUTS else "") if sinks else None,
            hint=_naming(sinks),
        ),
    )


def _naming(sinks: Sequence[str]) -> str:
    """How to name the outputs; with all of them where they are few."""
    if not sinks:
        return "name them with --outputs"
    if len(sinks) > MOST_OUTPUTS:
        return "name them with --outputs; calibrant inspect MODEL --nodes lists all tensors"
    return f"name those that you need; all of them are --outputs {shlex.quote(','.join(sinks))}"


def _without_an_end(nodes: Mapping[str, NodeDef]) -> list[str]:
    """The nodes from which every way ends in a cycle; none where that is a loop whose results nobody reads."""
    read = {nd.node_name(reference) for node in nodes.values() for reference in node.input}
    waiting = [name for name in nodes if name not in read]
    reached = set(waiting)
    while waiting:
        names = {nd.node_name(reference) for reference in nodes[waiting.pop()].input} - reached
        reached |= names
        waiting += names & nodes.keys()
    rest = [name for name in nodes if name not in reached]
    return [] if any(nodes[name].op in LOOP_EDGES for name in rest) else rest


def _is_pivot(nodes: Mapping[str, NodeDef], node: NodeDef) -> bool:
    """Whether a node is there for others to wait for, because a conditional of TensorFlow 1.x took this way."""
    if node.op != "Identity" or nd.attribute(node, "T") != dtypes.bool:
        return False
    producer = nodes.get(nd.node_name(node.input[0]))
    return producer is not None and (producer.op == "Switch" or node.name.endswith("/pred_id"))


def _loop_of(nodes: Mapping[str, NodeDef], node: NodeDef) -> str | None:
    """The name of the loop that an Exit leads out of: behind it are a Switch, a Merge and what enters the loop."""
    for _ in range(3):
        producer = nodes.get(nd.node_name(node.input[0])) if node.input else None
        if producer is None:
            return None
        node = producer
    return nd.attribute(node, "frame_name")


def _is_unused_argument(node: NodeDef) -> bool:
    """Whether a node was an argument of a function that TensorFlow has inlined."""
    return node.op == "Identity" and node.name.startswith("Func/") and "/input/_" in node.name
