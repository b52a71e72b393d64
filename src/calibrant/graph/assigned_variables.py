"""Variables that a model assigns while it runs: in a graph for inference they are constants."""

from __future__ import annotations

from calibrant.errors import Problem
from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import called_functions
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import NodeDef, dtypes

HINT = "export a function that only computes, as for inference (training=False); what it counts belongs outside of it"


def assigned_variables(graph: Graph) -> list[Problem]:
    """A problem for each operation that assigns one, in the graph or in a function that it calls."""
    called, _ = called_functions(graph.nodes.values(), graph.library)
    found = [node for node in graph.nodes.values() if _assigns(node) and _reads_a_constant(graph, node)]
    for function in called.values():
        tensors = {each.name for each in function.signature.input_arg if each.type != dtypes.resource}
        found += [node for node in function.node_def if _assigns(node) and node.input[0] in tensors]
    return [
        Problem(f"assigns a variable while it runs ({node.op})", file=graph.source, path=node.name, hint=HINT)
        for node in found
    ]


def _assigns(node: NodeDef) -> bool:
    return (node.op.startswith("Assign") and node.op.endswith("VariableOp")) or node.op.startswith("ResourceScatter")


def _reads_a_constant(graph: Graph, node: NodeDef) -> bool:
    producer = graph.nodes.get(nd.node_name(node.input[0]))
    return producer is not None and producer.op in ("Const", "Identity")
