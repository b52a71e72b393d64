"""Which tensors of a float file are which of the graph, as far as the converter's names say so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.planning.kernels import KERNELS, Result
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes

DIGITS = "0123456789"
VERSION = f"V{DIGITS}"
ACTIVATIONS = frozenset({"Relu", "Relu6"})
"""What the converter fuses into an operator."""
MOVED_AHEAD = {"RELU": ACTIVATIONS, "RELU6": ACTIVATIONS, "ADD": {"Add", "AddV2", "BiasAdd"}}
"""Operators that the converter computes before what they read is transposed, and their nodes."""
BY_NUMBER = frozenset(
    {
        *("ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "RELU", "RELU6", "LEAKY_RELU", "ELU", "GELU", "HARD_SWISH"),
        *("ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT"),
    }
)
"""Operators that compute each number of a tensor by itself, with constants where they have two operands."""
MOVES = (["TRANSPOSE"], ["RESHAPE"])


def named_tensors(file: File, graph: Graph, original: Graph, first: Mapping[str, str]) -> dict[int, str]:
    """Index of a tensor → the tensor of the graph whose name it has: an operator's has those of its nodes.

    Of several operators that were made of the same nodes, the last one makes the last node's result; one before it
    makes another's where it computes what that node does.

    Parameters
    ----------
    file : File
        The float file.
    graph : Graph
        What was converted.
    original : Graph
        The model; only its tensors are looked for.
    first : Mapping[str, str]
        Tensors of ``graph`` that stand for one of ``original``.
    """
    order = {name: place for place, name in enumerate(graph.nodes)}
    known: dict[str, int] = {}
    passed_on: set[str] = set()
    moved = dict(_moved_ahead(file, graph, order))
    moves = {(each.inputs[0], each.outputs[0].index) for each in file.operators() if [each.name] in MOVES}
    moves_to = {(read.index, made) for read, made in moves if read is not None}
    for operator in reversed(list(file.operators())):
        for made in operator.outputs:
            is_moved = made.index in moved
            tensors = [moved[made.index]] if is_moved else list(_possible(operator, made, graph, order))
            computes_first = bool(tensors) and _computes(operator, graph.nodes[nd.node_name(tensors[0])])
            if computes_first and (tensors[0] in passed_on or (made.index, known.get(tensors[0])) in moves_to):
                continue  # it is that one, which is known behind an identity or a move
            found = next((tensor for tensor in tensors if tensor not in known and tensor not in passed_on), None)
            if found is not None:
                known[found] = made.index
                passed_on.update(_passed_on(found, graph))
    fed = {tensor.index: name for tensor, name in zip(file.inputs(), graph.inputs, strict=True)}
    named = {index: first.get(tensor, tensor) for tensor, index in reversed(known.items())}
    return {index: name for index, name in named.items() if _is_of(original, name) and name not in fed.values()} | fed


def _possible(operator: Operator, made: Tensor, graph: Graph, order: Mapping[str, int]) -> Iterator[str]:
    for place, tensor in enumerate(_tensors_of(made, graph, order)):
        is_told = place == 0 or _computes(operator, graph.nodes[nd.node_name(tensor)])
        if not is_told or tensor not in graph.tensors or graph.dtype(tensor) in (dtypes.variant, dtypes.resource):
            continue
        is_activation = _is_activated(operator) and graph.producer(tensor).op in ACTIVATIONS
        found, wanted = made.signature, graph.shape(tensor)
        may_be_moved = is_activation or _is_by_number(operator)
        if (not is_activation and _same_shape(found, wanted)) or (may_be_moved and _same_count(found, wanted)):
            yield tensor


def _moved_ahead(file: File, graph: Graph, order: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Results of operators that the converter moved in front of transpositions and reshapes, which have other names."""
    readers: dict[int, list[Operator]] = {}
    for each in file.operators():
        for read in each.inputs:
            if read is not None:
                readers.setdefault(read.index, []).append(each)
    for operator in file.operators():
        if operator.name not in MOVED_AHEAD:
            continue
        made = operator.outputs[0]
        for tensor in _tensors_of(made, graph, order)[:1]:
            if graph.producer(tensor).op not in MOVED_AHEAD[operator.name]:
                continue
            before = set(_rearranged_from(tensor, graph))
            while [each.name for each in readers.get(made.index, ())] in MOVES:
                made = readers[made.index][0].outputs[0]
                is_before = not before.isdisjoint(_tensors_of(made, graph, order))
                if is_before and _same_shape(made.signature, graph.shape(tensor)):
                    yield made.index, tensor


