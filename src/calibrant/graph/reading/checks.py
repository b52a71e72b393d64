"""What makes a graph unfit: dangling inputs, variables, training mode, unknown ops, cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from calibrant.errors import ModelError, Problem, did_you_mean, first_problems
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import (
    LOOP_EDGES,
    LOOPS,
    PLACES,
    called_functions,
    calls_of,
    nodes_in_functions,
)
from calibrant.graph.functions.inline import CALLS
from calibrant.graph.graph import Graph
from calibrant.graph.inference.assigned_variables import assigned_in_functions
from calibrant.graph.inference.variable_reads import READERS
from calibrant.graph.reading.cut_proposal import inputs_option
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef, dtypes
from calibrant.layer_kinds import FUSED_NORMS

VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"})
IN_MEMORY = ("tf.Graph", "GraphDef")
"""What messages call models that are no files."""
SAVER = "saver_filename"
"""What TensorFlow 2 adds to a SavedModel to write it again: no input of the network."""
_FREEZE = "freeze the graph, or give the SavedModel folder, or the .meta file of its checkpoint"
_FREEZE_IN_MEMORY = (
    "freeze it with tf.compat.v1.graph_util.convert_variables_to_constants(session, graph_def, outputs), import the "
    "GraphDef that this returns into a new tf.Graph, and give that graph"
)
RANDOM = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "StatefulRandomBinomial",
        "StatefulStandardNormal",
        "StatefulStandardNormalV2",
        "StatefulTruncatedNormal",
        "StatefulUniform",
        "StatefulUniformInt",
        "StatelessMultinomial",
        "StatelessRandomBinomial",
        "StatelessRandomNormal",
        "StatelessRandomNormalV2",
        "StatelessRandomUniform",
        "StatelessRandomUniformInt",
        "StatelessRandomUniformIntV2",
        "StatelessRandomUniformV2",
        "StatelessTruncatedNormal",
        "StatelessTruncatedNormalV2",
        "TruncatedNormal",
    }
)
_WAITING = frozenset(
    {
        "BarrierTakeMany",
        "MapUnstage",
        "OrderedMapUnstage",
        "QueueDequeue",
        "QueueDequeueMany",
        "QueueDequeueManyV2",
        "QueueDequeueUpTo",
        "QueueDequeueUpToV2",
        "QueueDequeueV2",
        "ReaderRead",
        "ReaderReadUpTo",
        "ReaderReadUpToV2",
        "ReaderReadV2",
        "Unstage",
    }
)
_GENERATORS = frozenset({"RngReadAndSkip", "RngSkip"})
_LIVE = "a dropout or augmentation that is live looks like this"
_OF_KERAS = "of Keras, give the .keras or .h5 file: model.export() leaves augmentation live"
MOST_PROBLEMS = 20
_RESOURCE = dtypes.resource.as_datatype_enum


def dangling_inputs(nodes: Mapping[str, NodeDef], source: str) -> None:
    """Every input names a node of the graph.

    Raises
    ------
    ModelError
        Naming the nodes and the missing inputs.
    """
    problems = [
        Problem(
            f"reads {nd.node_name(reference)!r}, which is not in the graph",
            file=source,
            path=node.name,
            hint=did_you_mean(nd.node_name(reference), nodes),
        )
        for node in nodes.values()
        for reference in node.input
        if nd.node_name(reference) not in nodes
    ]
    if problems:
        raise ModelError(*first_problems(problems))


def well_formed(graph: Graph) -> None:
    """The graph can be run.

    Raises
    ------
    ModelError
        Listing variables without a value or half frozen, a cycle, what waits for a queue, an op that TensorFlow does
        not know, or an input or output that its node does not have.
    """
    problems = [
        *variables(graph.nodes, graph.source),
        *_cycle(graph),
        *_missing_functions(graph),
        *_unfit_calls(graph),
        *(assigned_in_functions(graph) or _half_frozen(graph)),
        *_waiting(graph),
    ]
    if problems:
        raise ModelError(*first_problems(problems))
    importable(graph)


def _waiting(graph: Graph) -> list[Problem]:
    """A problem for each operation that would wait for ever, beside inputs that are fed."""
    nodes = [node for node in graph.nodes.values() if node.op in _WAITING] if graph.inputs else []
    taken = [f"{node.name}:{index}" for node in nodes for index in graph.read_outputs(node.name)]
    return [
        Problem(
            f"{node.op} waits for a queue that nothing fills here",
            file=graph.source,
            path=node.name,
            hint=f"feed what it takes: {inputs_option(graph, taken)}",
        )
        for node in nodes
    ]


def importable(graph: Graph) -> None:
    """TensorFlow knows every op and accepts every edge.

    Raises
    ------
    ModelError
        With TensorFlow's reason.
    """
    tf = tensorflow()
    unknown = unknown_ops(graph)
    if unknown:
        raise ModelError(
            *(
                Problem(
                    f"op {node.op!r} is not known to TensorFlow {tf.__version__}",
                    file=graph.source,
                    path=node.name,
                    hint="cut the graph after it with --inputs or before it with --outputs; or import the package "
                    "that defines it, from Python",
                )
                for node in unknown[:MOST_PROBLEMS]
            )
        )
    is_known = _known_ops(graph)
    enclosed = [
        Problem(
            f"op {each.node.op!r}, in {each.place}, is not known to TensorFlow {tf.__version__}",
            file=graph.source,
            path=each.name,
            hint="cut the graph before or behind the whole of it with --outputs and --inputs; or import the package "
            "that defines the op, from Python",
        )
        for each in nodes_in_functions(graph.nodes.values(), graph.library)
        if not is_known(each.node)
    ]
    if enclosed:
        raise ModelError(*first_problems(enclosed))
    try:
        tensors = graph.tensors
    except (ValueError, TypeError, tf.errors.OpError) as error:
        if generators := _generators(graph):
            raise ModelError(*first_problems(generators)) from None
        raise ModelError(
            Problem(f"TensorFlow does not accept the graph: {str(error).splitlines()[0]}", file=graph.source)
        ) from None
    constants = (node for node in graph.nodes.values() if node.op == "Const")  # large ones, TensorFlow has not seen
    read = (nd.tensor_name(reference) for node in constants for reference in nd.data_inputs(node))
    absent = [tensor for tensor in dict.fromkeys((*graph.inputs, *graph.outputs, *read)) if tensor not in tensors]
    if absent:
        raise ModelError(*first_problems([_no_such_output(graph, tensor) for tensor in absent[:MOST_PROBLEMS]]))


def _generators(graph: Graph) -> list[Problem]:
    """A problem for each operation that draws from a generator, whose state TensorFlow does not take from a file."""
    nodes = [(node.name, node) for node in graph.nodes.values()]
    nodes += [(each.name, each.node) for each in nodes_in_functions(graph.nodes.values(), graph.library)]
    return [
        Problem(
            f"{node.op} makes the result random; {_LIVE}",
            file=graph.source,
            path=name,
            hint=f"export the model for inference ({_OF_KERAS})",
        )
        for name, node in nodes
        if node.op in _GENERATORS
    ]


def unknown_ops(graph: Graph) -> list[NodeDef]:
    """The nodes whose op TensorFlow does not know."""
    is_known = _known_ops(graph)
    return [node for node in graph.nodes.values() if not is_known(node)]


def _known_ops(graph: Graph) -> Callable[[NodeDef], bool]:
    """Tells whether a node's op is one of TensorFlow, or a function of the graph."""
    from tensorflow.python.framework import op_def_registry

    functions = {function.signature.name for function in graph.library.function}
    return lambda node: node.op in functions or op_def_registry.get(node.op) is not None


