"""The nodes that compute on integers: what lies between quantized tensors and AscendDequant or AscendAntiQuant."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from calibrant.graph import nodes as nd
from calibrant.graph.ascend.scoped_builder import ScopedBuilder
from calibrant.graph.tf_core import NodeDef, dtypes, op_def_registry

BEGINS = frozenset({"AscendQuant", "AscendWeightQuant"})
ENDS = frozenset({"AscendDequant", "AscendAntiQuant"})
ADDS_BIAS = frozenset({"BiasAdd", "BiasAddV1", "Add", "AddV2"})


def widen(pieces: ScopedBuilder, dequantized: Collection[str]) -> None:
    """Let float16 nodes of the integer part compute in float32, and cast int32 biases that are read as they are.

    ``dequantized`` are nodes that read codes but are floats again.
    """
    part = _integer_part(pieces, dequantized)
    for name in part:
        node = nd.copy_node(pieces.nodes[name])
        narrow = [key for key in node.attr if nd.attribute(node, key) == dtypes.float16]
        for key in narrow:
            nd.set_attribute(node, key, dtypes.float32)
        pieces.nodes[name] = node
    for name in part:
        _convert_inputs(pieces, name, part)


def _integer_part(pieces: ScopedBuilder, dequantized: Collection[str]) -> tuple[str, ...]:
    readers = nd.readers(pieces.nodes)
    waiting = deque(node.name for node in pieces.nodes.values() if node.op in BEGINS)
    part: dict[str, None] = {}
    while waiting:
        for reader in readers.get(waiting.popleft(), ()):
            if reader not in part and reader not in dequantized and pieces.nodes[reader].op not in ENDS | BEGINS:
                part[reader] = None
                waiting.append(reader)
    return tuple(part)


def _convert_inputs(pieces: ScopedBuilder, name: str, part: tuple[str, ...]) -> None:
    """Cast what a node of the part reads from outside it to the type it computes in."""
    node = pieces.nodes[name]
    definition = op_def_registry.get(node.op)
    if definition is None or len(definition.input_arg) != len(nd.data_inputs(node)):
        return
    inputs = list(nd.data_inputs(node))
    for index, argument in enumerate(definition.input_arg):
        producer = pieces.nodes.get(nd.node_name(inputs[index]))
        wanted = nd.attribute(node, argument.type_attr) if argument.type_attr else None
        if producer is None or wanted not in (dtypes.float32, dtypes.float64) or producer.name in part:
            continue
        if producer.op in BEGINS | ENDS:
            continue
        source, current = inputs[index], _float_or_step_type(producer)
        if producer.op == "Cast" and current == dtypes.float16:
            source, current = nd.data_inputs(producer)[0], nd.attribute(producer, "SrcT")
        if current == dtypes.float16 or (current == dtypes.int32 and node.op in ADDS_BIAS):
            inputs[index] = pieces.cast(source, f"{name}/input_{index}", current, wanted)
    controls = [f"^{control}" for control in nd.control_inputs(node)]
    pieces.nodes[name] = nd.copy_node(node, [*inputs, *controls])


def _float_or_step_type(node: NodeDef) -> dtypes.DType | None:
    for key in ("DstT", "dtype", "T", "Tout"):
        current = nd.attribute(node, key)
        if isinstance(current, dtypes.DType):
            return current
    return None
