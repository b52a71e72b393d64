"""Operations that read a variable, and what takes their place where the variable is a constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.tf_core import NodeDef

READERS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"})


def read_of_constant(node: NodeDef, dtype: Any) -> list[NodeDef]:
    """What takes the place of one of READERS, or of an Identity that passes the variable on.

    References are kept as they are, which in functions have another form than in graphs.
    """
    if node.op in ("Identity", "ReadVariableOp"):
        return [_in_place_of(node, "Identity", T=dtype)]
    if node.op == "VariableShape":
        return [_in_place_of(node, "Shape", T=dtype, out_type=node.attr["out_type"])]
    indices = node.attr["Tindices"]
    if node.op == "ResourceGatherNd":
        return [_in_place_of(node, "GatherNd", Tparams=dtype, Tindices=indices)]
    batched = node.attr["batch_dims"]
    axis = nd.constant_node(f"{node.name}/axis", np.array(batched.i, np.int32))
    types = {"Tparams": dtype, "Tindices": indices, "Taxis": axis.attr["dtype"]}
    gather = _in_place_of(node, "GatherV2", **types, batch_dims=batched)
    gather.input.insert(2, axis.name)
    return [axis, gather]


def _in_place_of(node: NodeDef, op: str, **attributes: Any) -> NodeDef:
    result = nd.make_node(op, node.name, [], **attributes)
    result.input.extend(node.input)
    return result
