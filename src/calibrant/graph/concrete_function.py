"""Functions of TensorFlow 2 in memory: traced, and their variables frozen into constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import frozen
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import cause_of, quiet, tensorflow
from calibrant.graph.tf_core import GraphDef
from calibrant.graph.variables import freeze


def from_function(
    function: Any,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    constants: Mapping[str, Any] | None = None,
    source: str = "tf.function",
) -> Graph:
    """A ``tf.function`` with an input signature, or a ``ConcreteFunction``.

    Raises
    ------
    ModelError
        It has no input signature, or cannot be traced.
    """
    if not hasattr(function, "structured_outputs"):
        if getattr(function, "input_signature", None) is None:
            raise ModelError(
                Problem(
                    "the tf.function does not say what its inputs are",
                    file=source,
                    hint="give it an input_signature, or pass function.get_concrete_function(tf.TensorSpec(...))",
                )
            )
        try:
            function = function.get_concrete_function()
        except Exception as error:  # whatever the function of a user raises
            raise ModelError(Problem(f"cannot be traced: {cause_of(error)}", file=source)) from None
    graph_def, feeds, fetches = frozen_function(function, source)
    return frozen.select_by_key(
        graph_def,
        source,
        {nd.node_name(feed): feed for feed in feeds},
        dict(zip(_output_keys(function, fetches), fetches, strict=True)),
        inputs,
        outputs,
        constants,
    )


def _output_keys(function: Any, fetches: Sequence[str]) -> Sequence[str]:
    structured = function.structured_outputs
    if isinstance(structured, dict) and len(structured) == len(fetches):
        return [str(key) for key in sorted(structured)]
    return [nd.input_reference(tensor) for tensor in fetches]


def frozen_function(function: Any, source: str) -> tuple[GraphDef, list[str], list[str]]:
    """The graph of a concrete function with its variables as constants; its inputs and outputs.

    The function's own graph is read, so that functions of the same names that are alive in the process do no harm.
    TensorFlow's conversion is left for functions that hand variables to loops and branches.
    """
    tf = tensorflow()
    captures = list(zip(function.graph.internal_captures, function.captured_inputs, strict=True))
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    held = {inside.op.name: variables.get(id(outside), outside) for inside, outside in captures}
    handles = {name: value for name, value in held.items() if isinstance(value, tf.Variable)}
    feeds = [tensor.name for tensor in function.inputs if tensor.op.name not in held]
    fetches = [tensor.name for tensor in function.outputs]
    graph_def = function.graph.as_graph_def()
    for node in graph_def.node:
        if node.name in held and held[node.name].dtype not in (tf.resource, tf.variant) and node.name not in handles:
            node.CopyFrom(nd.constant_node(node.name, held[node.name].numpy()))
    dtypes = {name: variable.dtype for name, variable in handles.items()}
    constant = freeze(graph_def, [*fetches, *feeds], dtypes, lambda name: handles[name].numpy())
    if constant is not None:
        return constant, feeds, fetches
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        with quiet():
            converted = convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception as error:  # TensorFlow raises many kinds here
        raise ModelError(Problem(f"its variables cannot be frozen: {cause_of(error)}", file=source)) from None
    feeds = [tensor.name for tensor in converted.inputs if tensor.dtype != tf.resource]
    return converted.graph.as_graph_def(), feeds, [tensor.name for tensor in converted.outputs]
