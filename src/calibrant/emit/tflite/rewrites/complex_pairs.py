"""Complex numbers as pairs of real ones, for which LiteRT has operators.

What becomes a real number again is written out: its complex operations are applied to real and imaginary parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.emit.tflite.rewrites.written.splice import put_written
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef, dtypes

Pair = tuple[Any, Any]
"""Real and imaginary part; None for the second: all zero."""

LARGEST = 1 << 22
"""Elements of a matrix."""
MOVING = frozenset(
    {
        *("Identity", "Reshape", "Transpose", "Squeeze", "ExpandDims", "StridedSlice", "Slice", "Pad", "GatherV2"),
        *("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "ReverseV2", "Tile", "BroadcastTo", "Sum", "Mean", "Neg"),
        *("Add", "AddV2", "Sub", "ZerosLike"),
    }
)
"""Operations that do to both parts what they do to the number."""
PRODUCTS = frozenset({"Mul", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"})
TRANSFORMS = {"FFT": 1, "IFFT": 1, "RFFT": 1, "FFT2D": 2, "IFFT2D": 2}
"""Discrete Fourier transform → number of axes, the last ones."""
KNOWN_TO_LITERT = frozenset({"RFFT", "RFFT2D"})


def _size(real: Any, imaginary: Any) -> Any:
    tf = tensorflow()
    return tf.abs(real) if imaginary is None else tf.sqrt(real * real + imaginary * imaginary)


def _angle(real: Any, imaginary: Any) -> Any:
    tf = tensorflow()
    return tf.atan2(tf.zeros_like(real) if imaginary is None else imaginary, real)


ENDS: dict[str, Callable[[Any, Any], Any]] = {
    "Real": lambda real, _: real,
    "Imag": lambda real, imaginary: tensorflow().zeros_like(real) if imaginary is None else imaginary,
    "ComplexAbs": _size,
    "Angle": _angle,
}
"""Operation → what it makes of both parts."""


def complex_as_pairs(edit: Edit) -> None:
    """Write out what makes real numbers of complex ones that LiteRT does not compute itself."""
    graph = edit.graph
    for node in list(edit.nodes.values()):
        if node.op not in (*ENDS, "IRFFT") or node.name in graph.regions:
            continue
        end = nd.data_inputs(node)[0]
        inside = _complex_nodes(graph, end) if graph.dtype(end) == dtypes.complex64 else None
        if inside is None or ({each.op for each in inside.values()} <= KNOWN_TO_LITERT and node.op != "IRFFT"):
            continue
        read = _real_inputs(graph, inside)

        def written(*values: Any, node: NodeDef = node, end: str = end, read: Sequence[str] = read) -> Any:
            pair = _Pairs(graph, dict(zip(read, values, strict=True))).of(end)
            return _back(graph, node, pair) if node.op == "IRFFT" else ENDS[node.op](*pair)

        put_written(edit, node, read, written)


def _back(graph: Graph, node: NodeDef, pair: Pair) -> Any:
    """Real numbers of the frequencies of their last axis."""
    tf = tensorflow()
    frequencies, lengths = nd.data_inputs(node)
    shape, length = graph.shape(frequencies), graph.constant(lengths)
    if not shape or shape[-1] is None or length is None or shape[-1] * int(length[-1]) > LARGEST:
        return None
    units = np.eye(shape[-1])
    real, imaginary = (np.fft.irfft(each, int(length[-1])).astype(np.float32) for each in (units, 1j * units))
    return _sum(tf.tensordot(pair[0], real, 1), None if pair[1] is None else tf.tensordot(pair[1], imaginary, 1))


def _complex_nodes(graph: Graph, end: str) -> dict[str, NodeDef] | None:
    """The nodes that compute a tensor in complex numbers; None where not all have a rule."""
    found: dict[str, NodeDef] = {}
    waiting = [end]
    while waiting:
        tensor = waiting.pop()
        node = graph.producer(tensor)
        if graph.constant(tensor) is not None or node.name in found:
            continue
        if not _has_rule(graph, node):
            return None
        found[node.name] = node
        waiting += [each for each in nd.data_inputs(node) if graph.dtype(each) == dtypes.complex64]
    return found


def _has_rule(graph: Graph, node: NodeDef) -> bool:
    if node.op in TRANSFORMS:
        shape = graph.shape(nd.data_inputs(node)[0])
        sizes = shape[-TRANSFORMS[node.op] :] if shape else (None,)
        if node.op == "RFFT":
            length = graph.constant(nd.data_inputs(node)[1])
            sizes = (*sizes, None if length is None else int(length.reshape(-1)[-1]))
        return all(size is not None and size * size <= LARGEST for size in sizes)
    if node.op == "Cast":
        return not graph.dtype(nd.data_inputs(node)[0]).is_complex
    return node.op in MOVING | PRODUCTS | {"Complex", "Conj", "RealDiv", "Exp"}


def _real_inputs(graph: Graph, inside: Mapping[str, NodeDef]) -> list[str]:
    """What the nodes read that is not complex: numbers, sizes, axes."""
    read = [tensor for node in inside.values() for tensor in nd.data_inputs(node)]
    return list(dict.fromkeys(tensor for tensor in read if graph.dtype(tensor) != dtypes.complex64))


class _Pairs:
    """The pairs of all complex tensors of a part.

    Parameters
    ----------
    graph : Graph
        The part is in it.
    given : Mapping[str, Any]
        What it reads that is not complex.
    """

    def __init__(self, graph: Graph, given: Mapping[str, Any]):
        self._graph, self._given = graph, given
        self._made: dict[str, list[Pair]] = {}

    def of(self, tensor: str) -> Pair:
        """Real and imaginary part of a tensor."""
        value = self._graph.constant(tensor)
        if value is not None:
            imaginary = np.ascontiguousarray(value.imag)
            return np.ascontiguousarray(value.real), imaginary if imaginary.any() else None
        name, place = nd.split_tensor(tensor)
        if name not in self._made:
            self._made[name] = self._outputs(self._graph.nodes[name])
        return self._made[name][place]

    def _outputs(self, node: NodeDef) -> list[Pair]:
        tf, read = tensorflow(), nd.data_inputs(node)
        if node.op == "Cast":
            return [(tf.cast(self._given[read[0]], tf.float32), None)]
        if node.op == "Complex":
            is_real = self._graph.producer(read[1]).op == "ZerosLike"
            return [(self._given[read[0]], None if is_real else self._given[read[1]])]
        if node.op in TRANSFORMS:
            return [self._transformed(node)]
        if node.op in MOVING:
            return self._moved(node)
        pairs = [self.of(tensor) for tensor in read]
        if node.op == "Conj":
            return [(pairs[0][0], _negative(pairs[0][1]))]
        if node.op == "Exp":
            size, angle = tf.exp(pairs[0][0]), pairs[0][1]
            return [(size, None) if angle is None else (size * tf.cos(angle), size * tf.sin(angle))]
        if node.op == "RealDiv":
            return [_quotient(*pairs)]
        return [self._product(node, *pairs)]

    def _moved(self, node: NodeDef) -> list[Pair]:
        tf, read = tensorflow(), nd.data_inputs(node)
        pairs = {tensor: self.of(tensor) for tensor in read if self._graph.dtype(tensor) == dtypes.complex64}
        real = _applied(node, [pairs[tensor][0] if tensor in pairs else self._given[tensor] for tensor in read])
        if all(imaginary is None for _, imaginary in pairs.values()):
            return [(each, None) for each in real]
        filled = {
            tensor: tf.zeros_like(first) if second is None else second for tensor, (first, second) in pairs.items()
        }
        imaginary = _applied(node, [filled[tensor] if tensor in filled else self._given[tensor] for tensor in read])
        return list(zip(real, imaginary, strict=True))

    def _product(self, node: NodeDef, first: Pair, second: Pair) -> Pair:
        """Of conjugates where a matrix is turned as it is multiplied."""
        (a, b), (c, d) = first, second
        b = _negative(b) if nd.attribute(node, "adj_x") else b
        d = _negative(d) if nd.attribute(node, "adj_y") else d

        def times(x: Any, y: Any) -> Any:
            return None if x is None or y is None else _applied(node, [x, y])[0]

        return _sum(times(a, c), _negative(times(b, d))), _sum(times(a, d), times(b, c))

    def _transformed(self, node: NodeDef) -> Pair:
        tf, read = tensorflow(), nd.data_inputs(node)
        if node.op == "RFFT":
            length = int(self._graph.require_constant(read[1]).reshape(-1)[-1])
            size = (self._graph.shape(read[0]) or (0,))[-1] or 0
            matrix = np.fft.rfft(np.eye(size, dtype=np.float64), length)
            return _through((self._given[read[0]], None), matrix)
        transform = np.fft.ifft if node.op.startswith("I") else np.fft.fft
        shape = self._graph.shape(read[0]) or ()
        pair = _through(self.of(read[0]), transform(np.eye(shape[-1] or 0)))
        if TRANSFORMS[node.op] == 1:
            return pair
        order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]

        def turned(x: Any) -> Any:
            return tf.transpose(x, order)

        return _each(turned, _through(_each(turned, pair), transform(np.eye(shape[-2] or 0))))


def _applied(node: NodeDef, values: Sequence[Any]) -> list[Any]:
    """The results of an operation of a node on real numbers."""
    tf = tensorflow()
    copy = nd.copy_node(node, [])
    for key in ("T", "Tparams"):
        if copy.attr[key].type == dtypes.complex64:
            copy.attr[key].type = dtypes.float32.as_datatype_enum
    known = {key: value for key, value in copy.attr.items() if not key.startswith("_") and value.WhichOneof("value")}
    tensors = [tf.convert_to_tensor(value) for value in values]
    made = tf.compat.v1.get_default_graph().create_op(node.op, tensors, attrs=known)
    return list(made.outputs)


def _each(function: Callable[[Any], Any], pair: Pair) -> Pair:
    return function(pair[0]), None if pair[1] is None else function(pair[1])


def _negative(x: Any) -> Any:
    return None if x is None else -x


def _sum(x: Any, y: Any) -> Any:
    return y if x is None else x if y is None else x + y


def _quotient(first: Pair, second: Pair) -> Pair:
    (a, b), (c, d) = first, second
    if d is None:
        return a / c, None if b is None else b / c
    size = c * c + d * d
    zero = 0.0 * a if b is None else b
    return (a * c + zero * d) / size, (zero * c - a * d) / size


def _through(pair: Pair, matrix: np.ndarray) -> Pair:
    """The last axis times a complex matrix."""
    tf = tensorflow()
    cosines, sines = (np.ascontiguousarray(part, np.float32) for part in (matrix.real, matrix.imag))
    real, imaginary = pair

    def times(x: Any, part: np.ndarray) -> Any:
        return None if x is None else tf.tensordot(x, part, 1)

    return _sum(times(real, cosines), _negative(times(imaginary, sines))), _sum(
        times(real, sines), times(imaginary, cosines)
    )
