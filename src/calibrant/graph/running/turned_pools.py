"""Maximum pooling with channels first by a kernel with channels last: on a CPU its gradient has no other."""

from __future__ import annotations

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.channel_order import TO_FIRST, TO_LAST, is_channels_first, with_channels_last
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import dtypes


def with_turned_pools(graph: Graph) -> Graph:
    """The graph with each MaxPool that has channels first between two transpositions; its results are the same."""
    pools = [node for node in graph.nodes.values() if node.op == "MaxPool" and is_channels_first(node)]
    if not pools:
        return graph
    edit = graph.edit()
    last, first = (edit.add_constant("channels/order", np.array(to[4], np.int32)) for to in (TO_LAST, TO_FIRST))
    for node in pools:
        kinds = {"T": node.attr["T"], "Tperm": dtypes.int32}
        controls = nd.control_references(node)
        turned = edit.add("Transpose", f"{node.name}/turned", [node.input[0], last, *controls], **kinds)
        pool = with_channels_last(node, [turned], 4)
        pool.name = edit.free_name(f"{node.name}/pool")
        edit.put(nd.make_node("Transpose", node.name, [edit.put(pool), first], **kinds))
    return edit.finish()
