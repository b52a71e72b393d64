"""Zeros in the shape of a tensor that nothing else reads: they are filled from sizes, and the tensor is not computed.

Keras runs a whole step of a recurrent layer in front of its loop to know the shape of the result, where it has a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.known_sizes import picked_axes
from calibrant.graph.tf_core import NodeDef, dtypes

LIKE = {"ZerosLike": 0, "OnesLike": 1}
BROADCASTING = frozenset(
    {
        *("Abs", "Add", "AddV2", "BiasAdd", "Cast", "Elu", "Equal", "Erf", "Exp", "Greater", "GreaterEqual"),
        *("Identity", "LeakyRelu", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum"),
        *("Minimum", "Mul", "Neg", "NotEqual", "RealDiv", "Relu", "Relu6", "Rsqrt", "SelectV2", "Selu", "Sigmoid"),
        *("Softmax", "Softplus", "Softsign", "Sqrt", "Square", "SquaredDifference", "StopGradient", "Sub", "Tanh"),
        *LIKE,
    }
)
"""Operations whose result has the shape to which what they read is broadcast."""


@dataclass(frozen=True)
class Size:
    """The size of an axis of a tensor."""

    tensor: str
    axis: int


Sizes = tuple[int | Size, ...]
OpenSizes = tuple[int | Size | None, ...]
"""Where None is a size that a rule does not tell."""


def without_unread_values(graph: Graph) -> Graph:
    """The graph in which tensors are not computed for their shape alone, where sizes further up give that."""
    unread = [node for node in graph.nodes.values() if _is_unread(graph, node)]
    if not unread:
        return graph
    edit, sizes = graph.edit(), _sizes(graph)
    for node in unread:
        [read] = nd.data_inputs(node)
        known = sizes.get(read)
        if known is not None and not any(isinstance(size, Size) and size.tensor == read for size in known):
            _fill(edit, node, known)
    return edit.finish()


def _is_unread(graph: Graph, node: NodeDef) -> bool:
    """Whether it alone reads a tensor, of which it needs the shape."""
    if node.op not in LIKE or node.name in graph.regions or nd.control_inputs(node):
        return False
    [read] = nd.data_inputs(node)
    maker = graph.producer(read)
    if not (graph.dtype(read).is_floating or graph.dtype(read).is_integer):
        return False
    if maker.op == "Placeholder" or maker.name in graph.output_nodes or nd.static_shape(graph.shape(read)) is not None:
        return False
    outputs = (f"{maker.name}:{index}" for index in graph.read_outputs(maker.name))
    return sum(len(graph.consumers(tensor)) for tensor in outputs) == 1


def _fill(edit: Edit, node: NodeDef, sizes: Sizes) -> None:
    """Make a node of its shape's sizes."""
    parts = []
    for size in sizes:
        if isinstance(size, Size):
            asked = edit.add("Shape", f"{node.name}/shape", [size.tensor], T=edit.graph.dtype(size.tensor))
            ends = [edit.add_constant(f"{node.name}/axis", np.array([size.axis + k], np.int32)) for k in (0, 1)]
            step = edit.add_constant(f"{node.name}/step", np.array([1], np.int32))
            kinds = {"T": dtypes.int32, "Index": dtypes.int32, "shrink_axis_mask": 1}
            parts.append(edit.add("StridedSlice", f"{node.name}/size", [asked, *ends, step], **kinds))
        else:
            parts.append(edit.add_constant(f"{node.name}/size", np.array(size, np.int32)))
    kind = node.attr["T"]
    value = np.array(LIKE[node.op], dtypes.as_dtype(kind.type).as_numpy_dtype)
    dims = edit.add("Pack", f"{node.name}/sizes", parts, T=dtypes.int32, N=len(parts), axis=0)
    given = [dims, edit.add_constant(f"{node.name}/value", value)]
    edit.put(nd.make_node("Fill", node.name, given, T=kind, index_type=dtypes.int32))