def _no_such_output(graph: Graph, tensor: str) -> Problem:
    name, index = nd.split_tensor(tensor)
    many = sum(nd.node_name(other) == name for other in graph.tensors)
    return Problem(
        f"has no output {index}: {graph.nodes[name].op} has {many} output{'s' if many != 1 else ''}",
        file=graph.source,
        path=name,
        allowed=", ".join(f"{name}:{number}" for number in range(min(many, 8))) or None,
    )


def training_mode(graph: Graph) -> list[Problem]:
    """A problem for each operation whose result is random, or depends on what else is in the batch."""
    problems = [
        Problem(
            f"{each.node.op} in {each.place} makes the result random",
            file=graph.source,
            path=each.name,
            hint="export the model for inference",
        )
        for each in nodes_in_functions(graph.nodes.values(), graph.library, needed=True)
        if each.node.op in RANDOM
        and each.place != "a function"  # a call that stayed may hold a branch that is not taken
    ]
    noise = [node.name for node in graph.nodes.values() if node.op in RANDOM]
    for node in graph.nodes.values():
        if is_in_training(graph, node):
            problems.append(
                Problem(
                    "batch norm is in training mode (is_training is true)",
                    file=graph.source,
                    path=node.name,
                    hint="export the model for inference, or, where it is meant as in some image generators, with a "
                    "batch of 1",
                )
            )
        elif node.op in RANDOM:
            problems.append(
                Problem(
                    f"{node.op} makes the result random; {_LIVE}",
                    file=graph.source,
                    path=node.name,
                    hint=f"export the model for inference ({_OF_KERAS}); noise that is meant is fed: --inputs "
                    + ",".join((*graph.input_keys, *noise))
                    if node.name == noise[0]
                    else None,
                )
            )
    return problems


