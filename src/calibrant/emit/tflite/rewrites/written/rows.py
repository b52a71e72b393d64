"""Operations along rows: running totals, segments, counts, parts that are chosen by numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from calibrant.emit.tflite.rewrites.written.splice import Written, sizes_of
from calibrant.graph import nodes as nd
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef

LOWEST = float(np.finfo(np.float32).min)


def _cumulative(combine: Callable[[Any, Any], Any], neutral: float, node: NodeDef, x: Any, axis: Any) -> Any:
    """Each entry with the one before, then those with the one two before, and so on in powers of two.

    What has none before it is left as it is: of a neutral number to combine it with, codes may have none.
    """
    tf = tensorflow()
    if not isinstance(axis, np.ndarray) or x.shape[int(axis)] is None:
        return None
    place, rank = int(axis) % x.shape.rank, x.shape.rank

    def part(values: Any, first: int, count: int) -> Any:
        begin, size = np.zeros(rank, np.int32), np.full(rank, -1, np.int32)
        begin[place], size[place] = first, count
        return tf.slice(values, begin, size)

    is_exclusive, reverse = nd.attribute(node, "exclusive") and x.shape[place] > 0, nd.attribute(node, "reverse")
    length, steps = x.shape[place] - is_exclusive, 1
    made = tf.reverse(x, [place]) if reverse else x
    made = part(made, 0, length) if is_exclusive else made
    while steps < length:
        rest = combine(part(made, steps, length - steps), part(made, 0, length - steps))
        made, steps = tf.concat([part(made, 0, steps), rest], place), 2 * steps
    if is_exclusive:
        made = tf.pad(made, [[int(at == place), 0] for at in range(rank)], constant_values=neutral)
    return tf.reverse(made, [place]) if reverse else made


def _log_of_sum(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y))"""
    tf = tensorflow()
    x, y = tf.maximum(x, LOWEST), tf.maximum(y, LOWEST)
    return tf.maximum(x, y) + tf.math.log(1.0 + tf.exp(-tf.abs(x - y)))


def _place_among(node: NodeDef, ordered: Any, values: Any) -> Any:
    """Of rows in order, how many numbers are below, or not above, each value."""
    tf = tensorflow()
    compare = tf.less if node.op == "LowerBound" else tf.less_equal
    below = compare(tf.expand_dims(ordered, 1), tf.expand_dims(values, 2))
    return tf.reduce_sum(tf.cast(below, nd.attribute(node, "out_type")), 2)


def _number_of_segments(segments: Any) -> Any:
    tf = tensorflow()
    return tf.maximum(tf.reduce_max(segments), -1) + 1


def _segment_sum(_: NodeDef, x: Any, segments: Any) -> Any:
    tf = tensorflow()
    return tf.math.unsorted_segment_sum(tf.convert_to_tensor(x), segments, _number_of_segments(segments))


def _segment_sum_with_gaps(node: NodeDef, x: Any, segments: Any) -> Any:
    """LiteRT's own stops at a number that no row has."""
    if isinstance(segments, np.ndarray) and len(np.unique(segments)) == segments.max(initial=-1) + 1:
        return None
    return _segment_sum(node, x, segments)


def _sizes_of_segments(segments: Any, rank: int) -> Any:
    """[segments, 1, 1 …]"""
    tf = tensorflow()
    ones = tf.ones_like(tf.reshape(segments, [-1, *[1] * (rank - 1)]), tf.float32)
    return tf.math.unsorted_segment_sum(ones, segments, _number_of_segments(segments))


def _segment_mean(node: NodeDef, x: Any, segments: Any) -> Any:
    tf = tensorflow()
    x = tf.convert_to_tensor(x)
    return _segment_sum(node, x, segments) / tf.maximum(_sizes_of_segments(segments, x.shape.rank), 1.0)


def _segment_extreme(name: str, _: NodeDef, x: Any, segments: Any) -> Any:
    """A segment that has no row is zero, which is the lowest number where segments are in no order."""
    tf = tensorflow()
    x = tf.convert_to_tensor(x)
    made = getattr(tf.math, name)(x, segments, _number_of_segments(segments))
    return tf.where(_sizes_of_segments(segments, x.shape.rank) > 0.0, made, tf.zeros_like(made))


def _sum_of_rows(node: NodeDef, x: Any, rows: Any, segments: Any) -> Any:
    """Sums of rows of a table, of which a number may come several times, or their means."""
    tf = tensorflow()
    read = tf.gather(x, rows)
    total = _segment_sum(node, read, segments)
    if node.op == "SparseSegmentSum":
        return total
    count = tf.maximum(_sizes_of_segments(segments, read.shape.rank), 1.0)
    return total / (count if node.op == "SparseSegmentMean" else tf.sqrt(count))


def _scattered_extreme(name: str, node: NodeDef, x: Any, places: Any, rows: Any) -> Any:
    """The largest or smallest of what is there and of all rows that go to the same place."""
    tf = tensorflow()
    x, places, rows = (tf.convert_to_tensor(each) for each in (x, places, rows))
    depth = places.shape[-1]
    if depth is None or None in x.shape:
        return None
    sizes, rest = tuple(x.shape[:depth]), tuple(x.shape[depth:])
    steps = np.array([int(np.prod(sizes[axis + 1 :])) for axis in range(depth)], places.dtype.as_numpy_dtype)
    flat = tf.reshape(tf.reduce_sum(places * steps, -1), [-1])
    made = getattr(tf.math, name)(tf.reshape(rows, [-1, *rest]), flat, int(np.prod(sizes)))
    combine = tf.maximum if node.op == "TensorScatterMax" else tf.minimum
    return combine(x, tf.reshape(made, x.shape))


