"""float32 in place of float16, bfloat16 and float64, which LiteRT's float kernels do not compute with."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import dtypes

OTHERS = frozenset(kind.as_datatype_enum for kind in (dtypes.float16, dtypes.bfloat16, dtypes.float64))


def single_precision(edit: Edit) -> None:
    """Let everything that computes with narrower or wider floating-point numbers compute with float32."""
    for node in list(edit.nodes.values()):
        types = [key for key, value in node.attr.items() if value.type in OTHERS]
        lists = [key for key, value in node.attr.items() if OTHERS.intersection(value.list.type)]
        if not types and not lists:
            continue
        if node.op == "Const":
            edit.put(nd.constant_node(node.name, nd.constant_value(node).astype(np.float32)))
            continue
        changed = nd.copy_node(node)
        for key in types:
            changed.attr[key].type = dtypes.float32.as_datatype_enum
        for key in lists:
            kinds = [dtypes.float32.as_datatype_enum if kind in OTHERS else kind for kind in node.attr[key].list.type]
            changed.attr[key].list.type[:] = kinds
        edit.put(changed)
