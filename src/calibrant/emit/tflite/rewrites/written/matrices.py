"""Operations on vectors and on matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from calibrant.emit.tflite.rewrites.written.splice import Written
from calibrant.graph import nodes as nd
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef

LARGEST = 1 << 24
"""Elements of a matrix that is sparse in the model."""

MOST_ROWS = 8
"""Of a matrix that is solved: each pair of rows is some operations."""


def _cross(_: NodeDef, x: Any, y: Any) -> Any:
    tf = tensorflow()

    def turned(vectors: Any, order: Sequence[int]) -> Any:
        return tf.gather(vectors, order, axis=-1)

    return turned(x, [1, 2, 0]) * turned(y, [2, 0, 1]) - turned(x, [2, 0, 1]) * turned(y, [1, 2, 0])


def _length(node: NodeDef, x: Any, axes: Any) -> Any:
    tf = tensorflow()
    return tf.sqrt(tf.reduce_sum(x * x, axes, keepdims=bool(nd.attribute(node, "keep_dims"))))


def _diagonal(_: NodeDef, x: Any, place: Any, __: Any) -> Any:
    """Of matrices side by side, every entry that is one behind a whole row."""
    tf = tensorflow()
    *others, rows, columns = x.shape
    if not isinstance(place, np.ndarray) or place.any() or None in (rows, columns) or others.count(None) > 1:
        return None
    entries = tf.reshape(x, [-1, rows * columns])[:, :: columns + 1]
    count = min(rows, columns)
    return tf.reshape(entries[:, :count], [-1 if size is None else size for size in (*others, count)])


def _sparse_times_dense(node: NodeDef, places: Any, values: Any, shape: Any, dense: Any) -> Any:
    """A constant sparse matrix, as the neighbours in a graph are, with its zeros."""
    tf = tensorflow()
    if not all(isinstance(each, np.ndarray) for each in (places, values, shape)) or shape.prod() > LARGEST:
        return None
    matrix = np.zeros(shape, values.dtype)
    np.add.at(matrix, tuple(places.T), values)
    turned = {
        "transpose_a": bool(nd.attribute(node, "adjoint_a")),
        "transpose_b": bool(nd.attribute(node, "adjoint_b")),
    }
    return tf.matmul(matrix, dense, **turned)


def _rows(matrix: Any) -> list[Any] | None:
    """The rows of square matrices, each [matrices, columns], if there are few."""
    tf = tensorflow()
    size, columns = matrix.shape[-2:]
    if size is None or columns is None or size > MOST_ROWS:
        return None
    return tf.unstack(tf.reshape(matrix, [-1, size, columns]), axis=1)


def _eliminated(rows: list[Any], whole: bool) -> tuple[list[Any], list[Any], Any]:
    """Gauss's elimination; each pivot is the largest of its column.

    Returns
    -------
    tuple[list[Any], list[Any], Any]
        Rows, of which the first columns are those of the unit matrix (``whole``) or zero below the diagonal, the pivots
        and the sign of the order, each [matrices, 1].
    """
    tf = tensorflow()
    pivots, sign = [], tf.ones_like(rows[0][:, :1])
    for step in range(len(rows)):
        for other in range(step + 1, len(rows)):
            upper, lower = rows[step], rows[other]
            is_larger = tf.abs(lower[:, step : step + 1]) > tf.abs(upper[:, step : step + 1])
            rows[step], rows[other] = tf.where(is_larger, lower, upper), tf.where(is_larger, upper, lower)
            sign = tf.where(is_larger, -sign, sign)
        pivot = rows[step][:, step : step + 1]
        pivots.append(pivot)
        unit = rows[step] / tf.where(tf.equal(pivot, 0.0), tf.ones_like(pivot), pivot)
        for other in range(0 if whole else step + 1, len(rows)):
            if other != step:
                rows[other] = rows[other] - rows[other][:, step : step + 1] * unit
        if whole:
            rows[step] = unit
    return rows, pivots, sign


def _shaped(values: Any, like: Any, last: Sequence[int]) -> Any:
    """Values of matrices side by side, as the matrices lie in their tensor."""
    others = [-1 if size is None else size for size in like.shape[:-2]]
    return None if others.count(-1) > 1 else tensorflow().reshape(values, [*others, *last])


def _solution(node: NodeDef, matrix: Any, right: Any = None) -> Any:
    tf = tensorflow()
    if node.op == "MatrixTriangularSolve":
        size = matrix.shape[-1]
        if size is None:
            return None
        matrix = matrix * (np.tril if nd.attribute(node, "lower") else np.triu)(np.ones((size, size), np.float32))
    matrix = tf.linalg.matrix_transpose(matrix) if nd.attribute(node, "adjoint") else tf.convert_to_tensor(matrix)
    size = matrix.shape[-1]
    if right is None and size is not None:
        right = tf.zeros_like(matrix) + np.eye(size, dtype=np.float32)
    if right is None or list(matrix.shape[:-2]) != list(right.shape[:-2]):
        return None
    rows = None if None in list(right.shape[-2:]) else _rows(tf.concat([matrix, right], -1))
    if rows is None:
        return None
    solved, _, _ = _eliminated(rows, True)
    return _shaped(tf.stack([row[:, size:] for row in solved], 1), matrix, right.shape[-2:])


def _determinant(_: NodeDef, matrix: Any) -> Any:
    rows = _rows(matrix)
    if rows is None:
        return None
    _, pivots, sign = _eliminated(rows, False)
    for pivot in pivots:
        sign = sign * pivot
    return _shaped(sign, matrix, [])


def _log_determinant(_: NodeDef, matrix: Any) -> Any:
    tf = tensorflow()
    rows = _rows(matrix)
    if rows is None:
        return None
    _, pivots, sign = _eliminated(rows, False)
    signs = [sign, *(tf.sign(pivot) for pivot in pivots)]
    made = [
        _shaped(tf.reduce_prod(tf.concat(signs, 1), 1), matrix, []),
        _shaped(tf.reduce_sum(tf.math.log(tf.abs(tf.concat(pivots, 1))), 1), matrix, []),
    ]
    return None if made[0] is None else made


def _square_root(_: NodeDef, matrix: Any) -> Any:
    """Cholesky's lower triangle, one column after the other."""
    tf = tensorflow()
    rows = _rows(matrix)
    if rows is None:
        return None
    size = len(rows)
    rest = tf.stack(rows, 1)
    columns = []
    for step in range(size):
        column = rest[:, :, step] / tf.sqrt(rest[:, step : step + 1, step])
        column = column * np.array([place >= step for place in range(size)], np.float32)
        rest = rest - tf.expand_dims(column, 2) * tf.expand_dims(column, 1)
        columns.append(column)
    return _shaped(tf.stack(columns, 2), matrix, [size, size])


MATRICES: dict[str, Written] = {
    "Cholesky": _square_root,
    "Cross": _cross,
    "EuclideanNorm": _length,
    "LogMatrixDeterminant": _log_determinant,
    "MatrixDeterminant": _determinant,
    "MatrixDiagPartV3": _diagonal,
    "MatrixInverse": _solution,
    "MatrixSolve": _solution,
    "MatrixTriangularSolve": _solution,
    "SparseTensorDenseMatMul": _sparse_times_dense,
}
