"""Feeding batches to a graph and fetching tensors from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow


class Runner:
    """A graph made ready to run again and again with the same feeds and fetches.

    Constant folding is off: it would push the multiplication of a quantizer into the weights of a convolution in
    front of it,
    and the fake-quantized numbers would no longer be exactly those of the arithmetic.

    Parameters
    ----------
    graph : the model; fed at ``graph.inputs``.
    fetches : tensors to return, in this order; the model's outputs by default.
    threads : threads within and between operations; TensorFlow's choice by default.
    """

    def __init__(self, graph: Graph, fetches: Sequence[str] | None = None, threads: int = 0):
        tf = tensorflow()
        self.graph = graph
        self.fetches = tuple(fetches if fetches is not None else graph.outputs)
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        options = config.graph_options.rewrite_options
        options.constant_folding = options.OFF
        with tf.Graph().as_default() as imported:
            tf.graph_util.import_graph_def(graph.graph_def(), name="")
            self._session = tf.compat.v1.Session(graph=imported, config=config)
            self._call = self._session.make_callable(list(self.fetches), feed_list=list(graph.inputs))
        self._error = tf.errors.OpError

    def __call__(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch, given by input key or tensor name; the fetched arrays may be views of TensorFlow's memory.

        Raises
        ------
        ModelError : TensorFlow could not run the batch; with its reason and the node.
        """
        feeds = [batch[key] for key in self.graph.input_keys]
        try:
            return self._call(*feeds)
        except (self._error, ValueError) as error:
            operation = getattr(error, "op", None)
            raise ModelError(
                Problem(
                    f"running the graph failed: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
                    file=self.graph.source,
                    path=operation.name if operation is not None else None,
                    hint="check that the data have the shape that the model expects",
                )
            ) from None

    def close(self) -> None:
        """Free the session."""
        self._session.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def run_once(graph: Graph, batch: Mapping[str, np.ndarray], fetches: Sequence[str] | None = None) -> list[np.ndarray]:
    """Fetch tensors for a single batch."""
    with Runner(graph, fetches) as runner:
        return [np.array(value) for value in runner(batch)]


def input_shapes(graph: Graph) -> dict[str, tuple[tuple[int | None, ...] | None, np.dtype]]:
    """Shape and NumPy dtype of each input, by input key."""
    return {
        key: (graph.shape(tensor), np.dtype(graph.dtype(tensor).as_numpy_dtype))
        for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)
    }


def readable(tensor: str) -> str:
    """A tensor's name as people write it: without ``:0``."""
    return nd.input_reference(tensor)
