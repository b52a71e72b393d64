"""Operations that LiteRT lacks, written out as TensorFlow code of others that it has.

A function gets an operation's node and its inputs: arrays where they are constant, tensors otherwise. What it computes
takes the node's place in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.tensorflow import eagerly, tensorflow
from calibrant.graph.tf_core import NodeDef, dtypes

LARGEST = 1 << 24
"""Elements of a matrix that is sparse in the model."""

Written = Callable[..., Any]


def write_out(edit: Edit, node: NodeDef) -> None:
    """Put what a function of WRITTEN_OUT makes in the place of a node of float32, of which the first output is read."""
    graph = edit.graph
    others = [f"{node.name}:{place}" for place in (1, 2)]
    is_read = any(tensor in graph.outputs or graph.consumers(tensor) for tensor in others)
    if nd.attribute(node, "T") == dtypes.float32 and not is_read:
        put_written(edit, node, nd.data_inputs(node), partial(WRITTEN_OUT[node.op], node))


def put_written(edit: Edit, node: NodeDef, read: Sequence[str], function: Written) -> None:
    """Put what a function computes in the place of a node that is in no loop.

    Parameters
    ----------
    edit : Edit
        The graph.
    node : NodeDef
        It has one output.
    read : Sequence[str]
        Tensors.
    function : Written
        Gets their values where they are constant, and tensors of known rank otherwise; makes a tensor, or None where
        it cannot.
    """
    graph, tf = edit.graph, tensorflow()
    if node.name in graph.regions or any(graph.shape(tensor) is None for tensor in read):
        return  # in a loop, constants of its own would belong to no turn
    with tf.Graph().as_default() as written:
        values = [graph.constant(tensor) for tensor in read]
        given = [
            tf.compat.v1.placeholder(graph.dtype(tensor), graph.shape(tensor), name=f"read{place}")
            if values[place] is None
            else values[place]
            for place, tensor in enumerate(read)
        ]
        made = function(*given)
        if made is None:
            return
        result = tf.identity(made, name="made").op.name
    inner = {f"read{place}": tensor for place, tensor in enumerate(read)}
    for each in written.as_graph_def().node:
        if each.name in inner:
            continue
        copy = nd.copy_node(each, [_outer(reference, node, inner) for reference in each.input])
        copy.name = node.name if each.name == result else f"{node.name}/{each.name}"
        if each.name == result:
            copy.input.extend(f"^{name}" for name in nd.control_inputs(node))
        edit.put(copy)


def _outer(reference: str, node: NodeDef, inner: dict[str, str]) -> str:
    """What a node of the function reads, by its name in the graph."""
    control = "^" if reference.startswith("^") else ""
    name, index = nd.split_tensor(reference.removeprefix("^"))
    if name in inner:
        return inner[name]
    return f"{control}{node.name}/{name}" + (f":{index}" if index and not control else "")


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
    return tf.sign(x) * tf.math.log(size + tf.sqrt(size * size + 1.0))


def _acosh(_: NodeDef, x: Any) -> Any:
    tf = tensorflow()
    return tf.math.log(x + tf.sqrt((x - 1.0) * (x + 1.0)))


def _atanh(_: NodeDef, x: Any) -> Any:
    return 0.5 * tensorflow().math.log((1.0 + x) / (1.0 - x))


def _truncated_rest(_: NodeDef, x: Any, y: Any) -> Any:
    tf = tensorflow()
    return x - y * (tf.sign(x / y) * tf.floor(tf.abs(x / y)))


def _nearly_equal(node: NodeDef, x: Any, y: Any) -> Any:
    tf = tensorflow()
    return tf.abs(x - y) < nd.attribute(node, "tolerance")


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


def _cumulative_product(node: NodeDef, x: Any, axis: Any) -> Any:
    """Each entry times the one before, then those times the one two before, and so on in powers of two."""
    tf = tensorflow()
    if not isinstance(axis, np.ndarray) or x.shape[int(axis)] is None:
        return None
    place, length = int(axis) % x.shape.rank, x.shape[int(axis)]

    def moved(values: Any, steps: int) -> Any:
        before = [[0, 0]] * place + [[steps, 0]] + [[0, 0]] * (x.shape.rank - place - 1)
        kept = tf.gather(values, np.arange(length - steps), axis=place)
        return tf.pad(kept, before, constant_values=1.0)

    reverse = nd.attribute(node, "reverse")
    made = tf.reverse(x, [place]) if reverse else x
    made, steps = moved(made, 1) if nd.attribute(node, "exclusive") else made, 1
    while steps < length:
        made, steps = made * moved(made, steps), 2 * steps
    return tf.reverse(made, [place]) if reverse else made


def _place_among(node: NodeDef, ordered: Any, values: Any) -> Any:
    """Of rows in order, how many numbers are below, or not above, each value."""
    tf = tensorflow()
    compare = tf.less if node.op == "LowerBound" else tf.less_equal
    below = compare(tf.expand_dims(ordered, 1), tf.expand_dims(values, 2))
    return tf.reduce_sum(tf.cast(below, nd.attribute(node, "out_type")), 2)


def _segment_mean(_: NodeDef, x: Any, segments: Any) -> Any:
    tf = tensorflow()
    counts = tf.math.segment_sum(tf.ones_like(x), segments)
    return tf.math.segment_sum(x, segments) / tf.maximum(counts, 1.0)


def _largest_of_windows(node: NodeDef, x: Any) -> Any:
    sizes = {key: nd.attribute(node, key) for key in ("ksize", "strides")}
    return tensorflow().raw_ops.MaxPool(input=x, padding=node.attr["padding"].s.decode(), **sizes)


def _contrast(_: NodeDef, images: Any, factor: Any) -> Any:
    tf = tensorflow()
    mean = tf.reduce_mean(images, [-3, -2], keepdims=True)
    return (images - mean) * factor + mean


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


def _resized(node: NodeDef, images: Any, sizes: Any, *others: Any) -> Any:
    """A matrix for the rows and one for the columns: what resizing makes of images with a single point."""
    tf = tensorflow()
    _, *lengths, channels = images.shape
    if not isinstance(sizes, np.ndarray) or not all(isinstance(each, np.ndarray) for each in others):
        return None
    if None in (*lengths, channels):
        return None
    rows, columns = (_resizing_matrix(node, axis, lengths[axis], sizes, others) for axis in (0, 1))
    by_rows = tf.reshape(tf.transpose(images, [0, 2, 3, 1]), [-1, lengths[0]]) @ rows
    turned = tf.transpose(tf.reshape(by_rows, [-1, lengths[1], channels, len(rows[0])]), [0, 3, 2, 1])
    by_columns = tf.reshape(turned, [-1, lengths[1]]) @ columns
    return tf.transpose(tf.reshape(by_columns, [-1, len(rows[0]), channels, len(columns[0])]), [0, 1, 3, 2])


def _resizing_matrix(
    node: NodeDef, axis: int, length: int, sizes: np.ndarray, others: Sequence[np.ndarray]
) -> np.ndarray:
    """What becomes of each place on an axis, float32 [length, new length]; the other axis has one place."""
    tf = tensorflow()
    points = np.eye(length, dtype=np.float32)[:, None]  # place, other axis, channel
    images = np.expand_dims(points if axis == 0 else points.transpose(1, 0, 2), 0)
    size = np.array([sizes[0], 1] if axis == 0 else [1, sizes[1]], np.int32)
    with eagerly():
        if node.op == "ScaleAndTranslate":
            neutral = np.array([1, 0], np.float32)
            scale, shift = (
                np.array([each[0], still] if axis == 0 else [still, each[1]], np.float32)
                for each, still in zip(others, neutral, strict=True)
            )
            kinds = {"kernel_type": node.attr["kernel_type"].s.decode(), "antialias": nd.attribute(node, "antialias")}
            made = tf.raw_ops.ScaleAndTranslate(images=images, size=size, scale=scale, translation=shift, **kinds)
        else:
            kinds = {
                key: nd.attribute(node, key) for key in ("align_corners", "half_pixel_centers") if key in node.attr
            }
            made = getattr(tf.raw_ops, node.op)(images=images, size=size, **kinds)
    found: np.ndarray = made.numpy().reshape(-1, length).T
    return found


WRITTEN_OUT: dict[str, Written] = {
    "Acos": _acos,
    "Acosh": _acosh,
    "AdjustContrastv2": _contrast,
    "ApproximateEqual": _nearly_equal,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Cross": _cross,
    "Cumprod": _cumulative_product,
    "EuclideanNorm": _length,
    "LowerBound": _place_among,
    "MatrixDiagPartV3": _diagonal,
    "MaxPoolWithArgmax": _largest_of_windows,
    "ResizeArea": _resized,
    "ResizeBicubic": _resized,
    "ScaleAndTranslate": _resized,
    "SegmentMean": _segment_mean,
    "Sinh": _sinh,
    "SparseTensorDenseMatMul": _sparse_times_dense,
    "Tan": _tan,
    "TruncateMod": _truncated_rest,
    "UpperBound": _place_among,
}
