"""Nodes that take tensors where they took variables, also in the functions that variables are handed to.

A loop or a branch hands what its functions read to them, variables included. Such functions are written once more, for
tensors of the variables' values, where TensorFlow's own conversion cannot do it: that one knows of no operation inside
functions but plain reading, and names of layers that configuration files have are its names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import LOOPS, PLACES, calls_of
from calibrant.graph.functions.inline import CALLS
from calibrant.graph.functions.unique_functions import rename_calls
from calibrant.graph.inference.variable_reads import READERS, read_of_constant
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef, TensorShapeProto

_NUMBER = re.compile(r"_\d+$")
LOOKUPS = READERS - {"ReadVariableOp"}
FRAMES = frozenset({"Enter", "Switch"})
"""What hands a variable to the inside of a conditional or loop of TensorFlow 1.x."""


@dataclass(frozen=True)
class Variable:
    """The type of a variable's value, and its shape as far as that is fixed."""

    dtype: Any
    shape: TensorShapeProto


class OtherUseError(Exception):
    """A variable is used otherwise than by reading it, or by handing it on to be read."""


class VariableTensors:
    """Rewrites nodes, and the functions of a library that these call.

    Parameters
    ----------
    library : FunctionDefLibrary
        Stays as it is: what is rewritten gets a name of its own, because the process may hold the original.
    all_calls : bool
        Rewrite what TensorFlow's own conversion could do as well.
    """

    def __init__(self, library: FunctionDefLibrary, all_calls: bool):
        self._library = library
        self._known = {function.signature.name: function for function in library.function}
        self._written: dict[str, tuple[Mapping[int, Variable], FunctionDef]] = {}
        self._rewrites_calls = all_calls or any(
            node.op in LOOKUPS for function in library.function for node in function.node_def
        )

    def library(self) -> FunctionDefLibrary:
        """The library, and what was rewritten."""
        result = FunctionDefLibrary()
        result.CopyFrom(self._library)
        result.function.extend(function for _, function in self._written.values())
        return result

    def rewritten(self, nodes: Iterable[NodeDef], variables: Mapping[str, Variable]) -> list[NodeDef]:
        """The nodes of a graph or of a function, for variables that have become tensors.

        Parameters
        ----------
        variables : Mapping[str, Variable]
            By the name of the node, or of the function's argument, that stands for each.

        Raises
        ------
        OtherUseError
            A node takes a variable for something else than its value.
        """
        nodes = list(nodes)
        origin = _origins(nodes, variables)
        result = []
        for node in nodes:
            origins = {place: origin(reference) for place, reference in enumerate(node.input)}
            given = {place: variables[name] for place, name in origins.items() if name is not None}
            if not given:
                result.append(node)
            elif node.op == "Identity" or node.op in READERS:
                result += read_of_constant(node, given[0].dtype)
            elif node.op in FRAMES:
                result.append(_of_dtype(node, given[0].dtype))
            else:
                result.append(self._call(node, given))
        return result

    def _call(self, node: NodeDef, given: Mapping[int, Variable]) -> NodeDef:
        """A loop, branch or call that hands tensors on."""
        calls = sorted(calls_of(node, self._known)) if node.op in CALLS or node.op in PLACES else []
        if not calls or not self._rewrites_calls:
            raise OtherUseError
        result, is_loop, first = nd.copy_node(node), node.op in LOOPS, calls[0][1]
        arguments = {place - first: variable for place, variable in given.items()}
        rename_calls(result, {name: self._function(name, arguments, is_loop) for name, _ in calls})
        shapes = result.attr["output_shapes"].list.shape if is_loop else ()
        for place, variable in arguments.items():
            result.attr["T" if is_loop else "Tin"].list.type[place] = variable.dtype.as_datatype_enum
            if shapes:
                shapes[place].CopyFrom(variable.shape)
        result.attr.pop("_output_shapes", None)
        return result

    def _function(self, name: str, arguments: Mapping[int, Variable], is_of_loop: bool) -> str:
        """The name of a function that takes tensors for arguments that were variables."""
        if name in self._written:
            before, function = self._written[name]
            if before != arguments:
                raise OtherUseError
            return function.signature.name
        function = FunctionDef()
        function.CopyFrom(self._known[name])
        self._written[name] = arguments, function
        signature = function.signature
        signature.name = self._free_name(name)
        variables = {signature.input_arg[place].name: variable for place, variable in arguments.items()}
        for place, variable in arguments.items():
            _let_take(function, place, variable)
        _let_return(function, variables, is_of_loop)
        nodes = self.rewritten(function.node_def, variables)
        same = {node.name for node in function.node_def if node.op != "ReadVariableOp"}
        changed = {node.name for node in nodes if node.op in ("Const", "Identity")} - same
        del function.node_def[:]
        function.node_def.extend(nodes)
        _let_read(function, changed)
        return signature.name

    def _free_name(self, name: str) -> str:
        """As TensorFlow's conversion has it: with the number at the end, which gives functions their order."""
        number = _NUMBER.search(name)
        stem, end = _NUMBER.sub("", name), number[0] if number else ""
        taken = {*self._known, *(function.signature.name for _, function in self._written.values())}
        while f"{stem}{end}" in taken:
            stem = f"{stem}_frozen"
        return f"{stem}{end}"


