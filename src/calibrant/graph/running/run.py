"""Feeding batches to a graph and fetching tensors from it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.functions.enclosed_reads import enclosed_read, with_watchers
from calibrant.graph.graph import Graph
from calibrant.graph.running.fitting_samples import fitting_samples
from calibrant.graph.running.session import close_session, open_session
from calibrant.graph.tensorflow import tensorflow, without_callbacks

_IN_CALLERS_THREAD = -1  # as a number of threads between operations
OPTIMIZERS = ("function", "arithmetic")
"""What TensorFlow rewrites, once. Its fusions ("remap") gain little and compute other numbers at times: of convolutions
and a bias or norm of the other data format, of instance norms. The others, and a second round, gain nothing measurable.
"""

_NOT_HERE = ("only supports", "not supported on CPU", "No OpKernel")
_NO_KERNEL = (
    "this TensorFlow has no such operation for this processor; more of them, also channels first, are there with "
    "TF_ENABLE_ONEDNN_OPTS=1 in the environment"
)
_NOWHERE = (
    "this TensorFlow has no such operation for this processor, also with TF_ENABLE_ONEDNN_OPTS=1; where it has "
    "channels first, export the model with channels last"
)
_BY_ZERO = "nteger division by zero"
_NOT_ZERO = "the model divides integers by a number that is 0, a constant or one that comes of these data"
_NOT_IN = re.compile(r"\] = -?\d+ is not in \[")
_OUT_OF_RANGE = "the data hold a number that the model has no row for, as a word that is not in its vocabulary"
_NOT_OF_THE_DATA = "type resource"
CHECK_SHAPES = "check that the data have the shape that the model expects"
OTHER_NUMBERS = "a model whose nodes hold a number of samples should say so in the shapes of its inputs"
"""What to do about a graph that does not take batches of other sizes than those that it was given."""


class Runner:
    """A graph made ready to run again and again with the same feeds and fetches.

    Constant folding is left out: it would push the multiplication of a quantizer into the weights of the
    convolution upstream, and the fake-quantized numbers would no longer be exactly those of the arithmetic.

    A watched tensor is handed over as soon as it is there, before the operations downstream of it, and freed right
    after. So looking at all tensors of a model takes little more memory than running it. Several threads may call: one
    computes what another looks at.

    Parameters
    ----------
    graph : Graph
        The model; fed at ``graph.inputs``.
    fetches : Sequence[str] | None
        Tensors to return, in this order; the model's outputs by default.
    threads : int
        That operations are divided among, and that run them; TensorFlow's choice by default.
    watched : Mapping[str, Callable[[np.ndarray], None]] | None
        Tensor → function that is called with its values, on the caller's thread, once per batch. The array is only
        valid during the call. What it raises is raised again when the batch is done, the first in this order. The key
        of an :class:`calibrant.graph.functions.enclosed_reads.EnclosedRead` → function that is called on any thread
        each time that the reader runs, and that must not raise.
    optimized : bool
        Let TensorFlow rewrite the graph first, which takes longer than a few batches of a network of many small layers.
    hint : str
        What to do about a batch that the graph does not take.
    """

    @without_callbacks()
    def __init__(
        self,
        graph: Graph,
        fetches: Sequence[str] | None = None,
        threads: int = 0,
        watched: Mapping[str, Callable[[np.ndarray], None]] | None = None,
        optimized: bool = True,
        hint: str = CHECK_SHAPES,
    ):
        tf = tensorflow()
        self.graph = graph
        self.fetches = tuple(fetches if fetches is not None else graph.outputs)
        self._watched, self._hint = tuple(watched or ()), hint
        self._failures = threading.local()  # of the batch that this thread runs, by tensor
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads,
            inter_op_parallelism_threads=_IN_CALLERS_THREAD if watched else threads,
        )
        options = config.graph_options.rewrite_options
        options.disable_meta_optimizer = not optimized
        options.optimizers.extend(OPTIMIZERS)
        options.meta_optimizer_iterations = options.ONE
        enclosed = {key: function for key, function in (watched or {}).items() if enclosed_read(key) is not None}
        watching, self._kept = with_watchers(graph, enclosed)
        self._session = open_session(watching, config)
        with self._session.graph.as_default():
            watchers = [
                tf.numpy_function(
                    self._kept_failure(tensor, function), [self._session.graph.get_tensor_by_name(tensor)], []
                )
                for tensor, function in (watched or {}).items()
                if tensor not in enclosed
            ]
        fetched = fetchable(self._session, self.fetches)
        self._call = self._session.make_callable([*fetched, *watchers], feed_list=list(graph.inputs))
        self._error = tf.errors.OpError

    def __call__(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch, given by input key or tensor name; the fetched arrays may be views of TensorFlow's memory.

        Raises
        ------
        ModelError
            TensorFlow could not run the batch; with its reason and the node.
        """
        feeds = [batch[key] for key in self.graph.input_keys]
        failures: dict[str, Exception] = {}
        self._failures.by_tensor = failures
        try:
            fetched = self._call(*feeds)[: len(self.fetches)]
        except (self._error, ValueError) as error:
            raise failed_run(self.graph, error, self._advice(batch, error)) from None
        for tensor in self._watched:
            if tensor in failures:
                raise failures[tensor]
        return fetched

    def _advice(self, batch: Mapping[str, np.ndarray], error: Exception) -> str:
        """The hint, with the number of samples that the graph takes where that is the matter."""
        if self._hint != CHECK_SHAPES:
            return self._hint
        number = fitting_samples(self.graph, batch, reason_of(error), partial(Runner, self.graph, hint=""))
        if number is None:
            is_open = any((self.graph.shape(tensor) or (None,))[0] is None for tensor in self.graph.inputs)
            return f"{CHECK_SHAPES}{', and as many samples a run, --batch-size (batch_size=)' if is_open else ''}"
        taken = "one sample" if number == 1 else f"{number} samples"
        return f"the graph takes {taken} a run: --batch-size {number} (batch_size={number})"

    def _kept_failure(self, tensor: str, function: Callable[[np.ndarray], None]) -> Callable[[np.ndarray], None]:
        def watch(values: np.ndarray) -> None:
            try:
                function(values)
            except Exception as error:  # TensorFlow would turn it into one of its own, without its attributes
                self._failures.by_tensor[tensor] = error

        return watch

    def close(self) -> None:
        """Free the session."""
        close_session(self._session)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def run_once(graph: Graph, batch: Mapping[str, np.ndarray], fetches: Sequence[str] | None = None) -> list[np.ndarray]:
    """Fetch tensors for a single batch."""
    with Runner(graph, fetches) as runner:
        return [np.array(value) for value in runner(batch)]


