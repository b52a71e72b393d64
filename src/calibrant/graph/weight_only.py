"""Layers inside loops, branches and functions whose weights can be quantized: constants that only products read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import LOOPS, calls_of, names_in_functions, reached
from calibrant.graph.functions.enclosed_reads import EnclosedRead
from calibrant.graph.graph import Graph
from calibrant.graph.node_input import NodeInput
from calibrant.graph.tf_core import FunctionDef, NodeDef, dtypes
from calibrant.layer_kinds import KINDS

_ENTRANCES = frozenset({"Enter", "RefEnter", "Switch", "RefSwitch", "_SwitchN"})
# Operations that hand values on, or some of them, and leave every axis where it is → index of the input.
_SAME_AXES = {"Cast": 0, "Identity": 0, "Split": 1, "SplitV": 0, "Slice": 0, "StridedSlice": 0}
_SAME_AXES |= dict.fromkeys(_ENTRANCES, 0)
_CHANGE_AXES = ("shrink_axis_mask", "new_axis_mask")
_FLOATS = (dtypes.float16, dtypes.float32)


@dataclass(frozen=True)
class EnclosedConstant:
    """A constant whose readers are out of reach, and where it is.

    Parameters
    ----------
    node : str
        Name of the Const.
    function : str | None
        The function that it is in; None for one in the graph itself.
    reads : tuple[NodeInput, ...]
        Inputs of the graph that lead to the products; () where everything that reads the constant may read another.
    """

    node: str
    function: str | None = None
    reads: tuple[NodeInput, ...] = ()


@dataclass(frozen=True, eq=False)
class WeightOnlyLayer:
    """A product that computes in float with weights that can be quantized.

    Parameters
    ----------
    name, type : str
        As everything that is not quantizable is listed; its operator.
    product : NodeDef
        The node, as it is where it runs.
    read : EnclosedRead
        What it multiplies with the weights.
    constant : EnclosedConstant
        The weights; several layers may read parts of one.
    values : np.ndarray
        Their values, float32, read-only.
    channel_axes : tuple[int, ...]
        Axes of the weights that the product keeps. No device computes these layers, so each element may have a
        scale. () where products that share the weights keep different ones.
    """

    name: str
    type: str
    product: NodeDef
    read: EnclosedRead
    constant: EnclosedConstant
    values: np.ndarray
    channel_axes: tuple[int, ...]


def weight_only_layers(graph: Graph) -> tuple[WeightOnlyLayer, ...]:
    """The products that cannot be observed but whose weights are constants that nothing but products reads."""
    search = _Search(graph)
    layers = [*search.in_regions(), *search.in_functions()]
    merged: dict[tuple[str, str | None], list[NodeInput]] = {}
    for layer in layers:
        reads = merged.setdefault((layer.constant.node, layer.constant.function), [])
        reads.extend(read for read in layer.constant.reads if read not in reads)
    named: dict[str, WeightOnlyLayer] = {}
    for layer in layers:
        constant = layer.constant
        whole = replace(constant, reads=tuple(merged[constant.node, constant.function]))
        named.setdefault(layer.name, replace(layer, constant=whole))
    return tuple(named.values())


@dataclass(frozen=True)
class _Use:
    """A product that reads a constant, the axes of it that the result keeps, and the other operand."""

    node: NodeDef
    kept_axes: tuple[int, ...]
    other: EnclosedRead


class _Search:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.functions = {function.signature.name: function for function in graph.library.function}

    def in_regions(self) -> Iterator[WeightOnlyLayer]:
        """Those inside loops and branches that are written as nodes of the graph."""
        graph = self.graph
        if not graph.regions:
            return
        for node in graph.nodes.values():
            if node.op != "Const" or (value := self._weights(f"{node.name}:0")) is None:
                continue
            enclosed = node.name in graph.regions
            found: list[_Use] = []
            reads = []
            for reader, index in graph.consumers(f"{node.name}:0") if enclosed else self._entrances(node.name):
                uses = self._uses_in_graph(reader, index)
                if uses is None:
                    found = []
                    break
                found += uses
                reads.append((reader.name, index))
            constant = EnclosedConstant(node.name, None, () if enclosed else tuple(reads))
            yield from _layers(found, constant, value, lambda use: use.node.name)

    def _entrances(self, name: str) -> Iterator[tuple[NodeDef, int]]:
        """Where a constant of the graph, perhaps through Identities, gets into loops and branches."""
        for reader, index in self.graph.consumers(f"{name}:0"):
            if reader.op in _ENTRANCES:
                yield reader, index
            elif reader.op == "Identity":
                yield from self._entrances(reader.name)

    def _uses_in_graph(self, reader: NodeDef, index: int) -> list[_Use] | None:
        if not _hands_on(reader, index):
            return _product(reader, index)
        if reader.name in self.graph.output_nodes:
            return None
        found: list[_Use] = []
        for output in self.graph.read_outputs(reader.name):
            for further, place in self.graph.consumers(f"{reader.name}:{output}"):
                uses = self._uses_in_graph(further, place)
                if uses is None:
                    return None
                found += uses
        return found

    def in_functions(self) -> Iterator[WeightOnlyLayer]:
        """Those inside functions, whether the weights are in there too or handed over by the graph."""
        for caller in self.graph.nodes.values():
            calls = calls_of(caller, self.functions)
            if not calls:
                continue

            names = names_in_functions(caller, self.functions)

            def name(use: _Use, names: Mapping[tuple[str, str], str] = names) -> str:
                return names[use.other.function, use.node.name]

            for index, tensor in enumerate(nd.data_inputs(caller)):
                value, source = self._weights(tensor), self.graph.constant_source(tensor)
                if value is not None and source is not None:
                    uses = self._uses_by_caller(caller, index) or []
                    yield from _layers(uses, EnclosedConstant(source, None, ((caller.name, index),)), value, name)
            for function in reached(caller, self.functions):
                for node in function.node_def:
                    if node.op == "Const" and (value := _matrix(_value(node))) is not None:
                        uses = self._uses_in_function(function, node.name) or []
                        yield from _layers(uses, EnclosedConstant(node.name, function.signature.name), value, name)

    def _uses_by_caller(self, caller: NodeDef, index: int) -> list[_Use] | None:
        """What reads an input of a call, in all functions that it may run; None where it is not products alone."""
        found: list[_Use] = []
        for name, first in calls_of(caller, self.functions):
            function = self.functions[name]
            if index < first:
                return None
            argument = function.signature.input_arg[index - first].name
            is_state = caller.op in LOOPS and name == caller.attr["body"].func.name
            result = function.signature.output_arg[index].name if is_state else None
            uses = self._uses_in_function(function, argument, result)
            if uses is None:
                return None
            found += uses
        return found

    def _uses_in_function(self, function: FunctionDef, start: str, state: str | None = None) -> list[_Use] | None:
        """What reads an argument or a constant of a function.

        ``state`` : the result that has to be the value itself, so that a loop reads the same one every time.
        """
        names, found = {start}, []
        for result, reference in function.ret.items():
            if reference.split(":")[0] == start and result != state:
                return None
        waiting = [start]
        while waiting:
            current = waiting.pop()
            for node in function.node_def:
                for index, reference in enumerate(r for r in node.input if not r.startswith("^")):
                    if reference.split(":")[0] != current:
                        continue
                    if _hands_on(node, index):
                        if node.name not in names:
                            names.add(node.name)
                            waiting.append(node.name)
                        continue
                    is_call = bool(calls_of(node, self.functions))
                    inside = function.signature.name
                    uses = self._uses_by_caller(node, index) if is_call else _product(node, index, inside)
                    if uses is None:
                        return None
                    found += uses
        returned = {result for result, reference in function.ret.items() if reference.split(":")[0] in names}
        if returned - {state} or (state is not None and not self._is_kept(function, state, start)):
            return None
        return found

    def _is_kept(self, function: FunctionDef, result: str, argument: str) -> bool:
        nodes = {node.name: node for node in function.node_def}
        name = function.ret[result].split(":")[0]
        while name in nodes and nodes[name].op == "Identity":
            name = nodes[name].input[0].split(":")[0]
        return name == argument

    def _weights(self, tensor: str) -> np.ndarray | None:
        node = self.graph.producer(tensor)
        if node.op not in ("Const", "Identity"):
            return None
        return _matrix(self.graph.constant(tensor))


def _layers(
    uses: list[_Use], constant: EnclosedConstant, value: np.ndarray, name: Callable[[_Use], str]
) -> Iterator[WeightOnlyLayer]:
    kept = {tuple(axis % value.ndim for axis in use.kept_axes) for use in uses}
    axes = next(iter(kept)) if len(kept) == 1 else ()
    for use in uses:
        yield WeightOnlyLayer(name(use), use.node.op, use.node, use.other, constant, value, axes)


def _product(node: NodeDef, index: int, function: str = "") -> list[_Use] | None:
    kind, other = KINDS.get(node.op), EnclosedRead(function, node.name, 1 - index)
    if node.op == "Einsum":
        return [_Use(node, _axes_in_sum(node, index), other)]
    if node.op == "MatMul" or (kind is not None and kind.multiplies_activations):
        return [_Use(node, (-2 if (index == 1) == is_turned(node, index) else -1,), other)]
    if kind is not None and kind.weight_input == index:
        return [_Use(node, kind.channel_axes, replace(other, index=kind.data_inputs[0]))]
    return None


def is_turned(product: NodeDef, index: int) -> bool:
    """Whether a product of matrices transposes one of its operands."""
    return any(nd.attribute(product, name) for name in (f"transpose_{'ab'[index]}", f"adj_{'xy'[index]}"))


def _axes_in_sum(node: NodeDef, index: int) -> tuple[int, ...]:
    """Axes of an operand that the result of an Einsum has as well."""
    terms, result = node.attr["equation"].s.decode().replace(" ", "").split("->")
    letters = terms.split(",")[index]
    if "." in letters or len(set(letters)) != len(letters):
        return ()
    return tuple(axis for axis, letter in enumerate(letters) if letter in result)


def _hands_on(node: NodeDef, index: int) -> bool:
    if _SAME_AXES.get(node.op) != index or any(nd.attribute(node, mask, 0) for mask in _CHANGE_AXES):
        return False
    return node.op != "Cast" or nd.attribute(node, "DstT") in _FLOATS


def _matrix(value: np.ndarray | None) -> np.ndarray | None:
    """The value as float32, if it is float16 or float32 and of two axes or more that have more than one element."""
    if value is None or value.dtype not in (np.float16, np.float32) or value.ndim < 2 or value.size <= max(value.shape):
        return None
    return value.astype(np.float32, copy=False)


def _value(node: NodeDef) -> np.ndarray | None:
    return nd.constant_value(node) if nd.attribute(node, "dtype") in _FLOATS else None
