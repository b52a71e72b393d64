"""Variables that a model assigns while it runs: in a graph for inference they are constants.

TensorFlow takes no constant where it wants to assign. So operations that assign give way to marked ones that do
nothing. What branches assign that are not taken, or what nobody reads afterwards, is left out; the rest is an error.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import replace

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import called_functions
from calibrant.graph.controls import ASSIGNS
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.partial_runs import nodes_reached
from calibrant.graph.tf_core import NodeDef, dtypes

HINT = "export a function that only computes, as for inference (training=False); what it counts belongs outside of it"
OF_REFERENCES = {f"Ref{op}": op for op in ("Enter", "Exit", "Identity", "Merge", "NextIteration", "Select", "Switch")}
"""What passes a variable of TensorFlow 1.x on → the same for tensors."""
_SCATTERS = ("Add", "Div", "Max", "Min", "Mul", "NdAdd", "NdSub", "NdUpdate", "Sub", "Update")
ASSIGN_REFERENCES = frozenset({"Assign", "AssignAdd", "AssignSub", "CountUpTo", *(f"Scatter{op}" for op in _SCATTERS)})
"""What assigns a variable of TensorFlow 1.x, and gives it."""
_OF = "_of_constant"


def with_constants(nodes: Mapping[str, NodeDef], variables: Container[str] = ()) -> dict[str, NodeDef]:
    """The nodes, those that want a variable where they read a constant replaced by what takes a constant.

    Parameters
    ----------
    variables : Container[str]
        Names of nodes that are to become constants.
    """
    changed = {}
    for name, node in nodes.items():
        if node.op in OF_REFERENCES:
            changed[name] = nd.copy_node(node)
            changed[name].op = OF_REFERENCES[node.op]
        elif node.op in ASSIGN_REFERENCES or assigns_resource(node):
            origin = _origin(nodes, node, variables)
            if origin is not None:
                changed[name] = _stand_in(node, origin)
    return {**nodes, **changed}


def assigns_resource(node: NodeDef) -> bool:
    """Whether an operation assigns a variable that it takes as a resource."""
    return (node.op.startswith("Assign") and node.op.endswith("VariableOp")) or node.op.startswith("ResourceScatter")


def _origin(nodes: Mapping[str, NodeDef], node: NodeDef, variables: Container[str]) -> NodeDef | None:
    """The constant that an operation is to assign."""
    passed: set[str] = set()
    while node.input and node.name not in passed:
        passed.add(node.name)
        node = nodes[nd.node_name(node.input[0])]
        if node.op == "Const" or node.name in variables:
            return node
    return None


def _stand_in(node: NodeDef, origin: NodeDef) -> NodeDef:
    """What does nothing in place of an operation, as late as it."""
    read, *others = nd.data_inputs(node)
    waits = [f"^{name}" for name in dict.fromkeys((*map(nd.node_name, others), *nd.control_inputs(node)))]
    if node.op in ASSIGN_REFERENCES:
        result = nd.make_node("Identity", node.name, [read], T=nd.attribute(origin, "dtype"))
        result.input.extend(waits)
    else:
        result = nd.make_node("NoOp", node.name, [])
        result.input.extend(dict.fromkeys((f"^{nd.node_name(read)}", *waits)))
    result.attr[ASSIGNS].s = node.op.encode()
    result.attr[_OF].s = origin.name.encode()
    return result


def assigned_in_functions(graph: Graph) -> list[Problem]:
    """A problem for each operation of a function that is called and assigns what is a constant."""
    called, _ = called_functions(graph.nodes.values(), graph.library)
    found = []
    for function in called.values():
        tensors = {each.name for each in function.signature.input_arg if each.type != dtypes.resource}
        found += [node for node in function.node_def if assigns_resource(node) and node.input[0] in tensors]
    return [_problem(graph, node.name, node.op) for node in found]


def without_assignments(graph: Graph) -> Graph:
    """The graph without what stands in for assignments.

    Raises
    ------
    ModelError
        A variable is, or may be, read after it was assigned.
    """
    marked = {name: node for name, node in graph.nodes.items() if ASSIGNS in node.attr}
    if not marked:
        return graph
    readers = nd.readers(graph.nodes)
    results = {nd.node_name(tensor) for tensor in graph.outputs}
    problems = []
    later = behind(graph.nodes, marked)
    for name, node in marked.items():
        reading = {each for each in readers.get(node.attr[_OF].s.decode(), ()) if each not in marked}
        if name in results or readers.get(name) or later[name] & _with_copies(graph, readers, reading):
            problems.append(_problem(graph, name, node.attr[ASSIGNS].s.decode()))
    if problems:
        raise ModelError(*problems)
    kept = {}
    for name, node in graph.nodes.items():
        waits = nd.control_inputs(node)
        if any(each in marked for each in waits):
            node = nd.copy_node(node, [*nd.data_inputs(node), *(f"^{each}" for each in waits if each not in marked)])
        kept[name] = node
    return replace(graph, nodes=ordered(kept, (*graph.outputs, *graph.inputs)))


def behind(nodes: Mapping[str, NodeDef], names: Iterable[str]) -> dict[str, Set[str]]:
    """Each of some nodes → all that reads it, or waits for it, or for what does."""
    followers: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for reference in node.input:
            followers.setdefault(nd.node_name(reference), []).append(name)
    return {name: nodes_reached(followers, followers.get(name, ())).keys() for name in names}


def _with_copies(graph: Graph, readers: Mapping[str, list[str]], names: set[str]) -> set[str]:
    """Nodes, and those that read what these pass on."""
    found, waiting = set(names), list(names)
    for name in waiting:
        if graph.nodes[name].op in ("Identity", "Switch", "Enter"):
            new = [
                each for each in readers.get(name, ()) if each not in found and ASSIGNS not in graph.nodes[each].attr
            ]
            found.update(new)
            waiting += new
    return found


def _problem(graph: Graph, name: str, op: str) -> Problem:
    return Problem(f"assigns a variable while it runs ({op})", file=graph.source, path=name, hint=HINT)
