"""Variables that a model assigns while it runs: in a graph for inference they are constants.

TensorFlow takes no constant where it wants to assign. So operations that assign give way to marked ones that do
nothing. What branches assign that are not taken, or what nobody reads afterwards, is left out; the rest is an error.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import replace

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import called_functions
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.inference.controls import ASSIGNS
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.tf_core import GraphDef, NodeDef, dtypes

HINT = (
    "export a function that only computes, as for inference (training=False); what it counts, or changes in weights, "
    "belongs outside of it"
)
OF_REFERENCES = {f"Ref{op}": op for op in ("Enter", "Exit", "Identity", "Merge", "NextIteration", "Select", "Switch")}
"""What passes a variable of TensorFlow 1.x on → the same for tensors."""
_SCATTERS = ("Add", "Div", "Max", "Min", "Mul", "NdAdd", "NdSub", "NdUpdate", "Sub", "Update")
ASSIGN_REFERENCES = frozenset(
    {"Assign", "AssignAdd", "AssignSub", "CountUpTo", "StridedSliceAssign", *(f"Scatter{op}" for op in _SCATTERS)}
)
"""What assigns a variable of TensorFlow 1.x, and gives it."""
PASSED_ON = (ASSIGN_REFERENCES | OF_REFERENCES.keys() | set(OF_REFERENCES.values())) - {"RefSelect", "Select"}
"""What gives the first tensor that it reads, if not another that is the same variable."""
_ASSIGN_RESOURCES = ("ResourceApply", "ResourceCountUpTo", "ResourceScatter", "ResourceSparseApply", "ResourceStrided")
_OF = "_of_constant"
_VALUE = "_value_of_constant"


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
            origin = nodes[source_of(nodes, node.input[0])]
            if origin.op == "Const" or origin.name in variables:
                changed[name] = _stand_in(node, origin)
    return {**nodes, **changed}


def assigns_resource(node: NodeDef) -> bool:
    """Whether an operation assigns a variable that it takes as a resource."""
    return (node.op.startswith("Assign") and node.op.endswith("VariableOp")) or node.op.startswith(_ASSIGN_RESOURCES)


def may_assign(graph_def: GraphDef) -> bool:
    """Whether an operation of a graph, or of any of its functions, assigns a variable that it takes as a resource."""
    bodies = (function.node_def for function in graph_def.library.function)
    return any(assigns_resource(node) for nodes in (graph_def.node, *bodies) for node in nodes)


def source_of(nodes: Mapping[str, NodeDef], reference: str) -> str:
    """The node whose result is passed on to where a tensor is read."""
    name, passed = nd.node_name(reference), set[str]()
    while nodes[name].op in PASSED_ON and name not in passed:
        passed.add(name)
        name = nd.node_name(nodes[name].input[0])
    return name


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
    if node.op == "AssignVariableOp":
        result.attr[_VALUE].s = nd.tensor_name(node.input[1]).encode()
    return result


def assignments(graph: Graph) -> dict[str, str | None]:
    """What stands in for each assignment → the tensor that is assigned; None for one that changes what is there."""
    marked = [node for node in graph.nodes.values() if ASSIGNS in node.attr]
    return {node.name: node.attr[_VALUE].s.decode() if _VALUE in node.attr else None for node in marked}


def origin_of(graph: Graph, name: str) -> str:
    """The constant that what stands in for an assignment would assign."""
    return graph.nodes[name].attr[_OF].s.decode()


def assigned_in_functions(graph: Graph) -> list[Problem]:
    """A problem for each operation of a function that is called and assigns what is a constant."""
    called, _ = called_functions(graph.nodes.values(), graph.library)
    found = []
    for function in called.values():
        tensors = {each.name for each in function.signature.input_arg if each.type != dtypes.resource}
        found += [node for node in function.node_def if assigns_resource(node) and node.input[0] in tensors]
    return [assignment_problem(node.name, node.op, graph.source) for node in found]


def without_assignments(graph: Graph, settled: Container[str] = ()) -> Graph:
    """The graph without what stands in for assignments.

    Parameters
    ----------
    settled : Container[str]
        What stands in for assignments of what is there before.

    Raises
    ------
    ModelError
        A variable is, or may be, read after it was assigned.
    """
    marked = {name: node for name, node in graph.nodes.items() if ASSIGNS in node.attr}
    if not marked:
        return graph
    readers = nd.readers(graph.nodes)
    needed = _needed(graph)
    read_by = {name: _read_by(graph, readers, origin_of(graph, name)) for name in marked}
    later = behind(graph.nodes, marked)
    problems = [
        assignment_problem(name, node.attr[ASSIGNS].s.decode(), graph.source)
        for name, node in marked.items()
        if name not in settled and (name in needed or needed & later[name] & read_by[name])
    ]
    if problems:
        raise ModelError(*problems)
    idle = nodes_reached(readers, marked)
    kept = {}
    for name, node in graph.nodes.items():
        waits = nd.control_inputs(node)
        if not idle.keys().isdisjoint(waits):
            rest = [*nd.data_inputs(node), *(f"^{each}" for each in waits if each not in idle)]
            node = nd.copy_node(node, rest or _in_its_loop(graph, next(each for each in waits if each in idle)))
        kept[name] = node
    return replace(graph, nodes=ordered(kept, (*graph.outputs, *graph.inputs)))


def _needed(graph: Graph) -> Set[str]:
    """The nodes whose values the outputs are made of."""
    read = {name: [nd.node_name(tensor) for tensor in nd.data_inputs(node)] for name, node in graph.nodes.items()}
    return nodes_reached(read, graph.output_nodes).keys()


def _in_its_loop(graph: Graph, name: str) -> list[str]:
    """What a constant has to wait for to be in the loop of a node that goes, if that is in one."""
    node = graph.nodes[name]
    while nd.data_inputs(node) or nd.control_inputs(node):
        if node.op in ("Enter", "Switch", "Merge"):
            return [f"^{node.name}"]
        node = graph.nodes[nd.node_name(node.input[0].removeprefix("^"))]
    return []


def behind(nodes: Mapping[str, NodeDef], names: Iterable[str]) -> dict[str, Set[str]]:
    """Each of some nodes → all that reads it, or waits for it, or for what does."""
    followers = nd.followers(nodes)
    return {name: nodes_reached(followers, followers.get(name, ())).keys() for name in names}


def _read_by(graph: Graph, readers: Mapping[str, list[str]], constant: str) -> set[str]:
    """What reads a constant, or what passes it on, and does not assign it."""
    found: set[str] = set()
    waiting = [constant]
    for name in waiting:
        new = [each for each in readers.get(name, ()) if each not in found and ASSIGNS not in graph.nodes[each].attr]
        found.update(new)
        waiting += [each for each in new if graph.nodes[each].op in PASSED_ON]
    return found


def assignment_problem(name: str, op: str, source: str) -> Problem:
    """What is said of an operation that assigns what is read afterwards."""
    return Problem(f"assigns a variable while it runs ({op})", file=source, path=name, hint=HINT)
