"""Functions of single numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from calibrant.emit.tflite.rewrites.written.splice import Written
from calibrant.graph import nodes as nd
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef

LANCZOS = (
    *(0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059),
    *(12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7),
)
"""Of the logarithm of Gamma, for g = 7 and nine terms (Lanczos, 1964; coefficients by P. Godfrey)."""

BERNOULLI = (-1 / 12, 1 / 120, -1 / 252, 1 / 240)
"""Of 1 / x², 1 / x⁴ … in the asymptotic expansion of the derivative of log Gamma (Abramowitz and Stegun, 6.3.18)."""

LARGE_NUMBER = 1e9
"""A number beside whose square 1 is nothing."""

ERFINV_NEAR = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503),
    *(-0.00417768164, 0.246640727, 1.50140941),
)
ERFINV_FAR = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613),
    *(0.00943887047, 1.00167406, 2.83297682),
)
"""Polynomials of M. Giles, Approximating the erfinv function (2010), single precision."""


def _atan(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return tf.atan2(x, tf.ones_like(x))


def _asin(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return tf.atan2(x, tf.sqrt((1.0 - x) * (1.0 + x)))


def _acos(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return tf.atan2(tf.sqrt((1.0 - x) * (1.0 + x)), x)


def _tan(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return tf.sin(x) / tf.cos(x)


def _sinh(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return 0.5 * (tf.exp(x) - tf.exp(-x))


def _cosh(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return 0.5 * (tf.exp(x) + tf.exp(-x))


def _asinh(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    size = tf.abs(x)
    return tf.sign(x) * tf.where(
        size > LARGE_NUMBER, _log_of_twice(size), tf.math.log(size + tf.sqrt(size * size + 1.0))
    )


def _acosh(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return tf.where(x > LARGE_NUMBER, _log_of_twice(x), tf.math.log(x + tf.sqrt((x - 1.0) * (x + 1.0))))


def _log_of_twice(x: Any) -> Any:
    return tensorflow().math.log(x) + math.log(2)


def _atanh(_: NodeDef, x: Any) -> Any:
    return 0.5 * tensorflow().math.log((1.0 + x) / (1.0 - x))


def _truncated_rest(_: NodeDef, x: Any, y: Any) -> Any:
    tf = tensorflow()
    return x - y * (tf.sign(x / y) * tf.floor(tf.abs(x / y)))


def _nearly_equal(node: NodeDef, x: Any, y: Any) -> Any:
    tf = tensorflow()
    return tf.abs(x - y) < nd.attribute(node, "tolerance")


def _truncated_quotient(_: NodeDef, x: Any, y: Any) -> Any:
    tf = tensorflow()
    return tf.sign(x) * tf.sign(y) * (tf.abs(x) // tf.abs(y))


def _polynomial(x: Any, factors: Sequence[float]) -> Any:
    total = factors[0]
    for factor in factors[1:]:
        total = total * x + factor
    return total


def _of_normal(x: Any, rest: Any) -> Any:
    """What the error function makes x of; ``rest``: 1 - x²."""
    tf = tensorflow()
    size = tf.minimum(-tf.math.log(rest), 200.0)
    near = _polynomial(tf.minimum(size, 5.0) - 2.5, ERFINV_NEAR)
    far = _polynomial(tf.sqrt(tf.maximum(size, 5.0)) - 3.0, ERFINV_FAR)
    return tf.where(tf.equal(rest, 0.0), x * math.inf, x * tf.where(size < 5.0, near, far))


def _inverse_error_function(_: NodeDef, x: Any) -> Any:
    return _of_normal(x, (1.0 - x) * (1.0 + x))


def _normal_quantile(_: NodeDef, x: Any) -> Any:
    return math.sqrt(2) * _of_normal(2.0 * x - 1.0, 4.0 * x * (1.0 - x))


def _log_gamma(_: NodeDef, x: Any) -> Any:
    """Below a half by Gamma(x) Gamma(1 - x) = π / sin(πx)."""
    tf = tensorflow()
    is_low = x < 0.5
    z = tf.where(is_low, 1.0 - x, x) - 1.0
    total = LANCZOS[0] + sum(factor / (z + float(place)) for place, factor in enumerate(LANCZOS[1:], 1))
    t = z + 7.5
    value = 0.5 * math.log(2 * math.pi) + (z + 0.5) * tf.math.log(t) - t + tf.math.log(total)
    angle = math.pi * (x - tf.round(x))
    return tf.where(is_low, math.log(math.pi) - tf.math.log(tf.abs(tf.sin(angle))) - value, value)


def _slope_of_log_gamma(_: NodeDef, x: Any) -> Any:
    """Below a half by ψ(1 - x) - ψ(x) = π / tan(πx); small numbers are raised by ψ(x) = ψ(x + 1) - 1 / x."""
    tf = tensorflow()
    is_low = x < 0.5
    z = tf.where(is_low, 1.0 - x, x)
    raised = -sum(1.0 / (z + float(step)) for step in range(6))
    z = z + 6.0
    square = 1.0 / (z * z)
    value = raised + tf.math.log(z) - 0.5 / z + square * _polynomial(square, BERNOULLI[::-1])
    angle = math.pi * (x - tf.round(x))
    return tf.where(is_low, value - math.pi * tf.cos(angle) / tf.sin(angle), value)


NUMBERS: dict[str, Written] = {
    "Acos": _acos,
    "Acosh": _acosh,
    "ApproximateEqual": _nearly_equal,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Digamma": _slope_of_log_gamma,
    "Erfinv": _inverse_error_function,
    "Lgamma": _log_gamma,
    "Ndtri": _normal_quantile,
    "Sinh": _sinh,
    "Tan": _tan,
    "TruncateDiv": _truncated_quotient,
    "TruncateMod": _truncated_rest,
}
