"""Running TensorFlow's converter on a float graph."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from calibrant.emit.large_model import is_too_large
from calibrant.errors import ModelError, OutputError, Problem, shortened
from calibrant.graph.functions.unique_functions import with_unique_functions
from calibrant.graph.graph import Graph
from calibrant.graph.skeleton import large_constants
from calibrant.graph.tensorflow import tensorflow
from calibrant.process_wide import alone

LARGE_WEIGHT_BYTES = 50_000_000
LONGEST_REASON = 200
MOST_NODES = 3
UNROLLED = "write out the loop over the sequence, unroll=True in Keras; or export another format"
OTHERWISE = "replace that part of the model, or export another format"
ERROR = re.compile(r"error: (?:loc\((?P<place>[^\n]*?\"\]?)\): )?(?:'tfl?\.\w+' op )?(?P<reason>[^\n]+)")
LOCATED = re.compile(r'"(?P<name>\w+):".*"(?P<node>[^"]+)"')
OPERATOR = re.compile(r"'tfl?\.(?P<name>\w+)'")


def refuse_too_large(graph: Graph) -> None:
    """Raise an error where the converter cannot take the constants of a graph.

    Raises
    ------
    OutputError
        It has more than 2 GB of them.
    """
    if is_too_large(graph):
        found = (
            f"has {large_constants(graph):,} bytes of constants in float; TensorFlow's converter takes less than 2 GB"
        )
        hint = "leave out this export; the other files are written without it"
        raise OutputError(Problem(found, file=graph.source, hint=hint))


def convert(graph: Graph) -> bytes:
    """The float LiteRT file as the converter writes it.

    Raises
    ------
    ModelError
        The converter does not take the graph; with its reason.
    """
    try:
        return _convert(graph)
    finally:
        _forget_functions(graph)


def _forget_functions(graph: Graph) -> None:
    """Free functions of TensorFlow at once, which hold all weights, some three times, and themselves."""
    if large_constants(graph) > LARGE_WEIGHT_BYTES:
        gc.collect()


def _convert(graph: Graph) -> bytes:
    tf = tensorflow()
    with _silence():
        try:
            function = _function(graph)
            _forget_functions(graph)  # that of which it is a part
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function], None)
            converter.allow_custom_ops = True
            return converter.convert()
        except Exception as error:  # the converter's own error derives from Exception alone
            if "KeyboardInterrupt" in str(error):  # so pybind11 tells of one that a function of Python ended with
                raise KeyboardInterrupt from error
            if not isinstance(error, (ValueError, RuntimeError, TypeError, tf.errors.OpError)) and (
                type(error).__name__ != "ConverterError"
            ):
                raise
            raise ModelError(converter_problem(str(error), graph)) from None


def _function(graph: Graph) -> Any:
    tf = tensorflow()
    ends: list[Any] = []

    def imported() -> None:
        graph_def = with_unique_functions(graph.graph_def())
        found = tf.graph_util.import_graph_def(graph_def, return_elements=list(graph.outputs), name="")
        # As the converter rewrites loops, it looks for their Exit nodes in vain.
        ends.extend(tf.identity(end) if end.op.type == "Exit" else end for end in found)

    function = tf.compat.v1.wrap_function(imported, [])
    return function.prune([function.graph.as_graph_element(tensor) for tensor in graph.inputs], ends)


def converter_problem(text: str, graph: Graph) -> Problem:
    """What the converter said, in one line: which operator, where in the model, and why.

    Parameters
    ----------
    text : str
        Its error with a stack of source lines around it.
    graph : Graph
        What it was to convert; nodes are looked up by the operator that the text names.
    """
    said = ERROR.search(text)
    reason = (said["reason"] if said else text.strip().splitlines()[0] if text.strip() else "no reason given").strip()
    located = LOCATED.search((said and said["place"]) or "")
    named = located or OPERATOR.search(text)
    operator = named["name"] if named else None
    if located and located["node"] in graph.nodes:
        nodes = [located["node"]]
    else:
        nodes = [name for name, node in graph.nodes.items() if node.op == operator]
    place = ", ".join(nodes[:MOST_NODES]) + (" …" if len(nodes) > MOST_NODES else "")
    if operator is not None:
        reason = f"{operator}: {reason}"
    return Problem(
        f"TensorFlow's converter does not make a LiteRT file of it ({shortened(reason, LONGEST_REASON)})",
        file=graph.source,
        path=place or None,
        hint=UNROLLED if "TensorList" in reason else OTHERWISE,
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The converter tells warnings and a log what nobody asked for.

    It calls absl's functions, and the first call gives the log of a program that has not set one up a handler for good:
    its own ``logging.basicConfig`` does nothing then. The methods of absl's logger do not.
    """
    absl_log: Any = import_module("absl.logging")
    logger, function = logging.getLogger("absl"), absl_log.log

    def log(level: int, message: str, *values: Any, **options: Any) -> None:
        logger.log(absl_log.converter.absl_to_standard(level), message, *values, **options)

    with alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.ERROR)
        absl_log.log = log
        try:
            yield
        finally:
            absl_log.log = function
            logger.setLevel(level)
