"""Channels last inside of functions: TensorFlow has no kernel with channels first for the bodies of loops on a CPU."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.channel_order import TO_FIRST, TO_LAST, is_channels_first, with_channels_last
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef, dtypes, tensor_util

_AXES = {"Conv2D": 4, "Conv3D": 5, "DepthwiseConv2dNative": 4, "MaxPool": 4, "AvgPool": 4}
"""By operator, the number of axes; all of them call their result ``output``."""


def with_channels_last_enclosed(library: FunctionDefLibrary) -> FunctionDefLibrary:
    """The functions, convolutions and poolings with channels first between transpositions; the results are the same."""
    if not any(_is_turned(node) for function in library.function for node in function.node_def):
        return library
    turned = FunctionDefLibrary()
    turned.CopyFrom(library)
    for function in turned.function:
        _turn(function)
    return turned


def _is_turned(node: NodeDef) -> bool:
    return node.op in _AXES and is_channels_first(node)


def _turn(function: FunctionDef) -> None:
    nodes = [node for node in function.node_def if _is_turned(node)]
    taken = {node.name for node in function.node_def} | {each.name for each in function.signature.input_arg}
    renamed = {}
    for node in nodes:
        rank = _AXES[node.op]
        renamed[f"{node.name}:output:0"] = f"{node.name}:y:0"
        last, first, before, made = (
            _free(f"{node.name}/{name}", taken) for name in ("to_last", "to_first", "turned", "last")
        )
        read, *others = (name for name in node.input if not name.startswith("^"))
        controls = [name for name in node.input if name.startswith("^")]
        twin = with_channels_last(node, [], rank)
        twin.name = made
        if "_output_shapes" in twin.attr:
            del twin.attr["_output_shapes"]
        del twin.input[:]
        twin.input.extend([f"{before}:y:0", *others, *controls])
        parts = [
            _order(last, TO_LAST[rank]),
            _order(first, TO_FIRST[rank]),
            _transposition(before, read, last, node),
            twin,
        ]
        node.CopyFrom(_transposition(node.name, f"{made}:output:0", first, node))
        function.node_def.extend(parts)
    for node in function.node_def:
        for at, name in enumerate(node.input):
            node.input[at] = renamed.get(name, name)
    for key, name in list(function.ret.items()):
        function.ret[key] = renamed.get(name, name)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _order(name: str, axes: tuple[int, ...]) -> NodeDef:
    node = nd.make_node("Const", name, [], dtype=dtypes.int32)
    node.attr["value"].tensor.CopyFrom(tensor_util.make_tensor_proto(np.array(axes, np.int32)))
    return node


def _transposition(name: str, read: str, order: str, like: NodeDef) -> NodeDef:
    node = nd.make_node("Transpose", name, [], T=like.attr["T"], Tperm=dtypes.int32)
    node.input.extend([read, f"{order}:output:0"])
    return node
