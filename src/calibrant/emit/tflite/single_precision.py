"""float32 in place of float16 and bfloat16, which LiteRT's float kernels do not compute with."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import dtypes

NARROW = frozenset({dtypes.float16.as_datatype_enum, dtypes.bfloat16.as_datatype_enum})


def single_precision(edit: Edit) -> None:
    """Let everything that computes with narrower floating-point numbers compute with float32."""
    for node in list(edit.nodes.values()):
        types = [key for key, value in node.attr.items() if value.type in NARROW]
        lists = [key for key, value in node.attr.items() if NARROW.intersection(value.list.type)]
        if not types and not lists:
            continue
        if node.op == "Const":
            edit.put(nd.constant_node(node.name, nd.constant_value(node).astype(np.float32)))
            continue
        changed = nd.copy_node(node)
        for key in types:
            changed.attr[key].type = dtypes.float32.as_datatype_enum
        for key in lists:
            kinds = [dtypes.float32.as_datatype_enum if kind in NARROW else kind for kind in node.attr[key].list.type]
            changed.attr[key].list.type[:] = kinds
        edit.put(changed)