def is_in_training(graph: Graph, node: NodeDef) -> bool:
    """Whether a node is a batch norm that takes its statistics from what it reads."""
    return node.op in FUSED_NORMS and nd.attribute(node, "is_training", True) and not is_layer_norm(graph, node)


def is_layer_norm(graph: Graph, node: NodeDef) -> bool:
    """Whether a norm takes its statistics from within each sample: layer norms are written so, one sample a channel."""
    data, *_, mean, variance = nd.data_inputs(node)
    shape = graph.shape(data)
    return (
        graph.producer(data).op == "Reshape"
        and nd.attribute(node, "data_format") == "NCHW"
        and shape is not None
        and shape[0] == 1
        and graph.shape(mean) == graph.shape(variance) == (0,)
    )


def norm_statistics(graph: Graph) -> None:
    """The constant statistics of norms are numbers, and their variances are not negative.

    Raises
    ------
    ModelError
        Naming each norm and its first such channel.
    """
    problems = []
    for node in graph.nodes.values():
        if node.op in FUSED_NORMS and not nd.attribute(node, "is_training", True):
            mean, variance = (graph.constant(tensor) for tensor in nd.data_inputs(node)[3:5])
            problems += _bad_channel(graph, node, mean, "mean", np.isfinite)
            lowest = -float(nd.attribute(node, "epsilon", 1e-4))
            problems += _bad_channel(graph, node, variance, "variance", partial(np.less, lowest))
        elif node.op == "Rsqrt":
            values = graph.constant(nd.data_inputs(node)[0])
            problems += _bad_channel(graph, node, values, "variance with its epsilon", partial(np.less, 0))
    if problems:
        raise ModelError(*problems[:MOST_PROBLEMS])


def _bad_channel(
    graph: Graph, node: NodeDef, values: np.ndarray | None, what: str, fits: Callable[[np.ndarray], np.ndarray]
) -> list[Problem]:
    if values is None:
        return []
    bad = np.flatnonzero(~fits(values.reshape(-1)))
    if bad.size == 0:
        return []
    more = f" ({len(bad)} channels in all)" if len(bad) > 1 else ""
    return [
        Problem(
            f"channel {bad[0]} of the norm has the {what} {values.reshape(-1)[bad[0]]:g}{more}: no number comes out",
            file=graph.source,
            path=node.name,
            hint="the model was damaged in training or when it was saved: save it again from a good state",
        )
    ]


def variables(nodes: Mapping[str, NodeDef], source: str) -> list[Problem]:
    """A problem for each variable: a frozen graph has none."""
    message, hint = "is a variable, whose value is not in the file", _FREEZE
    if source in IN_MEMORY:
        message, hint = f"is a variable, whose value is in a session and not in the {source}", _FREEZE_IN_MEMORY
    return [Problem(message, file=source, path=node.name, hint=hint) for node in nodes.values() if node.op in VARIABLES]


