"""Parts of a SavedModel that are no graph of dense tensors: ragged and sparse inputs, compiled code, unknown ops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import nodes_in_functions
from calibrant.graph.graph import Graph
from calibrant.graph.tf_core import GraphDef, NodeDef
from calibrant.layer_kinds import KINDS

_COMPOSITE = {"RAGGED_TENSOR_SPEC": "ragged", "SPARSE_TENSOR_SPEC": "sparse"}
_DENSE = (
    "save the model with a dense, padded input; or name with --inputs a dense tensor to feed instead (inspect --nodes "
    "lists them)"
)
_COMPILED = frozenset({"XlaCallModule", "XlaCallModuleV2"})


def require_dense_inputs(meta_graph: Any, signature: Any, source: str, frozen: GraphDef) -> None:
    """No input of a signature is made of several tensors, whose first axes do not count the samples.

    Raises
    ------
    ModelError
        One is ragged or sparse; with the frozen graph, for who looks for another place to feed.
    """
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    saved = meta_graph.object_graph_def.concrete_functions
    specs = (
        spec
        for name in _called_by(meta_graph.graph_def, signature, functions)
        if name in saved
        for spec in _specs(saved[name].canonicalized_input_signature)
    )
    for spec in specs:
        kind = _COMPOSITE.get(type(spec).TypeSpecClass.Name(spec.type_spec_class))
        if kind is not None:
            parts = ", ".join(sorted(signature.inputs))
            error = ModelError(
                Problem(
                    f"has a {kind} input (fed as {parts}), whose parts have no axis of samples",
                    file=source,
                    hint=_DENSE,
                )
            )
            error.unfit = frozen
            raise error


def _called_by(graph_def: Any, signature: Any, functions: dict[str, Any]) -> Iterator[str]:
    """The functions that the wrappers of a signature call: those that were saved."""
    outputs = {nd.node_name(tensor.name) for tensor in signature.outputs.values()}
    for node in graph_def.node:
        wrapper = functions.get(node.attr["f"].func.name) if node.name in outputs and "f" in node.attr else None
        for inner in wrapper.node_def if wrapper is not None else ():
            if "f" in inner.attr:
                yield inner.attr["f"].func.name


def _specs(value: Any) -> Iterator[Any]:
    """The type specs in a structured value."""
    kind = value.WhichOneof("kind")
    if kind == "type_spec_value":
        yield value.type_spec_value
    elif kind in ("tuple_value", "list_value"):
        for inner in getattr(value, kind).values:
            yield from _specs(inner)
    elif kind == "dict_value":
        for inner in value.dict_value.fields.values():
            yield from _specs(inner)


def require_visible_layers(graph: Graph) -> None:
    """Not everything that a graph computes is compiled code.

    Raises
    ------
    ModelError
        The graph calls compiled code and has no operation that can be quantized.
    """
    inside = (each.node for each in nodes_in_functions(graph.nodes.values(), graph.library))
    operations: list[NodeDef] = [*graph.nodes.values(), *inside]
    compiled = next((node for node in operations if node.op in _COMPILED), None)
    if compiled is not None and not any(node.op in KINDS for node in operations):
        raise ModelError(
            Problem(
                f"is compiled by JAX ({compiled.op}): its layers are code, not operations that could be quantized",
                file=graph.source,
                path=compiled.name,
                hint="build the model with TensorFlow; a Keras model: KERAS_BACKEND=tensorflow, load its .keras file "
                "and give that",
            )
        )


def unknown_operations(meta_graph: Any, source: str) -> Problem | None:
    """The operations of a SavedModel that this TensorFlow does not have; None where it has all."""
    from tensorflow.python.framework import op_def_registry

    graph_def = meta_graph.graph_def
    functions = {function.signature.name for function in graph_def.library.function}
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    unknown = sorted({node.op for node in nodes if node.op not in functions and op_def_registry.get(node.op) is None})
    if not unknown:
        return None
    if "TRTEngineOp" in unknown:
        message = "was converted by TensorRT: its layers are in an engine, which only TensorRT runs (TRTEngineOp)"
        return Problem(message, file=source, hint="give the SavedModel from before that conversion")
    return Problem(
        f"needs operations that TensorFlow does not have: {', '.join(unknown)}",
        file=source,
        hint="import the package that defines them in Python, and call calibrant.quantize there",
    )
