"""Gradients of a graph's outputs by tensors inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph.control_flow import control_flow_regions
from calibrant.graph.graph import Graph
from calibrant.graph.run import reason_of
from calibrant.graph.session import close_session, open_session
from calibrant.graph.tensorflow import tensorflow


class OutputGradients:
    """A graph made ready to tell the gradients of weighted sums of its outputs, several sums in one run.

    Parameters
    ----------
    graph : Graph
        The model, fed at ``graph.inputs``.
    tensors : Sequence[str]
        What the gradients are by.
    outputs : Sequence[str]
        Tensors that are summed up; those that do not hold real numbers count as constant.
    sums : int
        Number of weighted sums.

    Raises
    ------
    ModelError
        The graph has loops, branches, functions or an operation whose gradient TensorFlow does not know.
    """

    def __init__(self, graph: Graph, tensors: Sequence[str], outputs: Sequence[str], sums: int):
        _refuse_functions(graph)
        tf = tensorflow()
        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._graph = graph
        self._failures = (tf.errors.OpError, ValueError)
        self._session = open_session(graph, config)
        imported = self._session.graph
        by, ends = ([imported.get_tensor_by_name(name) for name in names] for names in (tensors, outputs))
        with imported.as_default():
            weights = [[tf.compat.v1.placeholder(end.dtype) for end in ends] for _ in range(sums)]
            real = [place for place, end in enumerate(ends) if end.dtype.is_floating]
            try:
                found = [
                    tf.gradients([ends[place] for place in real], by, [each[place] for place in real])
                    for each in weights
                ]
            except Exception as error:  # each operation has a Python function of its own that makes its gradient
                self.close()
                raise _without_gradient(graph, str(error)) from None
        self._by = tuple(name for name, gradient in zip(tensors, found[0], strict=True) if gradient is not None)
        gradients = [gradient for row in found for gradient in row if gradient is not None]
        fed = [*graph.inputs, *(placeholder for each in weights for placeholder in each)]
        self._run = self._session.make_callable(
            [*map(imported.get_tensor_by_name, self._by), *gradients], feed_list=fed
        )
        self._outputs = self._session.make_callable(ends, feed_list=list(graph.inputs))

    def outputs(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for a batch, by input key.

        Raises
        ------
        ModelError
            TensorFlow cannot run the graph in this way.
        """
        try:
            return [np.array(array) for array in self._outputs(*(batch[key] for key in self._graph.input_keys))]
        except self._failures as error:
            raise _without_gradient(self._graph, reason_of(error)) from None

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
            found = self._run(*feeds, *(array for each in weights for array in each))
        except self._failures as error:
            raise _without_gradient(self._graph, reason_of(error)) from None
        many = len(self._by)
        return {name: (found[place], found[many + place :: many]) for place, name in enumerate(self._by)}

    def close(self) -> None:
        """Free the session."""
        close_session(self._session)


def _refuse_functions(graph: Graph) -> None:
    """TensorFlow knows loops, branches and calls by more than the graph, which is all that was read."""
    if control_flow_regions(graph.nodes):
        raise _without_gradient(graph, "it has loops or branches")
    for node in graph.nodes.values():
        if any(value.HasField("func") or value.list.func for value in node.attr.values()):
            raise _without_gradient(graph, f"{node.name!r} ({node.op}) calls a function")


def _without_gradient(graph: Graph, reason: str) -> ModelError:
    return ModelError(Problem(f"the outputs have no gradients: {reason}", file=graph.source))