def _rearranged_from(tensor: str, graph: Graph) -> Iterator[str]:
    """What a node reads, and what that was before it was transposed and reshaped."""
    for read in nd.data_inputs(graph.producer(tensor)):
        yield read
        while graph.producer(read).op in ("Transpose", "Reshape"):
            read = nd.data_inputs(graph.producer(read))[0]
            yield read


def _tensors_of(made: Tensor, graph: Graph, order: Mapping[str, int]) -> list[str]:
    """Results of the nodes whose names a tensor has, that of the last node first."""
    found = set()
    for part in made.name.split(";"):
        for name in _without_digits(part):
            node, index = nd.split_tensor(nd.tensor_name(name)) if name else ("", 0)
            if node in order and graph.constant(f"{node}:{index}") is None:
                found.add((order[node], f"{node}:{index}"))
                break
    return [tensor for _, tensor in sorted(found, reverse=True)]


def _without_digits(name: str) -> Iterator[str]:
    """The name, and without one, two … of the digits at its end, some of which the converter adds."""
    yield name
    while name and name[-1] in DIGITS:
        name = name[:-1]
        yield name


def _computes(operator: Operator, node: NodeDef) -> bool:
    """Whether an operator is of the kind of a node; of those that move values, the converter changes the order."""
    kernel = KERNELS.get(operator.name)
    is_alike = operator.name == node.op.rstrip(VERSION).upper() and not _is_activated(operator)
    return is_alike and kernel is not None and kernel.result is Result.OWN


def _is_by_number(operator: Operator) -> bool:
    """Whether an operator computes each number of one tensor by itself: the converter may move it in front of moves."""
    data = [tensor for tensor in operator.inputs if tensor is not None and tensor.values is None]
    return operator.name in BY_NUMBER and len(data) == 1


def _is_activated(operator: Operator) -> bool:
    """Whether an activation is fused into an operator."""
    return bool(getattr(operator.options, "fusedActivationFunction", 0))


def _passed_on(tensor: str, graph: Graph) -> Iterator[str]:
    """What a tensor is the identity of, and so on."""
    while (node := graph.nodes.get(nd.node_name(tensor))) is not None and node.op == "Identity":
        tensor = nd.data_inputs(node)[0]
        yield tensor


def _is_of(model: Graph, tensor: str) -> bool:
    node = nd.node_name(tensor)
    return node in model.nodes and node not in model.regions


def _same_shape(found: nd.OpenShape, wanted: nd.OpenShape | None) -> bool:
    """Whether both have the same sizes, up to axes of size 1 and first axes in one: the converter moves reshapes."""
    if wanted is None:
        return True
    if len(found) != len(wanted):
        found, wanted = (tuple(size for size in shape if size != 1) for shape in (found, wanted))
    if 2 <= len(found) < len(wanted):
        merged = wanted[: len(wanted) - len(found) + 1]
        wanted = (None if None in merged else math.prod(size or 0 for size in merged), *wanted[len(merged) :])
    return len(found) == len(wanted) and all(
        None in (size, other) or size == other for size, other in zip(found, wanted, strict=True)
    )


def _same_count(found: nd.OpenShape, wanted: nd.OpenShape | None) -> bool:
    """Whether both have as many numbers: the converter fuses an activation across reshapes and transpositions."""
    if wanted is None:
        return True
    one, other = (math.prod(size for size in shape if size is not None) for shape in (found, wanted))
    return found.count(None) == wanted.count(None) and one == other
