"""Gradients of a graph's outputs by tensors inside it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.control_flow import control_flow_regions
from calibrant.graph.graph import Graph
from calibrant.graph.own_gradients import with_own_gradients
from calibrant.graph.partial_runs import nodes_reached
from calibrant.graph.run import reason_of
from calibrant.graph.session import close_session, open_session
from calibrant.graph.tensorflow import tensorflow


class OutputGradients:
    """A graph made ready to tell the gradients of weighted sums of its outputs.

    The nodes run once for all sums: what the gradients read of them is kept and fed.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``.
    tensors : Sequence[str]
        What the gradients are by.
    outputs : Sequence[str]
        Tensors that are summed up; those that do not hold real numbers count as constant.

    Raises
    ------
    ModelError
        The graph has loops, branches, functions or an operation whose gradient TensorFlow does not know.
    """

    def __init__(self, graph: Graph, tensors: Sequence[str], outputs: Sequence[str]):
        _refuse_functions(graph)
        tf = tensorflow()
        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._graph = graph
        self._failures = (tf.errors.OpError, ValueError)
        moving = nodes_reached(nd.readers(graph.nodes), graph.input_nodes)
        self._session = open_session(with_own_gradients(graph, moving), config)
        imported = self._session.graph
        by, ends = ([imported.get_tensor_by_name(name) for name in names] for names in (tensors, outputs))
        with imported.as_default():
            weights = [tf.compat.v1.placeholder(end.dtype) for end in ends]
            real = [place for place, end in enumerate(ends) if end.dtype.is_floating]
            try:
                found = tf.gradients([ends[place] for place in real], by, [weights[place] for place in real])
            except Exception as error:  # each operation has a Python function of its own that makes its gradient
                self.close()
                raise _without_gradient(graph, str(error)) from None
        known = {name: gradient for name, gradient in zip(tensors, found, strict=True) if gradient is not None}
        self._by = tuple(known)
        read = [tensor for tensor in _read_ahead(known.values(), graph.nodes) if imported.is_feedable(tensor)]
        fed = [tensor.name for tensor in read if tensor.op.name not in graph.nodes or tensor.op.name in moving]
        fed = [name for name in fed if name not in graph.inputs]
        copies = [name for name in known if graph.producer(name).op == "Identity"]
        same = {nd.data_inputs(graph.producer(name))[0]: name for name in copies}
        self._sources = [same.get(name, name) for name in fed]
        self._fetched = tuple(dict.fromkeys([*self._by, *self._sources]))  # what is fetched twice would be copied
        feeds = list(graph.inputs)
        self._ahead = self._session.make_callable(
            list(map(imported.get_tensor_by_name, self._fetched)), feed_list=feeds
        )
        self._back = self._session.make_callable(list(known.values()), feed_list=[*feeds, *fed, *weights])

    def __call__(
        self, batch: Mapping[str, np.ndarray], weights: Sequence[Sequence[np.ndarray]]
    ) -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
        """Tensor → its values and, for each sum, the gradient; without those that no real number depends on.

        Parameters
        ----------
        batch : Mapping[str, np.ndarray]
            Input key → values.
        weights : Sequence[Sequence[np.ndarray]]
            For each sum, the weights of all outputs, of their shapes.

        Raises
        ------
        ModelError
            TensorFlow has no kernel for a gradient.
        """
        feeds = [batch[key] for key in self._graph.input_keys]
        try:
            values = dict(zip(self._fetched, self._ahead(*feeds), strict=True))
            kept = [values[name] for name in self._sources]
            gradients = [self._back(*feeds, *kept, *each) for each in weights]
        except self._failures as error:
            raise _without_gradient(self._graph, reason_of(error)) from None
        return {name: (values[name], slopes) for name, *slopes in zip(self._by, *gradients, strict=True)}

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