def _parts(node: NodeDef, x: Any, partitions: Any) -> Any:
    tf = tensorflow()
    flat, rank = tf.reshape(partitions, [-1]), len(partitions.shape)
    rows = tf.reshape(x, [-1, *sizes_of(tf.convert_to_tensor(x))[rank:]])
    places = [tf.reshape(tf.where(tf.equal(flat, part)), [-1]) for part in range(nd.attribute(node, "num_partitions"))]
    return [tf.gather(rows, tf.cast(place, tf.int32)) for place in places]


def _stitched(_: NodeDef, *read: Any) -> Any:
    """At each number the last row that has it: parts are put together, and a later one wins."""
    tf = tensorflow()
    places, rows = read[: len(read) // 2], read[len(read) // 2 :]
    rest = sizes_of(tf.convert_to_tensor(rows[0]))[len(places[0].shape) :]
    flat = tf.concat([tf.reshape(each, [-1]) for each in places], 0)
    together = tf.concat([tf.reshape(each, [-1, *rest]) for each in rows], 0)
    is_there = tf.equal(tf.expand_dims(tf.range(tf.reduce_max(flat) + 1), 1), tf.expand_dims(flat, 0))
    last = tf.reduce_max(tf.where(is_there, tf.range(1, tf.size(flat) + 1), tf.zeros_like(flat)), 1)
    return tf.gather(together, tf.maximum(last - 1, 0))


def _counts(node: NodeDef, x: Any, size: Any, weights: Any) -> Any:
    """How often each number below the size is there, of a matrix in each row by itself."""
    tf = tensorflow()
    x, weights = tf.convert_to_tensor(x), tf.convert_to_tensor(weights)
    if node.op == "Bincount":
        x, weights = tf.reshape(x, [-1]), tf.reshape(weights, [-1])
    numbers = tf.range(tf.cast(size, x.dtype))
    is_there = tf.cast(tf.equal(tf.expand_dims(x, -1), numbers), weights.dtype)
    if node.op == "DenseBincount" and nd.attribute(node, "binary_output"):
        return tf.reduce_max(is_there, -2)
    weighted = is_there if 0 in weights.shape else is_there * tf.expand_dims(weights, -1)
    return tf.reduce_sum(weighted, -2)


def _histogram(node: NodeDef, x: Any, ends: Any, count: Any) -> Any:
    tf = tensorflow()
    if not isinstance(count, np.ndarray) or not isinstance(ends, np.ndarray):
        return None
    above = tf.reshape(x, [-1, 1]) - ends[0]
    places = tf.reduce_sum(tf.cast(above >= _least_of_bins(ends, int(count)), tf.int32), 1)
    is_there = tf.equal(tf.expand_dims(places, -1), tf.range(int(count)))
    return tf.reduce_sum(tf.cast(is_there, nd.attribute(node, "dtype")), 0)


def _least_of_bins(ends: np.ndarray, count: int) -> np.ndarray:
    """Above the first end, the least float32 of each bin but the first, whose places TensorFlow finds in float64."""
    step = np.float64(ends[1] - ends[0]) / count
    numbers = np.arange(1, count)
    least = (numbers * step).astype(np.float32)
    smaller = np.nextafter(least, np.float32(-np.inf))
    least = np.where((smaller / step).astype(np.int64) >= numbers, smaller, least)
    larger = np.nextafter(least, np.float32(np.inf))
    return np.where((least / step).astype(np.int64) < numbers, larger, least)


def _is_among_largest(_: NodeDef, x: Any, targets: Any, count: Any) -> Any:
    tf = tensorflow()
    is_target = tf.equal(tf.expand_dims(targets, 1), tf.range(x.shape[1], dtype=targets.dtype))
    target = tf.reduce_sum(tf.where(is_target, x, tf.zeros_like(x)), 1, keepdims=True)
    above = tf.reduce_sum(tf.cast(x > target, tf.int32), 1)
    are_numbers = tf.reduce_all(tf.equal(x - x, 0.0), 1)
    return (above < tf.cast(count, tf.int32)) & tf.reduce_any(is_target, 1) & are_numbers


ROWS: dict[str, Written] = {
    "Bincount": _counts,
    "CumulativeLogsumexp": partial(_cumulative, _log_of_sum, LOWEST),
    "Cumprod": partial(_cumulative, operator.mul, 1.0),
    "DenseBincount": _counts,
    "DynamicPartition": _parts,
    "DynamicStitch": _stitched,
    "HistogramFixedWidth": _histogram,
    "InTopKV2": _is_among_largest,
    "LowerBound": _place_among,
    "ParallelDynamicStitch": _stitched,
    "SegmentMax": partial(_segment_extreme, "unsorted_segment_max"),
    "SegmentMean": _segment_mean,
    "SegmentMin": partial(_segment_extreme, "unsorted_segment_min"),
    "SegmentSum": _segment_sum_with_gaps,
    "SparseSegmentMean": _sum_of_rows,
    "SparseSegmentSqrtN": _sum_of_rows,
    "SparseSegmentSum": _sum_of_rows,
    "TensorScatterMax": partial(_scattered_extreme, "unsorted_segment_max"),
    "TensorScatterMin": partial(_scattered_extreme, "unsorted_segment_min"),
    "UpperBound": _place_among,
}
