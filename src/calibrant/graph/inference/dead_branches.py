"""Branches that are never taken, because a constant decides: Switch and Merge, If, Case, Select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.inference.decided import decided_values, default_placeholders
from calibrant.graph.tf_core import NodeDef, dtypes

# Operation → index of the input that decides.
DECIDING = {
    "Switch": 1,
    "If": 0,
    "StatelessIf": 0,
    "Case": 0,
    "StatelessCase": 0,
    "Select": 0,
    "SelectV2": 0,
}
_CALLS = {
    "If": "StatefulPartitionedCall",
    "Case": "StatefulPartitionedCall",
    "StatelessIf": "PartitionedCall",
    "StatelessCase": "PartitionedCall",
}


def without_dead_branches(graph: Graph) -> Graph:
    """The graph with each decision that a constant takes replaced by what it decides for.

    The function of an If or Case becomes a call, to be inlined.

    Raises
    ------
    ModelError
        An output is in a branch that is never taken.
    """
    deciding = {
        node.name: nd.data_inputs(node)[DECIDING[node.op]] for node in graph.nodes.values() if node.op in DECIDING
    }
    values = decided_values(graph, dict.fromkeys(deciding.values()))
    choices = {name: values[tensor] for name, tensor in deciding.items() if tensor in values}
    choices = {name: value for name, value in choices.items() if value.size and (value == value.flat[0]).all()}
    if not choices:
        return graph
    dead = _Dead(graph, choices)
    edit = graph.edit()
    for tensor in {deciding[name] for name in choices}:
        name, index = nd.split_tensor(tensor)
        if index == 0 and graph.read_outputs(name) == (0,) and graph.nodes[name].op != "Const":
            edit.put(_decided(graph, graph.nodes[name], values[tensor]))
    for name in default_placeholders(graph, (deciding[name] for name in choices)):
        if edit.nodes[name].op == "PlaceholderWithDefault":
            node = graph.nodes[name]
            edit.put(nd.make_node("Identity", name, nd.data_inputs(node), T=nd.attribute(node, "dtype")))
    renamed = {f"{name}:1": f"{name}:0" for name in choices if graph.nodes[name].op == "Switch"}
    for name, choice in choices.items():
        node = graph.nodes[name]
        if node.op in _CALLS:
            called = nd.node_name(edit.put(_call(node, choice, edit.free_name(f"{name}/taken"))))
            edit.put(_results(node, called))
            if len(node.attr["Tout"].list.type) > 1:
                renamed.update((f"{name}:{index}", f"{called}:{index}") for index in graph.read_outputs(name))
        elif node.op == "Switch":
            edit.put(_pass_on(node, 0))
        elif (chosen := _selected(graph, node, bool(choice.flat[0]))) is not None:
            edit.put(_pass_on(node, chosen))
    for node in graph.nodes.values():
        if node.op == "Merge" and node.name not in dead.nodes and not dead.is_loop(node):
            live = [index for index, tensor in enumerate(nd.data_inputs(node)) if tensor not in dead]
            if len(live) == 1:
                edit.put(_pass_on(node, live[0]))
                if 1 in graph.read_outputs(node.name):
                    taken = edit.add_constant(f"{node.name}/value_index", np.int32(live[0]))
                    renamed[f"{node.name}:1"] = taken
            elif len(live) < len(nd.data_inputs(node)):
                edit.put(_merge_of(node, live))
    for node in list(edit.nodes.values()):
        if node.name not in dead.nodes and any(tensor in renamed for tensor in nd.data_inputs(node)):
            inputs = [renamed.get(tensor, tensor) for tensor in nd.data_inputs(node)]
            edit.put(nd.copy_node(node, [*inputs, *nd.control_references(node)]))
    unreachable = [tensor for tensor in graph.outputs if tensor in dead]
    if unreachable:
        raise ModelError(
            *(
                Problem("is in a branch that is never taken", file=graph.source, path=nd.input_reference(tensor))
                for tensor in unreachable
            )
        )
    return edit.finish(
        outputs=tuple(
            tensor if graph.producer(tensor).op in _CALLS else renamed.get(tensor, tensor) for tensor in graph.outputs
        )
    )


class _Dead:
    """The tensors that are never computed: one output of each decided Switch, and what depends on it."""

    def __init__(self, graph: Graph, choices: Mapping[str, np.ndarray]):
        self._graph = graph
        self.nodes: set[str] = set()
        self._outputs: set[str] = set()
        for node in graph.nodes.values():
            if self._is_dead(node):
                self.nodes.add(node.name)
            elif node.op == "Switch" and node.name in choices:
                self._outputs.add(f"{node.name}:{0 if choices[node.name].flat[0] else 1}")

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._outputs or nd.node_name(tensor) in self.nodes

    def is_loop(self, node: NodeDef) -> bool:
        """Whether a Merge is the head of a loop."""
        return any(self._graph.producer(tensor).op == "NextIteration" for tensor in nd.data_inputs(node))

    def _is_dead(self, node: NodeDef) -> bool:
        if any(name in self.nodes for name in nd.control_inputs(node)):
            return True
        inputs = nd.data_inputs(node)
        if node.op != "Merge":
            return any(tensor in self for tensor in inputs)
        forward = [tensor for tensor in inputs if self._graph.producer(tensor).op != "NextIteration"]
        return all(tensor in self for tensor in forward)


def _decided(graph: Graph, node: NodeDef, value: np.ndarray) -> NodeDef:
    """A constant in the place of a node; in a loop it waits for what that read, to be there in every turn."""
    constant = nd.constant_node(node.name, value)
    if node.name in graph.regions:
        waited = (*map(nd.node_name, nd.data_inputs(node)), *nd.control_inputs(node))
        constant.input.extend(f"^{name}" for name in dict.fromkeys(waited))
    return constant


def _pass_on(node: NodeDef, index: int) -> NodeDef:
    """An Identity of one input in the place of a node."""
    controls = nd.control_references(node)
    return nd.make_node("Identity", node.name, [nd.data_inputs(node)[index], *controls], T=nd.attribute(node, "T"))


def _merge_of(node: NodeDef, live: Sequence[int]) -> NodeDef:
    """A Merge of some of its inputs."""
    inputs = nd.data_inputs(node)
    merge = nd.copy_node(node, [*(inputs[index] for index in live), *nd.control_references(node)])
    merge.attr["N"].i = len(live)
    return merge


def _call(node: NodeDef, choice: np.ndarray, name: str) -> NodeDef:
    """A call of the function that an If or Case decides for."""
    value = choice.flat[0]
    if "Case" in node.op:
        branches = node.attr["branches"].list.func
        function = branches[int(value) if 0 <= value < len(branches) else -1]
    else:
        function = node.attr["then_branch" if value else "else_branch"].func
    inputs = [*nd.data_inputs(node)[1:], *nd.control_references(node)]
    call = nd.make_node(_CALLS[node.op], name, inputs)
    call.attr["f"].func.CopyFrom(function)
    for key in ("Tin", "Tout"):
        call.attr[key].CopyFrom(node.attr[key])
    return call


def _results(node: NodeDef, called: str) -> NodeDef:
    """What a call gives, under the name of the node that decided for it."""
    types = node.attr["Tout"].list.type
    if len(types) == 1:
        return nd.make_node("Identity", node.name, [f"{called}:0"], T=dtypes.as_dtype(types[0]))
    results = nd.make_node("IdentityN", node.name, [f"{called}:{index}" for index in range(len(types))])
    results.attr["T"].list.type.extend(types)
    return results


def _selected(graph: Graph, node: NodeDef, condition: bool) -> int | None:
    """Which input a Select hands on; None where the other one, or the condition, may give it another shape."""
    chosen = 1 if condition else 2
    if node.op == "Select":
        return chosen
    result, inputs = graph.shape(f"{node.name}:0"), nd.data_inputs(node)
    return chosen if result is not None and same_shape(result, graph.shape(inputs[chosen])) else None


def same_shape(result: tuple[int | None, ...], operand: tuple[int | None, ...] | None) -> bool:
    """Whether a result that broadcasts an operand has the operand's shape, as far as shapes are known."""
    return operand is not None and len(result) == len(operand) and tuple(result) == tuple(operand)
