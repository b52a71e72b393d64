"""Functions of a graph under names that no other function of the process has."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Mapping, Sequence

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import FunctionDef, GraphDef, NodeDef, dtypes, op_def_registry

_WITH_HANDLES = frozenset({dtypes.resource.as_datatype_enum, dtypes.variant.as_datatype_enum})
_COUNT = re.compile(r"_(\d+)(?=_frozen|_grad|_rewritten|_tfg_|_\d+$|$)")
"""What TensorFlow appends, and has within the names of converted functions: a count of all that was traced before."""
_UNREAD = re.compile(r"_\d+(___redundant_placeholder\d+)$")
"""What the condition of a loop does not read; the name of such an argument has the count, too."""
_CONTENT = re.compile(r"_(\d+)_[0-9a-f]{12}$")
"""What is appended here: the place among functions of like names, and a digest of all of them."""


def with_unique_functions(graph_def: GraphDef) -> GraphDef:
    """The graph with its functions named by their content, whatever the process has traced before.

    TensorFlow keeps the functions that a process has traced in one register, and refuses another one of the same name.
    A rewritten loop still has the name of the loop it came from, which may be alive there. The converter traces them
    once more, so they are written as TensorFlow does it then: as another function of one name it would refuse that.
    """
    if not graph_def.library.function:
        return graph_def
    renamed = GraphDef()
    renamed.CopyFrom(graph_def)
    for function in renamed.library.function:
        _forget_count(function)
        _write_as_traced(function)
    order = sorted((entry.signature.name for entry in graph_def.library.function), key=_place)
    _rename_all(renamed, {name: f"{_place(name)[0]}_{place}" for place, name in enumerate(order)})
    functions = sorted(renamed.library.function, key=lambda entry: entry.signature.name)
    del renamed.library.function[:]
    renamed.library.function.extend(functions)
    content = hashlib.sha256(renamed.library.SerializeToString(deterministic=True)).hexdigest()[:12]
    _rename_all(renamed, {entry.signature.name: f"{entry.signature.name}_{content}" for entry in functions})
    return renamed


def _forget_count(function: FunctionDef) -> None:
    """Let arguments that nothing reads have names without the count, and nodes no gradients that are named by it."""
    for node in function.node_def:
        node.attr.pop("_gradient_op_type", None)
    read = {reference.lstrip("^").partition(":")[0] for node in function.node_def for reference in node.input}
    read |= {reference.partition(":")[0] for reference in function.ret.values()}
    for argument in function.signature.input_arg:
        if argument.name not in read:
            argument.name = _UNREAD.sub(r"\1", argument.name)


def _write_as_traced(function: FunctionDef) -> None:
    """Nodes in the order in which they could run, in turn, with all their attributes.

    What a function takes and gives has no variable's type and shape any more where that has become a tensor.
    """
    for argument in (*function.signature.input_arg, *function.signature.output_arg):
        if argument.type not in _WITH_HANDLES:
            argument.ClearField("handle_data")
    for node in function.node_def:
        operation = op_def_registry.get(node.op)
        for attribute in operation.attr if operation is not None else ():
            if attribute.HasField("default_value") and attribute.name not in node.attr:
                node.attr[attribute.name].CopyFrom(attribute.default_value)
    order = [nd.copy_node(node) for node in _as_they_get_ready(list(function.node_def))]
    del function.node_def[:]
    function.node_def.extend(order)


def _as_they_get_ready(nodes: Sequence[NodeDef]) -> list[NodeDef]:
    """All nodes, each in turn behind the ones that wait for nothing any more when the last of its inputs has run."""
    places = {node.name: place for place, node in enumerate(nodes)}
    readers: list[list[int]] = [[] for _ in nodes]
    waits_for = [0] * len(nodes)
    for place, node in enumerate(nodes):
        makers = (reference.removeprefix("^").partition(":")[0] for reference in node.input)
        read = [places[name] for name in makers if name in places]
        waits_for[place] = len(read)
        for maker in read:
            readers[maker].append(place)
    ready = deque(place for place, count in enumerate(waits_for) if not count)
    order = dict[int, None]()
    while ready:
        maker = ready.popleft()
        order[maker] = None
        for reader in readers[maker]:
            waits_for[reader] -= 1
            if not waits_for[reader]:
                ready.append(reader)
    in_cycles = (place for place in range(len(nodes)) if place not in order)
    return [nodes[place] for place in (*order, *in_cycles)]


def _place(name: str) -> tuple[str, list[int]]:
    """The name without counts, and these, by which functions that have that name in common are in their order."""
    place = _CONTENT.search(name)
    if place is not None:
        return _CONTENT.sub("", name), [int(place[1])]
    return _COUNT.sub("", name), [int(number) for number in _COUNT.findall(name)]


def _rename_all(graph_def: GraphDef, names: Mapping[str, str]) -> None:
    for function in graph_def.library.function:
        function.signature.name = names[function.signature.name]
        for node in function.node_def:
            rename_calls(node, names)
    for gradient in graph_def.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)
    for node in graph_def.node:
        rename_calls(node, names)


def rename_calls(node: NodeDef, names: Mapping[str, str]) -> None:
    """Let a node call functions under their new names."""
    node.op = names.get(node.op, node.op)
    for value in node.attr.values():
        for called in (value.func, *value.list.func) if value.HasField("func") else value.list.func:
            called.name = names.get(called.name, called.name)
