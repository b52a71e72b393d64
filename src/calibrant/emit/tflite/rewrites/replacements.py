"""Operations that the converter does not take or whose kernels are wrong, as others that mean the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from calibrant.emit.tflite.conversion.converter_names import ACTIVATIONS
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.rewrites.flat_products import FLAT_PRODUCTS, multiply_as_batch
from calibrant.emit.tflite.rewrites.gelu import ERROR_FUNCTIONS, factors_behind_gelu, is_in_gelu
from calibrant.emit.tflite.rewrites.joined_transposes import join_transposes
from calibrant.emit.tflite.rewrites.many_axes import REDUCTIONS, reduce_fewer_axes
from calibrant.emit.tflite.rewrites.padded_pools import pad_before_pooling
from calibrant.emit.tflite.rewrites.places import divide_in_32_bits
from calibrant.emit.tflite.rewrites.plain_einsum import einsum_as_sums
from calibrant.emit.tflite.rewrites.selected_boxes import SELECTING, plain_boxes_and_scores, select_as_one_operator
from calibrant.emit.tflite.rewrites.unread_edges import CONVOLUTIONS, pad_in_numbers
from calibrant.emit.tflite.rewrites.volume_pools import POOLS_OF_VOLUMES, pool_by_axes
from calibrant.emit.tflite.rewrites.written.patches import patches_as_moves
from calibrant.emit.tflite.rewrites.written.table import WRITTEN_OUT, write_out, write_out_places_of_largest
from calibrant.emit.tflite.schema import schema
from calibrant.graph import nodes as nd
from calibrant.graph.functions.inline import CALLS
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import NodeDef, dtypes

P = 0.3275911
A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def replace_what_does_not_convert(edit: Edit, gelus: bool) -> None:
    """Put other operations in the place of those in :data:`REPLACEMENTS`.

    With ``gelus``, error functions stay that are part of a GELU, which the converter knows.
    """
    for node in list(edit.nodes.values()):
        if node.op in REPLACEMENTS and not (gelus and node.op in ERROR_FUNCTIONS and is_in_gelu(edit.graph, node)):
            REPLACEMENTS[node.op](edit, node)


def _clip_as_two(edit: Edit, node: NodeDef) -> None:
    values, low, high = nd.data_inputs(node)
    bounded = edit.add("Minimum", f"{node.name}/bounded", [values, high], T=node.attr["T"])
    inputs = [bounded, low, *nd.control_references(node)]
    edit.put(nd.make_node("Maximum", node.name, inputs, T=node.attr["T"]))


def _sum_of_two(edit: Edit, node: NodeDef) -> None:
    if len(nd.data_inputs(node)) == 2:
        inputs = [*nd.data_inputs(node), *nd.control_references(node)]
        edit.put(nd.make_node("AddV2", node.name, inputs, T=node.attr["T"]))


def _without_second_activation(edit: Edit, node: NodeDef) -> None:
    if edit.graph.producer(node.input[0]).op in ACTIVATIONS:
        edit.put(nd.make_node("Identity", node.name, node.input, T=node.attr["T"]))


def _global_pool_as_mean(edit: Edit, node: NodeDef) -> None:
    """The kernel of AvgPool keeps its input's scale, which is several times too coarse for an average over a whole
    image; the one of Mean rounds once, to the scale of what comes next.
    """
    if _is_global_pool(edit.graph, edit.graph.nodes[node.name]):
        axes = edit.add_constant(f"{node.name}/axes", np.array(_image_axes(node), np.int32))
        inputs = [*nd.data_inputs(node), axes, *nd.control_references(node)]
        edit.put(nd.make_node("Mean", node.name, inputs, T=dtypes.float32, Tidx=dtypes.int32, keep_dims=True))


def _image_axes(node: NodeDef) -> tuple[int, int]:
    """Height and width."""
    return (2, 3) if nd.attribute(node, "data_format") == "NCHW" else (1, 2)


def _is_global_pool(graph: Graph, node: NodeDef) -> bool:
    """Whether an AvgPool has one window, which covers the image and nothing else."""
    shape, window = graph.shape(nd.data_inputs(node)[0]), nd.attribute(node, "ksize")
    steps, padding = nd.attribute(node, "strides"), nd.attribute(node, "padding")
    if shape is None or len(shape) != 4:
        return False
    axes = _image_axes(node)
    return all(
        shape[axis] == window[axis] and (padding == "VALID" or steps[axis] >= window[axis]) for axis in axes
    ) and all(window[axis] == 1 for axis in range(4) if axis not in axes)


def _count_over_sum_by_mean(edit: Edit, node: NodeDef) -> None:
    """n / sum of n numbers as 1 / their mean: XNNPACK makes a mean of the sum and n, whichever divides the other."""
    if node.attr["T"].type != dtypes.float32:
        return
    count, divisor = nd.data_inputs(node)
    value, adding = edit.graph.constant(count), edit.graph.producer(divisor)
    if value is None or value.size != 1 or adding.op != "Sum" or node.name in edit.graph.regions:
        return  # in a loop, constants of its own would belong to no turn
    read, axes = nd.data_inputs(adding)
    shape, reduced = edit.graph.shape(read), edit.graph.constant(axes)
    if shape is None or reduced is None:
        return
    sizes = [shape[axis] for axis in reduced.reshape(-1)]
    if None in sizes or math.prod(size or 0 for size in sizes) != value.reshape(()):
        return
    places = edit.add_constant(f"{node.name}/axes", reduced.reshape(-1).astype(np.int32))
    kinds = {"T": dtypes.float32, "Tidx": dtypes.int32, "keep_dims": bool(nd.attribute(adding, "keep_dims"))}
    mean = edit.add("Mean", f"{node.name}/mean", [read, places], **kinds)
    one = edit.add_constant(f"{node.name}/one", np.ones(value.shape, np.float32))
    edit.put(nd.make_node("RealDiv", node.name, [one, mean, *nd.control_references(node)], T=dtypes.float32))


def _negated_volume_as_product(edit: Edit, node: NodeDef) -> None:
    """The converter makes PRELU of relu(x) - a relu(-x), and then refuses it with more than four axes."""
    shape = edit.graph.shape(f"{node.name}:0")
    if shape is None or len(shape) <= 4 or node.attr["T"].type != dtypes.float32 or node.name in edit.graph.regions:
        return
    factor = edit.add_constant(f"{node.name}/minus", np.float32(-1))
    controls = nd.control_references(node)
    edit.put(nd.make_node("Mul", node.name, [*nd.data_inputs(node), factor, *controls], T=dtypes.float32))


def _error_function(edit: Edit, node: NodeDef) -> None:
    """Abramowitz and Stegun's 7.1.26: sign(x) (1 - t (a1 + t (a2 + …)) exp(-x²)), 1.5e-7 off at most; Erfc is the rest
    to one.
    """

    def put(op: str, name: str, *inputs: str) -> str:
        return edit.add(op, f"{node.name}/{name}", inputs, T=node.attr["T"])

    def number(name: str, value: float) -> str:
        return edit.add_constant(f"{node.name}/{name}", np.float32(value))

    [x] = nd.data_inputs(node)
    one = number("one", 1)
    t = put("RealDiv", "t", one, put("AddV2", "wide", put("Mul", "scaled", put("Abs", "size", x), number("p", P)), one))
    total = number("a5", A[-1])
    for place in range(len(A) - 1, 0, -1):
        product = put("Mul", f"product{place}", total, t)
        total = put("AddV2", f"total{place}", product, number(f"a{place}", A[place - 1]))
    negative = put("Mul", "negative", put("Mul", "square", x, x), number("minus", -1))
    rest = put("Mul", "rest", put("Mul", "polynomial", total, t), put("Exp", "bell", negative))
    inputs = [put("Sign", "sign", x), put("Sub", "positive", one, rest)]
    inputs += nd.control_references(node)
    if node.op == "Erf":
        edit.put(nd.make_node("Mul", node.name, inputs, T=node.attr["T"]))
        return
    value = edit.add("Mul", f"{node.name}/erf", inputs, T=node.attr["T"])
    edit.put(nd.make_node("Sub", node.name, [one, value], T=node.attr["T"]))


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
        rest = (size - int(shift)) % size if size else 0
        if rest == 0:
            continue
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
    edit.put(nd.make_node("Identity", node.name, [made, *nd.control_references(node)], T=node.attr["T"]))


def _without_empty_parts(edit: Edit, node: NodeDef) -> None:
    """Join what has elements: of a slice without any, XNNPACK makes the whole."""
    *parts, axis = nd.data_inputs(node)
    full = [part for part in parts if 0 not in (edit.graph.shape(part) or ())]
    if not 0 < len(full) < len(parts):
        return
    controls = nd.control_references(node)
    kinds = {key: node.attr[key] for key in ("T", "Tidx")}
    if len(full) == 1:
        edit.put(nd.make_node("Identity", node.name, [*full, *controls], T=node.attr["T"]))
    else:
        edit.put(nd.make_node("ConcatV2", node.name, [*full, axis, *controls], **kinds, N=len(full)))


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
            controls = nd.control_references(node)
            edit.put(nd.make_node("SelectV2", node.name, [below, mask, zero, *controls], T=node.attr["T"]))
            return


REPLACEMENTS: Mapping[str, Callable[[Edit, NodeDef], None]] = {
    "AddN": _sum_of_two,
    "AvgPool": _global_pool_as_mean,
    "BitwiseAnd": _sign_bit_as_comparison,
    "ClipByValue": _clip_as_two,
    "ConcatV2": _without_empty_parts,
    "Einsum": einsum_as_sums,
    "ExtractImagePatches": patches_as_moves,
    "FloorDiv": divide_in_32_bits,
    "MaxPool": pad_before_pooling,
    "MaxPoolWithArgmax": write_out_places_of_largest,
    "Mul": factors_behind_gelu,
    "Neg": _negated_volume_as_product,
    "RealDiv": _count_over_sum_by_mean,
    "Relu": _without_second_activation,
    "Roll": _roll_as_slices,
    "Transpose": join_transposes,
    **dict.fromkeys(CALLS, select_as_one_operator),
    **dict.fromkeys(CONVOLUTIONS, pad_in_numbers),
    **dict.fromkeys(ERROR_FUNCTIONS, _error_function),
    **dict.fromkeys(FLAT_PRODUCTS, multiply_as_batch),
    **dict.fromkeys(POOLS_OF_VOLUMES, pool_by_axes),
    **dict.fromkeys(REDUCTIONS, reduce_fewer_axes),
    **dict.fromkeys(SELECTING, plain_boxes_and_scores),
    **dict.fromkeys(WRITTEN_OUT, write_out),
}
"""Operation → what puts another one in its place, where it has to."""


def negations_as_products(file: File) -> None:
    """Write negations that the converter has left, in no GELU and no PRelu, as products: their int8 kernel is wrong."""
    for each in file.operators():
        if each.name == "NEG" and each.outputs[0].dtype == np.float32:
            read, made = each.read(0), each.outputs[0]
            factor = file.add_constant(f"{made.name}/minus", np.float32(-1))
            file.turn_into(each.raw, "MUL", schema.MulOptionsT())
            each.raw.inputs = np.array([read.index, factor.index], np.int32)