def fed(graph: Graph, proposed: Callable[[], Mapping[str, Any] | None], given: Sequence[str]) -> None:
    """Every placeholder that the outputs need is among the inputs.

    Parameters
    ----------
    proposed : Callable[[], Mapping[str, Any] | None]
        Called where one is not: placeholder → the value that makes the graph one for inference.
    given : Sequence[str]
        The inputs as they were named, if they were.

    Raises
    ------
    ModelError
        Naming those that are not.
    """
    unfed = [
        node
        for name, node in graph.nodes.items()
        if node.op == "Placeholder" and name not in graph.input_nodes and nd.attribute(node, "dtype") != dtypes.resource
    ]
    if not unfed:
        return
    values = proposed() or {} if training_mode(graph) else {}
    values = {node.name: False for node in unfed if nd.attribute(node, "dtype") == dtypes.bool} | dict(values)
    keys = ", ".join(given or graph.input_keys)
    problems = [
        Problem(
            "is needed by the outputs but is not among the inputs",
            file=graph.source,
            path=node.name,
            hint="an output is named that saves the model: name one of the network instead"
            if node.name == SAVER
            else f"add it to --inputs, which are {keys}; or bind it: --set {node.name}="
            f"{str(values[node.name]).lower() if node.name in values else 'VALUE'}",
        )
        for node in unfed
    ]
    raise ModelError(*first_problems(problems))


def _missing_functions(graph: Graph) -> list[Problem]:
    _, missing = called_functions(graph.nodes.values(), graph.library)
    return [Problem(f"calls the function {name!r}, which is not in the file", file=graph.source) for name in missing]


def _unfit_calls(graph: Graph) -> list[Problem]:
    """Loops, branches and calls whose functions have another number of arguments or results: TensorFlow would go on."""
    called, _ = called_functions(graph.nodes.values(), graph.library)
    inside = [node for function in called.values() for node in function.node_def]
    problems = []
    for node in (*graph.nodes.values(), *inside):
        is_call = node.op in CALLS or node.op in PLACES or node.op in called
        for name, first in calls_of(node, called) if is_call else ():
            given, taken = len(nd.data_inputs(node)) - first, _count(called[name].signature.input_arg)
            wanted, made = _results_wanted(node, name), _count(called[name].signature.output_arg)
            if taken not in (None, given):
                message = f"calls the function {name!r} with {given} arguments, which takes {taken}"
                problems.append(Problem(message, file=graph.source, path=node.name))
            elif None not in (wanted, made) and wanted != made:
                message = f"calls the function {name!r}, which has {made} results"
                problems.append(Problem(message, file=graph.source, path=node.name, allowed=str(wanted)))
    return problems


def _results_wanted(node: NodeDef, function: str) -> int | None:
    """How many results of a function a node reads; None where nothing says it."""
    if node.op in LOOPS:
        return 1 if node.attr["cond"].func.name == function else len(nd.data_inputs(node))
    return len(node.attr["Tout"].list.type) if "Tout" in node.attr else None


def _count(arguments: Sequence[Any]) -> int | None:
    """How many tensors they are; None where attributes decide that."""
    return None if any(each.number_attr or each.type_list_attr for each in arguments) else len(arguments)


def _half_frozen(graph: Graph) -> list[Problem]:
    """Functions that read an argument as a variable although it is a tensor: TensorFlow's conversion leaves them so."""
    called, _ = called_functions(graph.nodes.values(), graph.library)
    problems = []
    for name, function in called.items():
        tensors = {each.name for each in function.signature.input_arg if each.type not in (0, _RESOURCE)}
        problems += [
            Problem(
                f"{node.op} in the function {name!r} reads a variable that is a constant in the graph",
                file=graph.source,
                path=node.name,
                hint="give the SavedModel folder or the model in memory, not a graph that TensorFlow froze; loops and "
                "branches may not assign variables",
            )
            for node in function.node_def
            if node.op in READERS and node.input[0] in tensors
        ]
    return problems


def _cycle(graph: Graph) -> list[Problem]:
    state: dict[str, int] = {}
    for root in graph.nodes:
        stack = [(root, False)]
        while stack:
            name, done = stack.pop()
            if done:
                state[name] = 2
                continue
            if state.get(name) == 2:
                continue
            state[name] = 1
            stack.append((name, True))
            for reference in graph.nodes[name].input:
                producer = nd.node_name(reference)
                if state.get(producer) == 1 and graph.nodes[producer].op not in LOOP_EDGES:
                    return [
                        Problem(
                            f"the graph has a cycle that is not a loop, through {producer!r}",
                            file=graph.source,
                            path=name,
                        )
                    ]
                if producer not in state and graph.nodes[producer].op not in LOOP_EDGES:
                    stack.append((producer, False))
    return []
