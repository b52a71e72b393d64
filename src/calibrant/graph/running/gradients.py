"""Gradients of a graph's outputs by tensors inside it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.control_flow import control_flow_regions
from calibrant.graph.graph import Graph
from calibrant.graph.running.own_gradients import with_own_gradients
from calibrant.graph.running.partial_runs import nodes_reached
from calibrant.graph.running.run import OTHER_NUMBERS, failed_run, fetchable, reason_of
from calibrant.graph.running.session import close_session, open_session
from calibrant.graph.running.turned_pools import with_turned_pools
from calibrant.graph.tensorflow import tensorflow, without_callbacks


@dataclass(frozen=True, eq=False)
class Ahead:
    """What the run of a batch gave.

    Parameters
    ----------
    outputs : list[np.ndarray]
        The outputs.
    values : dict[str, np.ndarray]
        Tensor → what gradients need of it.
    """

    outputs: list[np.ndarray]
    values: dict[str, np.ndarray]


class OutputGradients:
    """A graph made ready to tell its outputs, and the gradients of weighted sums of them.

    The nodes run once for all sums: what the gradients read of them is kept and fed.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``.
    tensors : Sequence[str]
        What the gradients are by.
    outputs : Sequence[str]
        Tensors that are summed up; those that do not hold real numbers count as constant.
    quickly : bool
        Refuse a graph whose gradients TensorFlow's functions would have to make, which takes long.

    Raises
    ------
    ModelError
        The graph has loops, branches, functions or an operation whose gradient is not known.
    """

    def __init__(self, graph: Graph, tensors: Sequence[str], outputs: Sequence[str], quickly: bool = False):
        _refuse_functions(graph)
        own = with_own_gradients(graph, tensors, outputs)
        if own is None:
            if quickly:
                raise _without_gradient(graph, "TensorFlow has to make them")
            graph = with_turned_pools(graph)
        tf = tensorflow()
        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._graph, self._outputs = graph, tuple(outputs)
        self._failures = (tf.errors.OpError, ValueError)
        self._session = open_session(graph if own is None else own.graph, config)
        imported = self._session.graph
        if own is None:
            known, weights = self._differentiated(tensors, outputs)
        else:
            known = {name: imported.get_tensor_by_name(gradient) for name, gradient in own.by.items()}
            weights = list(own.weights)
        moving = nodes_reached(nd.readers(graph.nodes), graph.input_nodes)
        self._by = tuple(known)
        read = [tensor for tensor in _read_ahead(known.values(), graph.nodes) if imported.is_feedable(tensor)]
        fed = [tensor.name for tensor in read if tensor.op.name not in graph.nodes or tensor.op.name in moving]
        fed = [name for name in fed if name not in graph.inputs]
        copies = [name for name in known if graph.producer(name).op == "Identity"]
        same = {nd.data_inputs(graph.producer(name))[0]: name for name in copies}
        self._sources = [same.get(name, name) for name in fed]
        self._fetched = tuple(dict.fromkeys([*self._by, *self._sources]))  # what is fetched twice would be copied
        feeds = list(graph.inputs)
        ends = fetchable(self._session, outputs)
        ahead = [*ends, *map(imported.get_tensor_by_name, self._fetched)]
        self._ahead = self._session.make_callable(ahead, feed_list=feeds)
        self._back = self._session.make_callable(list(known.values()), feed_list=[*feeds, *fed, *weights])

    @without_callbacks()
    def _differentiated(self, tensors: Sequence[str], outputs: Sequence[str]) -> tuple[dict[str, Any], list[Any]]:
        """Tensor → its gradient by TensorFlow's functions, and the weights of the outputs."""
        tf, imported = tensorflow(), self._session.graph
        by, ends = ([imported.get_tensor_by_name(name) for name in names] for names in (tensors, outputs))
        with imported.as_default():
            weights = [tf.compat.v1.placeholder(end.dtype) for end in ends]
            real = [place for place, end in enumerate(ends) if end.dtype.is_floating]
            try:
                found = tf.gradients([ends[place] for place in real], by, [weights[place] for place in real])
                # That of a Gather is slices of the rows it took, perhaps several of one row.
                found = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]
            except Exception as error:  # each operation has a Python function of its own that makes its gradient
                self.close()
                raise _without_gradient(self._graph, str(error)) from None
        known = zip(tensors, found, strict=True)
        return {name: gradient for name, gradient in known if gradient is not None}, weights

    def ahead(self, batch: Mapping[str, np.ndarray]) -> Ahead:
        """Run a batch, by input key.

        Raises
        ------
        ModelError
            TensorFlow could not run the batch.
        """
        try:
            found = self._ahead(*(batch[key] for key in self._graph.input_keys))
        except self._failures as error:
            raise failed_run(self._graph, error, OTHER_NUMBERS) from None
        number = len(self._outputs)
        return Ahead(found[:number], dict(zip(self._fetched, found[number:], strict=True)))

    def back(
        self, batch: Mapping[str, np.ndarray], ahead: Ahead, weights: Sequence[Sequence[np.ndarray]]
    ) -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
        """Tensor → its values and, for each sum, the gradient; without those that no real number depends on.

        Parameters
        ----------
        batch : Mapping[str, np.ndarray]
            Input key → values.
        ahead : Ahead
            What its run gave.
        weights : Sequence[Sequence[np.ndarray]]
            For each sum, the weights of all outputs, of their shapes.

        Raises
        ------
        ModelError
            TensorFlow has no kernel for a gradient.
        """
        feeds = [batch[key] for key in self._graph.input_keys]
        kept = [ahead.values[name] for name in self._sources]
        try:
            gradients = [self._back(*feeds, *kept, *each) for each in weights]
        except self._failures as error:
            raise _without_gradient(self._graph, reason_of(error)) from None
        return {name: (ahead.values[name], slopes) for name, *slopes in zip(self._by, *gradients, strict=True)}

    def close(self) -> None:
        """Free the session."""
        close_session(self._session)


def _read_ahead(gradients: Iterable[Any], nodes: Container[str]) -> list[Any]:
    """What gradients read of the graph itself, which has these nodes; of some only the shapes."""
    read: dict[str, Any] = {}
    waiting = [gradient.op for gradient in gradients]
    seen = {operation.name for operation in waiting}
    while waiting:
        for tensor in waiting.pop().inputs:
            operation = tensor.op
            is_shape = operation.type in ("Shape", "ShapeN") and all(each.op.name in nodes for each in operation.inputs)
            if operation.name in nodes or is_shape:
                read[tensor.name] = tensor
            elif operation.name not in seen:
                seen.add(operation.name)
                waiting.append(operation)
    return list(read.values())


def _refuse_functions(graph: Graph) -> None:
    """TensorFlow knows loops, branches and calls by more than the graph, which is all that was read."""
    if control_flow_regions(graph.nodes):
        raise _without_gradient(graph, "it has loops or branches")
    for node in graph.nodes.values():
        if any(value.HasField("func") or value.list.func for value in node.attr.values()):
            raise _without_gradient(graph, f"{node.name!r} ({node.op}) calls a function")


def _without_gradient(graph: Graph, reason: str) -> ModelError:
    return ModelError(Problem(f"the outputs have no gradients: {reason}", file=graph.source))
