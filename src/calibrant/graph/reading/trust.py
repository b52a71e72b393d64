"""What a model from a file may do unasked: compute. Python code and files that it would write need the user's word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from calibrant.errors import ModelError, Problem, first_problems
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import nodes_in_functions
from calibrant.graph.graph import Graph, ordered
from calibrant.graph.tf_core import GraphDef, NodeDef, op_def_registry

SWITCH = "if you trust the file: --trust-model; in Python trust_model=True"
BEYOND_COMPUTING = {
    **dict.fromkeys(("EagerPyFunc", "PyFunc", "PyFuncStateless"), "runs Python code of the process"),
    **dict.fromkeys(("MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2", "WriteFile"), "writes files"),
    **dict.fromkeys(
        ("DatasetToTFRecord", "SaveDataset", "SaveDatasetV2", "CacheDataset", "CacheDatasetV2"), "writes files"
    ),
    **dict.fromkeys(("CreateSummaryDbWriter", "CreateSummaryFileWriter", "ImportEvent"), "writes files"),
    **dict.fromkeys(("DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugNanCount"), "writes files"),
    **dict.fromkeys(("DebugNumericSummary", "DebugNumericSummaryV2"), "writes files"),
    **dict.fromkeys(("DataServiceDataset", "DataServiceDatasetV2", "RegisterDataset"), "talks to other machines"),
    **dict.fromkeys(
        ("RegisterDatasetV2", "RemoteCall", "RpcCall", "RpcClient", "RpcServer"), "talks to other machines"
    ),
}
"""Operation → what it does beside computing."""
_INITIALIZES = (
    *("Anonymous", "Assert", "Assign", "Case", "HashTable", "If", "InitializeTable", "IsVariable", "Lookup"),
    *("MutableHashTable", "Random", "ReadVariable", "Restore", "Stateful", "TruncatedNormal", "Var", "While"),
)
_RESOURCE_FUNCTIONS = frozenset({"_create_resource", "_destroy_resource", "_initialize"})


def only_computes(graph: Graph) -> None:
    """The graph does nothing but compute its outputs.

    Raises
    ------
    ModelError
        Naming the operations that do more, and the switch that allows them.
    """
    nodes = [(node, node.name) for node in graph.nodes.values()]
    nodes += [(each.node, each.name) for each in nodes_in_functions(graph.nodes.values(), graph.library)]
    problems = [
        Problem(f"{node.op} {_does(node)}", file=graph.source, path=name, hint=SWITCH)
        for node, name in nodes
        if _does(node) is not None
    ]
    if problems:
        raise ModelError(*first_problems(problems))


def only_initializes(meta_graph: Any, source: str) -> None:
    """What a SavedModel does when it is loaded is to set its variables and to fill its tables.

    Raises
    ------
    ModelError
        Naming the operations that do more, and the switch that allows them.
    """
    graph_def: GraphDef = meta_graph.graph_def
    nodes = {node.name: node for node in graph_def.node}
    begins = [name for name in _main_ops(meta_graph) if name in nodes]
    run = list(ordered(nodes, begins).values())
    calls = [nd.make_node(name, name, []) for name in _resource_functions(meta_graph.object_graph_def)]
    inside = [each.node for each in nodes_in_functions([*run, *calls], graph_def.library)]
    problems = [
        Problem(
            f"the SavedModel runs {node.op} when it is loaded, which is more than to set variables and tables",
            file=source,
            path=node.name,
            hint=SWITCH,
        )
        for node in (*run, *inside)
        if _does(node) is not None or not _is_initialization(node)
    ]
    if problems:
        raise ModelError(*first_problems(problems))


def _does(node: NodeDef) -> str | None:
    if node.op == "PrintV2" and str(nd.attribute(node, "output_stream", "")).startswith("file:"):
        return "writes files"
    return BEYOND_COMPUTING.get(node.op)


def _main_ops(meta_graph: Any) -> list[str]:
    """The nodes that loading runs, beside the restoring of variables."""
    signature = meta_graph.signature_def.get("__saved_model_init_op")
    names = [] if signature is None else [tensor.name for tensor in signature.outputs.values()]
    for key in ("saved_model_main_op", "legacy_init_op"):
        names += meta_graph.collection_def[key].node_list.value if key in meta_graph.collection_def else []
    return [nd.node_name(name) for name in names]


def _resource_functions(object_graph: Any) -> Iterator[str]:
    """The functions that TensorFlow calls when it revives tables and their kind as objects."""
    for each in object_graph.nodes:
        for child in each.children:
            if child.local_name in _RESOURCE_FUNCTIONS:
                yield from object_graph.nodes[child.node_id].function.concrete_functions


def _is_initialization(node: NodeDef) -> bool:
    operation = op_def_registry.get(node.op)
    return operation is None or not operation.is_stateful or node.op.startswith(_INITIALIZES)