def _sizes(graph: Graph) -> dict[str, Sizes]:
    """The sizes of all tensors: numbers, sizes of tensors further up where a rule tells, else their own."""
    found: dict[str, Sizes] = {}
    for node in graph.nodes.values():
        rule = RULES.get(node.op)
        for index in graph.read_outputs(node.name):
            tensor = f"{node.name}:{index}"
            shape = graph.shape(tensor)
            if shape is None:
                continue
            told = rule(graph, node, found) if rule is not None and None in shape else None
            if told is None or len(told) != len(shape):
                told = (None,) * len(shape)
            own = (Size(tensor, axis) if size is None else size for axis, size in enumerate(told))
            found[tensor] = tuple(other if size is None else size for size, other in zip(shape, own, strict=True))
    return found


def _elementwise(_graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    read = [found.get(tensor) for tensor in nd.data_inputs(node)]
    known = [sizes for sizes in read if sizes is not None]
    if len(known) < len(read) or not known:
        return None
    rank = max(map(len, known))
    columns = zip(*((1,) * (rank - len(sizes)) + sizes for sizes in known), strict=True)
    return tuple(_broadcast(column) for column in columns)


def _broadcast(sizes: Sequence[int | Size]) -> int | Size | None:
    others = {size for size in sizes if size != 1}
    return None if len(others) > 1 else others.pop() if others else 1


def _product(_graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    first, second = (found.get(tensor) for tensor in nd.data_inputs(node))
    if first is None or second is None:
        return None
    return first[bool(nd.attribute(node, "transpose_a"))], second[not nd.attribute(node, "transpose_b")]


def _transpose(graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    read, order = nd.data_inputs(node)
    sizes, axes = found.get(read), graph.constant(order)
    return None if sizes is None or axes is None else tuple(sizes[axis] for axis in axes)


def _gather(graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    table, indices, axis = nd.data_inputs(node)
    rows, places, along = found.get(table), found.get(indices), graph.constant(axis)
    if rows is None or places is None or along is None or along != 0 or nd.attribute(node, "batch_dims"):
        return None
    return places + rows[1:]


def _slice(graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    """Of single places along some of the first axes, as of one step of a sequence."""
    sizes, steps = found.get(nd.data_inputs(node)[0]), graph.constant(nd.data_inputs(node)[3])
    if sizes is None or steps is None or any(nd.attribute(node, f"{kind}_mask") for kind in ("ellipsis", "new_axis")):
        return None
    begin, end, shrunk = (int(nd.attribute(node, f"{kind}_mask", 0)) for kind in ("begin", "end", "shrink_axis"))
    whole = [bool((begin & end) >> axis & 1) and abs(step) == 1 for axis, step in enumerate(steps)]
    kept = (size if is_whole else None for size, is_whole in zip(sizes, whole, strict=False))
    return tuple(size for axis, size in enumerate(kept) if not shrunk >> axis & 1) + sizes[len(whole) :]


def _split(graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    axis, read = nd.data_inputs(node)
    sizes, along = found.get(read), graph.constant(axis)
    if sizes is None or along is None:
        return None
    return tuple(None if place == along % len(sizes) else size for place, size in enumerate(sizes))


def _filled(graph: Graph, node: NodeDef, found: Mapping[str, Sizes]) -> OpenSizes | None:
    made = graph.producer(nd.data_inputs(node)[0])
    if made.op == "Shape":
        return found.get(nd.data_inputs(made)[0])
    return tuple(_number(graph, tensor, found) for tensor in nd.data_inputs(made)) if made.op == "Pack" else None


def _number(graph: Graph, tensor: str, found: Mapping[str, Sizes]) -> int | Size | None:
    """A size that is read of a shape."""
    maker = graph.producer(tensor)
    asked = graph.producer(nd.data_inputs(maker)[0]) if maker.op in ("StridedSlice", "GatherV2") else None
    if asked is None or asked.op != "Shape" or (sizes := found.get(nd.data_inputs(asked)[0])) is None:
        return None
    axes = picked_axes(graph, maker, np.arange(len(sizes)))
    return None if axes is None or axes.shape else sizes[int(axes)]


RULES: dict[str, Callable[[Graph, NodeDef, Mapping[str, Sizes]], OpenSizes | None]] = {
    **dict.fromkeys(BROADCASTING, _elementwise),
    "MatMul": _product,
    "Transpose": _transpose,
    "GatherV2": _gather,
    "StridedSlice": _slice,
    "Split": _split,
    "Fill": _filled,
}
"""Operation → the sizes of its results, of which those that are no numbers are read."""