def _origins(nodes: Iterable[NodeDef], variables: Mapping[str, Variable]) -> Callable[[str], str | None]:
    """Reference → the variable that it stands for, or None; loops, branches and Identity pass variables on."""
    named = {node.name: node for node in nodes}
    found: dict[str, str | None] = {}

    def origin(reference: str) -> str | None:
        passed = []
        while reference not in found:
            found[reference] = None  # for now: what leads back to itself is no variable
            passed.append(reference)
            name, *parts = reference.split(":")
            index = int(parts[-1]) if parts and parts[-1].isdigit() else 0
            node = named.get(name)
            if name in variables:
                found[reference] = name
            elif node is not None and (node.op == "Identity" or node.op in FRAMES):
                reference = node.input[0]
            elif node is not None and node.op in LOOPS and index < len(node.input):
                reference = node.input[index]
        result = found[reference]
        found.update(dict.fromkeys(passed, result))
        return result

    return origin


def _of_dtype(node: NodeDef, dtype: Any) -> NodeDef:
    """What takes the place of one of FRAMES."""
    result = nd.copy_node(node)
    result.attr.pop("_output_shapes", None)
    result.attr["T"].type = dtype.as_datatype_enum
    return result


def _let_take(function: FunctionDef, place: int, variable: Variable) -> None:
    """Let a function take a tensor as an argument."""
    argument = function.signature.input_arg[place]
    argument.type = variable.dtype.as_datatype_enum
    argument.ClearField("handle_data")
    function.resource_arg_unique_id.pop(place, None)
    if place in function.arg_attr:
        function.arg_attr[place].attr.pop("_output_shapes", None)
    if "_input_shapes" in function.attr:
        function.attr["_input_shapes"].list.shape[place].CopyFrom(variable.shape)


def _let_return(function: FunctionDef, variables: Mapping[str, Variable], is_of_loop: bool) -> None:
    """Let the body of a loop return tensors for the variables that it has to pass on."""
    signature, origin = function.signature, _origins(function.node_def, variables)
    for place, result in enumerate(signature.output_arg):
        name = origin(function.ret[result.name])
        if name is None:
            continue
        if not is_of_loop or name != signature.input_arg[place].name:
            raise OtherUseError
        result.type = variables[name].dtype.as_datatype_enum
        result.ClearField("handle_data")


def _let_read(function: FunctionDef, changed: Collection[str]) -> None:
    """Let the nodes of a function, and its results, refer to nodes that were changed or added by their ``output``."""

    def reference_to(reference: str) -> str:
        name = reference.partition(":")[0]
        return f"{name}:output:0" if name in changed else reference

    for node in function.node_def:
        node.input[:] = [reference_to(reference) for reference in node.input]
    for result, reference in list(function.ret.items()):
        function.ret[result] = reference_to(reference)
