"""Constants that operations in loops of TensorFlow 1.x read: without waiting for a turn, they would belong to none."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import ENTERS, in_loops
from calibrant.graph.graph import Edit


def constants_in_turns(edit: Edit) -> None:
    """Give what is read in a loop and was made outside from constants to the turn of its reader."""
    graph = edit.graph
    inside = in_loops(graph.nodes)
    placed: dict[tuple[str, str], str] = {}
    for node in graph.nodes.values():
        if node.name not in inside or node.op in ENTERS:
            continue
        read = nd.data_inputs(node)
        beside = next((nd.node_name(tensor) for tensor in read if nd.node_name(tensor) in inside), None)
        for index, tensor in enumerate(read):
            value = None if beside is None or nd.node_name(tensor) in inside else graph.constant(tensor)
            if beside is None or value is None:
                continue
            if (tensor, beside) not in placed:
                constant = nd.constant_node(edit.free_name(f"{nd.node_name(tensor)}/in_turn"), value)
                constant.input.append(f"^{beside}")
                placed[tensor, beside] = edit.put(constant)
            edit.set_input(node.name, index, placed[tensor, beside])