def fetchable(session: Any, tensors: Sequence[str]) -> list[Any]:
    """Tensors of a session's graph, to be fetched: TensorFlow fuses Sigmoid and a product even where it is fetched."""
    tf = tensorflow()
    found = [session.graph.get_tensor_by_name(name) for name in tensors]
    with session.graph.as_default():
        return [tf.identity(tensor) if tensor.consumers() else tensor for tensor in found]


def failed_run(graph: Graph, error: Exception, hint: str) -> ModelError:
    """The error of a graph that TensorFlow could not run.

    Parameters
    ----------
    graph : Graph
        The graph.
    error : Exception
        What TensorFlow raised.
    hint : str
        What to do about a batch that the graph does not take.
    """
    operation, reason = getattr(error, "op", None), reason_of(error)
    unimplemented = isinstance(error, tensorflow().errors.UnimplementedError)
    missing = unimplemented or any(text in reason for text in _NOT_HERE)
    advice: str | None = hint
    if _BY_ZERO in reason:
        advice = _NOT_ZERO
    elif _NOT_IN.search(reason):
        advice = _OUT_OF_RANGE
    elif missing:
        advice = _NOWHERE if _has_all_kernels() else _NO_KERNEL
    elif _NOT_OF_THE_DATA in reason:
        advice = None
    return ModelError(
        Problem(
            f"running the graph failed: {reason}",
            file=graph.source,
            path=operation.name if operation is not None else None,
            hint=advice,
        )
    )


def _has_all_kernels() -> bool:
    """Whether TensorFlow already has the operations of oneDNN, as far as it tells."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"


def reason_of(error: BaseException) -> str:
    """What TensorFlow says went wrong, in one line and without what it writes around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() not in ("", "Graph execution error:")]
    framed = [place for place, line in enumerate(lines) if line.startswith("Node: ")]
    if framed and framed[0] + 1 < len(lines):
        return lines[framed[0] + 1]
    return lines[0] if lines else type(error).__name__


def input_shapes(graph: Graph) -> dict[str, tuple[tuple[int | None, ...] | None, np.dtype]]:
    """Shape and NumPy dtype of each input, by input key."""
    return {
        key: (graph.shape(tensor), np.dtype(graph.dtype(tensor).as_numpy_dtype))
        for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)
    }


def readable(tensor: str) -> str:
    """A tensor's name as people write it: without ``:0``."""
    return nd.input_reference(tensor)
