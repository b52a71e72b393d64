"""Running TensorFlow's converter on a float graph."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator

from calibrant.errors import ModelError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow

LONGEST_REASON = 400


def convert(graph: Graph) -> bytes:
    """The float LiteRT file as the converter writes it.

    Raises
    ------
    ModelError : the converter does not take the graph; with its reason.
    """
    tf = tensorflow()
    graph_def = graph.graph_def()
    with _silence():
        function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
        pruned = function.prune(
            [function.graph.as_graph_element(tensor) for tensor in graph.inputs],
            [function.graph.as_graph_element(tensor) for tensor in graph.outputs],
        )
        converter = tf.lite.TFLiteConverter.from_concrete_functions([pruned], None)
        converter.allow_custom_ops = True
        try:
            return converter.convert()
        except Exception as error:  # the converter's own error derives from Exception alone
            if not isinstance(error, (ValueError, RuntimeError, TypeError, tf.errors.OpError)) and (
                type(error).__name__ != "ConverterError"
            ):
                raise
            reason = f"TensorFlow's converter does not make a LiteRT file of it: {_reason(error)}"
            raise ModelError(Problem(reason, file=graph.source)) from None


def _reason(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} …"


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The converter tells stdout, stderr, warnings and a log what nobody asked for."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
