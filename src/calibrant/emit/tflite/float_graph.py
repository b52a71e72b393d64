"""The float graph as TensorFlow's converter takes it, with the numbers that the simulation has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.emit.tflite.channels_last import channels_last
from calibrant.emit.tflite.float_kernels import powers_as_products, same_reciprocal_roots
from calibrant.emit.tflite.pooling import image_axes, is_global_pool
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.emit.tflite.single_precision import single_precision
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, TensorShapeProto, dtypes


def float_graph(graph: Graph, settings: TfliteSettings) -> tuple[Graph, Mapping[str, str]]:
    """The graph with operations that the converter knows; names of tensors stay.

    Returns
    -------
    tuple[Graph, Mapping[str, str]]
        The graph, and tensor → the tensor that has its numbers with channels last, where it has channels first.
    """
    edit = graph.edit()
    single_precision(edit)
    _set_shapes(edit, settings)
    edit = edit.finish().edit()
    _fold_constants(edit)
    _replace_what_does_not_convert(edit)
    edit = edit.finish().edit()
    twins = channels_last(edit)
    if settings.ops == "layers":
        same_reciprocal_roots(edit)
    powers_as_products(edit)
    return edit.finish(), twins


def _fold_constants(edit: Edit) -> None:
    """What is computed from constants becomes one: the converter gets weights behind some operations wrong."""
    graph = edit.graph
    for node in graph.nodes.values():
        if node.op == "Const" or graph.constant(f"{node.name}:0") is not None:
            continue
        for index, tensor in enumerate(nd.data_inputs(node)):
            value = graph.constant(tensor)
            if value is not None and graph.producer(tensor).op not in ("Const", "Identity"):
                name = f"{nd.input_reference(tensor).replace(':', '_')}/value"
                edit.set_input(node.name, index, f"{name}:0" if name in edit.nodes else edit.add_constant(name, value))


def _replace_what_does_not_convert(edit: Edit) -> None:
    """ClipByValue, Neg, AddN, Roll, sign bits and AvgPool over whole images become operations that mean the same.

    The integer kernel of Neg gives wrong codes; the one of Mul does not.
    The kernel of AvgPool keeps its input's factors, which are several times too coarse for an average over a whole
    image; the one of Mean rounds once, to the factors of what comes next.
    """
    for node in list(edit.nodes.values()):
        controls = tuple(f"^{name}" for name in nd.control_inputs(node))
        if node.op == "ClipByValue":
            values, low, high = nd.data_inputs(node)
            bounded = edit.add("Minimum", f"{node.name}/bounded", [values, high], T=node.attr["T"])
            edit.put(nd.make_node("Maximum", node.name, [bounded, low, *controls], T=node.attr["T"]))
        elif _is_negation(edit, node):
            minus = edit.add_constant(f"{node.name}/minus", np.float32(-1))
            edit.put(nd.make_node("Mul", node.name, [*nd.data_inputs(node), minus, *controls], T=node.attr["T"]))
        elif node.op == "AddN" and len(nd.data_inputs(node)) == 2:
            edit.put(nd.make_node("AddV2", node.name, [*nd.data_inputs(node), *controls], T=node.attr["T"]))
        elif node.op == "Roll":
            _roll_as_slices(edit, node)
        elif node.op == "BitwiseAnd":
            _sign_bit_as_comparison(edit, node)
        elif node.op == "AvgPool" and is_global_pool(edit.graph, edit.graph.nodes[node.name]):
            axes = edit.add_constant(f"{node.name}/axes", np.array(image_axes(node), np.int32))
            inputs = [*nd.data_inputs(node), axes, *controls]
            edit.put(nd.make_node("Mean", node.name, inputs, T=dtypes.float32, Tidx=dtypes.int32, keep_dims=True))


def _is_negation(edit: Edit, node: NodeDef) -> bool:
    """Whether a node negates and no exact GELU begins with it, which the converter knows by all of its operations."""
    if node.op != "Neg" or node.attr["T"].type != dtypes.float32.as_datatype_enum:
        return False
    readers = [reader for reader, _ in edit.graph.consumers(f"{node.name}:0")]
    readers += [reader for first in readers for reader, _ in edit.graph.consumers(f"{first.name}:0")]
    return all(reader.op != "Erfc" for reader in readers)


def _roll_as_slices(edit: Edit, node: NodeDef) -> None:
    """The last entries of each axis are put in front of the others."""
    values, *others = nd.data_inputs(node)
    shifts, axes = (edit.graph.constant(tensor) for tensor in others)
    shape = edit.graph.shape(values)
    if shape is None or shifts is None or axes is None:
        return
    kinds = {"T": node.attr["T"], "Index": dtypes.int32}
    made = values
    for number, (shift, axis) in enumerate(zip(np.atleast_1d(shifts), np.atleast_1d(axes), strict=True)):
        size, axis = shape[int(axis)], int(axis) % len(shape)
        if size is None:
            return
        rest = (size - int(shift)) % size
        parts = []
        for name, start, count in (("last", rest, size - rest), ("first", 0, rest)):
            begin, sizes = np.zeros(len(shape), np.int32), np.full(len(shape), -1, np.int32)
            begin[axis], sizes[axis] = start, count
            ends = [
                edit.add_constant(f"{node.name}/{name}{number}/{end}", value)
                for end, value in (("b", begin), ("s", sizes))
            ]
            parts.append(edit.add("Slice", f"{node.name}/{name}{number}", [made, *ends], **kinds))
        place = edit.add_constant(f"{node.name}/axis{number}", np.int32(axis))
        made = edit.add(
            "ConcatV2", f"{node.name}/rolled{number}", [*parts, place], T=node.attr["T"], N=2, Tidx=dtypes.int32
        )
    controls = (f"^{name}" for name in nd.control_inputs(node))
    edit.put(nd.make_node("Identity", node.name, [made, *controls], T=node.attr["T"]))


def _sign_bit_as_comparison(edit: Edit, node: NodeDef) -> None:
    """A whole number's sign bit is set where it is below zero."""
    for values, mask in (nd.data_inputs(node), reversed(nd.data_inputs(node))):
        bits = edit.graph.constant(mask)
        if (
            bits is not None
            and bits.size == 1
            and bits.dtype.kind == "i"
            and bits.reshape(()) == np.iinfo(bits.dtype).min
        ):
            zero = edit.add_constant(f"{node.name}/zero", np.zeros((), bits.dtype))
            below = edit.add("Less", f"{node.name}/below", [values, zero], T=node.attr["T"])
            controls = (f"^{name}" for name in nd.control_inputs(node))
            edit.put(nd.make_node("SelectV2", node.name, [below, mask, zero, *controls], T=node.attr["T"]))
            return


def _set_shapes(edit: Edit, settings: TfliteSettings) -> None:
    for key, tensor in zip(edit.graph.input_keys, edit.graph.inputs, strict=True):
        node = nd.copy_node(edit.nodes[nd.node_name(tensor)])
        shape = settings.shape.get(key) or settings.shape.get(node.name)
        if node.op != "Placeholder":
            continue
        slot = node.attr["shape"].shape
        if shape is not None:
            slot.CopyFrom(TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape]))
        if settings.batch is not None and slot.dim:
            slot.dim[0].size = settings.batch
        edit.put(node)
