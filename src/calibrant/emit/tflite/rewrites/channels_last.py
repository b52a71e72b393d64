"""Channels last for a graph with channels first (NCHW): LiteRT's kernels have no other order.

A node with channels first gets a twin that computes with channels last, and becomes a transposition of what the twin
makes. Nodes that do not care about the order get twins as well, so that between layers nothing is transposed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.channel_order import TO_FIRST, TO_LAST, is_channels_first, with_channels_last
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes

DATA = {"Conv2DBackpropInput": (2,), "Conv3DBackpropInputV2": (2,)}
LAYOUT_AGNOSTIC = frozenset(
    {
        *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Neg", "Abs"),
        *("Identity", "StopGradient", "PreventGradient", "Erf", "Erfc", "Pow", "Square", "Sqrt", "Rsqrt", "Log"),
        *("Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference", "ClipByValue"),
    }
)
REDUCTIONS = frozenset({"Mean", "Sum", "Max", "Min"})


def channels_last(edit: Edit) -> Mapping[str, str]:
    """Rewrite the nodes with channels first; tensor → the twin with the same numbers and channels last."""
    return _Rewrite(edit).run()


class _Rewrite:
    def __init__(self, edit: Edit):
        self.edit, self.graph = edit, edit.graph
        self.twins: dict[str, str] = {}

    def run(self) -> Mapping[str, str]:
        if not any(is_channels_first(node) for node in self.graph.nodes.values()):
            return {}
        for node in list(self.graph.nodes.values()):
            shape = self.graph.tensors.get(f"{node.name}:0", (None, None))[0]
            if is_channels_first(self.edit.nodes[node.name]):
                self._formatted(node)
            elif shape is not None and len(shape) in TO_LAST and node.op in {*LAYOUT_AGNOSTIC, "BiasAdd"}:
                self._elementwise(node, len(shape))
            elif node.op == "ConcatV2" and shape is not None and len(shape) in TO_LAST:
                self._concatenated(node, len(shape))
            elif node.op in REDUCTIONS:
                self._reduced(node)
            elif node.op in ("Pad", "PadV2", "MirrorPad"):
                self._padded(node)
            elif node.op in ("SpaceToBatchND", "BatchToSpaceND") and shape is not None and len(shape) == 4:
                self._divided(node)
        return self.twins

    def _last(self, tensor: str, rank: int) -> str:
        """A tensor with channels last."""
        return self.twins.get(tensor) or self._transposed(tensor, TO_LAST[rank], f"{_base(tensor)}/channels_last")

    def _transposed(self, tensor: str, order: tuple[int, ...], name: str) -> str:
        axes = self.edit.add_constant(f"{name}/order", np.array(order, np.int32))
        made = self.edit.add("Transpose", name, [tensor, axes], T=dtypes.float32, Tperm=dtypes.int32)
        if order in TO_LAST.values():
            self.twins.setdefault(tensor, made)
        return made

    def _put(self, node: NodeDef, twin: NodeDef, rank: int) -> None:
        """Add a twin, and let the node be a transposition of it."""
        twin.name = self.edit.free_name(f"{node.name}/last")
        made = self.edit.put(twin)
        axes = self.edit.add_constant(f"{node.name}/order", np.array(TO_FIRST[rank], np.int32))
        inputs = [made, axes, *nd.control_references(node)]
        self.edit.put(nd.make_node("Transpose", node.name, inputs, T=dtypes.float32, Tperm=dtypes.int32))
        self.twins[f"{node.name}:0"] = made

    def _formatted(self, node: NodeDef) -> None:
        read = list(nd.data_inputs(node))
        shape = self.graph.shape(f"{node.name}:0")
        rank = 5 if nd.attribute(node, "data_format") == "NCDHW" else 4
        if node.op == "BiasAdd" and shape is not None:  # it has this format for any number of axes
            rank = len(shape)
            if rank == 2:
                twin = nd.copy_node(node)
                nd.set_attribute(twin, "data_format", "NHWC")
                self.edit.put(twin)
        if rank not in TO_LAST or (shape is not None and len(shape) != rank):
            return
        for place in DATA.get(node.op, (0,)):
            read[place] = self._last(read[place], rank)
        twin = with_channels_last(node, read, rank)
        if node.op in DATA:
            sizes = self.graph.constant(nd.data_inputs(node)[0])
            if sizes is not None:
                order = [sizes[axis] for axis in TO_LAST[rank]]
                name = self.edit.add_constant(f"{node.name}/sizes_last", np.array(order, sizes.dtype))
            else:
                axes = self.edit.add_constant(f"{node.name}/sizes_order", np.array(TO_LAST[rank], np.int32))
                zero = self.edit.add_constant(f"{node.name}/sizes_axis", np.array(0, np.int32))
                kinds = {"Tparams": dtypes.int32, "Tindices": dtypes.int32, "Taxis": dtypes.int32}
                name = self.edit.add("GatherV2", f"{node.name}/sizes_last", [read[0], axes, zero], **kinds)
            twin.input[0] = nd.input_reference(name)
        self._put(node, twin, rank)

    def _elementwise(self, node: NodeDef, rank: int) -> None:
        inputs = nd.data_inputs(node)
        values = [self.graph.constant(tensor) for tensor in inputs]
        shapes = [self.graph.shape(tensor) for tensor in inputs]
        if not any(tensor in self.twins for tensor in inputs) or any(
            shape is None or (len(shape) != rank if value is None else len(shape) > rank)
            for shape, value in zip(shapes, values, strict=True)
        ):
            return
        read = []
        for tensor, value in zip(inputs, values, strict=True):
            if value is None:
                read.append(self._last(tensor, rank))
                continue
            if value.size > 1:
                value = value.reshape((1,) * (rank - value.ndim) + value.shape).transpose(TO_LAST[rank])
            read.append(self.edit.add_constant(f"{node.name}/constant_last", value))
        if node.op == "BiasAdd":  # along the last axis, which is another one now
            self._put(node, nd.make_node("AddV2", node.name, read, T=nd.attribute(node, "T")), rank)
        else:
            self._put(node, nd.copy_node(node, read), rank)

    def _concatenated(self, node: NodeDef, rank: int) -> None:
        *parts, axis = nd.data_inputs(node)
        place = self.graph.constant(axis)
        if place is None or not all(part in self.twins for part in parts):
            return
        moved = TO_LAST[rank].index(int(place) % rank)
        name = self.edit.add_constant(f"{node.name}/axis_last", np.array(moved, place.dtype))
        self._put(node, nd.copy_node(node, [*(self.twins[part] for part in parts), name]), rank)

    def _reduced(self, node: NodeDef) -> None:
        tensor, axes = nd.data_inputs(node)
        value = self.graph.constant(axes)
        shape = self.graph.shape(tensor)
        if tensor not in self.twins or value is None or shape is None:
            return
        rank = len(shape)
        moved = sorted(TO_LAST[rank].index(int(axis) % rank) for axis in np.atleast_1d(value))
        name = self.edit.add_constant(f"{node.name}/axes_last", np.array(moved, np.int32))
        twin = nd.copy_node(node, [self.twins[tensor], name])
        nd.set_attribute(twin, "Tidx", dtypes.int32)
        if nd.attribute(node, "keep_dims"):
            self._put(node, twin, rank)
        elif moved == list(range(1, rank - 1)):  # batch and channels are left, in the same order
            twin.input.extend(f"^{control}" for control in nd.control_inputs(node))
            self.edit.put(twin)

    def _padded(self, node: NodeDef) -> None:
        tensor, sizes, *others = nd.data_inputs(node)
        value = self.graph.constant(sizes)
        shape = self.graph.shape(tensor)
        if tensor not in self.twins or value is None or shape is None:
            return
        rank = len(shape)
        name = self.edit.add_constant(f"{node.name}/paddings_last", value[list(TO_LAST[rank])])
        self._put(node, nd.copy_node(node, [self.twins[tensor], name, *others]), rank)

    def _divided(self, node: NodeDef) -> None:
        """Space and batch; with channels first the channels are an axis that is not divided."""
        tensor, *others = nd.data_inputs(node)
        sizes, edges = (self.graph.constant(each) for each in others)
        shape = self.graph.shape(tensor)
        if sizes is None or edges is None or shape is None or len(shape) != 4 or len(sizes) != 3:
            return
        if sizes[0] != 1 or edges[0].any():
            return
        size, edge = (
            self.edit.add_constant(f"{node.name}/{name}_last", value[1:])
            for name, value in (("sizes", sizes), ("edges", edges))
        )
        self._put(node, nd.copy_node(node, [self._last(tensor, 4), size, edge]), 4)


def _base(tensor: str) -> str:
    return nd.input_reference(tensor).replace(":", "_")
