"""Functions of TensorFlow 2 in memory: traced, and their variables frozen into constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.unique_functions import with_unique_functions
from calibrant.graph.graph import Graph
from calibrant.graph.inference.assigned_variables import may_assign
from calibrant.graph.inference.assigning_branches import naming_switch, without_assigning_branches
from calibrant.graph.inference.variable_tensors import Variable
from calibrant.graph.inference.variables import freeze, refuse_assigned, what_is_used
from calibrant.graph.reading import frozen
from calibrant.graph.tensorflow import cause_of, quiet, tensorflow
from calibrant.graph.tf_core import GraphDef


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
    fetched, fed = [tensor.name for tensor in function.outputs], _feeds(function)
    keys = {nd.node_name(feed): feed for feed in fed}
    with naming_switch(function.graph.as_graph_def, [*fetched, *fed], source, keys, constants or ()):
        graph_def, feeds, fetches = frozen_function(function, source, constants)
        return frozen.select_by_key(
            graph_def,
            source,
            {nd.node_name(feed): feed for feed in feeds},
            dict(zip(_output_keys(function, fetches), fetches, strict=True)),
            inputs,
            outputs,
            constants,
            is_plausible=True,
        )


def _feeds(function: Any) -> list[str]:
    """The tensors of its arguments, not of what it captures."""
    captured = {tensor.name for tensor in function.graph.internal_captures}
    return [tensor.name for tensor in function.inputs if tensor.name not in captured]


def _output_keys(function: Any, fetches: Sequence[str]) -> Sequence[str]:
    structured = function.structured_outputs
    if isinstance(structured, dict) and len(structured) == len(fetches):
        return [str(key) for key in sorted(structured)]
    return [nd.input_reference(tensor) for tensor in fetches]


def frozen_function(
    function: Any, source: str, constants: Mapping[str, Any] | None = None
) -> tuple[GraphDef, list[str], list[str]]:
    """The graph of a concrete function with its variables as constants; its inputs and outputs.

    Branches that assign variables are left out where ``constants``, by the name of an input, decide against them.

    The function's own graph is read, so that functions of the same names that are alive in the process do no harm.
    TensorFlow's conversion is left for functions that use variables otherwise than by reading them. The names of
    functions in the graph do not tell what the process has traced before.
    """
    tf = tensorflow()
    captures = list(zip(function.graph.internal_captures, function.captured_inputs, strict=True))
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    held = {inside.op.name: variables.get(id(outside), outside) for inside, outside in captures}
    handles = {name: value for name, value in held.items() if isinstance(value, tf.Variable)}
    feeds = _feeds(function)
    fetches = [tensor.name for tensor in function.outputs]
    graph_def = function.graph.as_graph_def()
    for node in graph_def.node:
        if node.name in held and held[node.name].dtype not in (tf.resource, tf.variant) and node.name not in handles:
            node.CopyFrom(nd.constant_node(node.name, held[node.name].numpy()))
    types = {name: Variable(variable.dtype, variable.shape.as_proto()) for name, variable in handles.items()}
    tensors, bound = [*fetches, *feeds], {nd.node_name(key): value for key, value in (constants or {}).items()}
    fed = [feed for feed in feeds if nd.node_name(feed) not in bound]
    decided = without_assigning_branches(graph_def, tensors, source, bound, fed)
    is_decided = decided is not graph_def
    constant = freeze(decided, tensors, types, lambda name: handles[name].numpy(), is_decided)
    if constant is not None:
        return with_unique_functions(constant), feeds, fetches
    refuse_assigned(graph_def, tensors, source)
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        with quiet():
            light = _without_idle_operations(function, graph_def, feeds, fetches, handles)
            converted = convert_variables_to_constants_v2(light, lower_control_flow=False)
    except Exception as error:  # TensorFlow raises many kinds here
        raise ModelError(Problem(f"its variables cannot be frozen: {cause_of(error)}", file=source)) from None
    feeds = [tensor.name for tensor in converted.inputs if tensor.dtype != tf.resource]
    fetches = [tensor.name for tensor in converted.outputs]
    return with_unique_functions(converted.graph.as_graph_def()), feeds, fetches


def _without_idle_operations(
    function: Any, graph_def: GraphDef, feeds: Sequence[str], fetches: Sequence[str], handles: Mapping[str, Any]
) -> Any:
    """The function without what its results do not need, such as the state of a generator of random numbers.

    TensorFlow's conversion fails on variables that are assigned.
    """
    if not may_assign(graph_def):
        return function
    used = what_is_used(graph_def, [*fetches, *feeds])
    tf = tensorflow()
    placed = {nd.node_name(feed) for feed in feeds} | handles.keys()
    read = {nd.node_name(reference) for node in used.node for reference in node.input}
    rest = GraphDef(versions=used.versions, library=used.library)
    rest.node.extend(node for node in used.node if node.name not in placed)
    for node in rest.node:
        node.attr.pop("_class", None)  # names nodes beside which to place it, which may be gone
    tensors = dict(zip(feeds, function.inputs, strict=False))
    specifications = [tf.TensorSpec(tensors[feed].shape, tensors[feed].dtype, nd.node_name(feed)) for feed in feeds]

    def again(*fed: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        for name, variable in handles.items():
            if name in read:
                graph.watch_variable(variable)
        given = {
            **dict(zip(feeds, fed, strict=True)),
            **{f"{name}:0": graph.capture(handles[name].handle) for name in handles if name in read},
        }
        given = {tensor: value for tensor, value in given.items() if nd.node_name(tensor) in read}
        return tf.graph_util.import_graph_def(rest, input_map=given, return_elements=list(fetches), name="")

    return tf.function(again, autograph=False).get_concrete_function(*specifications)
