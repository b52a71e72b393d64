"""Rows of the simulation that call one function of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from calibrant.emit.tflite.file_parts import Operator
from calibrant.graph.tensorflow import tensorflow

Row = Callable[[Any, Operator], Any]
"""What an operator makes of the tensors of a simulation."""


def activated(o: Operator, value: Any) -> Any:
    """The activation that is fused into an operator."""
    tf = tensorflow()
    kind = getattr(o.options, "fusedActivationFunction", 0)
    functions = {1: tf.nn.relu, 2: lambda x: tf.clip_by_value(x, -1.0, 1.0), 3: tf.nn.relu6, 4: tf.tanh}
    return functions[kind](value) if kind in functions else value


def unary(function: str) -> Row:
    """A function of the first input."""
    return lambda s, o: _function(function)(s.real(o.read(0)))


def binary(function: str) -> Row:
    """A function of two inputs, and what is fused into the operator."""
    return lambda s, o: activated(o, _function(function)(s.real(o.read(0)), s.real(o.read(1))))


def of_all(function: str) -> Row:
    """A function of all inputs in their order."""
    return lambda s, o: _function(function)(*(s.real(tensor) for tensor in o.inputs))


def of_list(function: str, **options: str) -> Row:
    """A function of a list of all inputs, its keywords named as the operator's options are."""

    def row(s: Any, o: Operator) -> Any:
        given = {keyword: getattr(o.options, option) for keyword, option in options.items()}
        return _function(function)([s.real(tensor) for tensor in o.inputs], **given)

    return row


def reduction(function: str) -> Row:
    """A function over axes."""
    return lambda s, o: _function(function)(s.real(o.read(0)), s.real(o.read(1)), keepdims=bool(o.options.keepDims))


def raw(operation: str, *inputs: str, **constants: Any) -> Row:
    """An operation by the names of its inputs, in the operator's order."""

    def row(s: Any, o: Operator) -> Any:
        read = (s.real(tensor) for tensor in o.inputs)
        return getattr(tensorflow().raw_ops, operation)(**dict(zip(inputs, read, strict=True)), **constants)

    return row


def _function(path: str) -> Any:
    found: Any = tensorflow()
    for part in path.split("."):
        found = getattr(found, part)
    return found
