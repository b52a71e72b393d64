"""Operations on images: sizes, colours, windows, pieces that are cut out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from calibrant.emit.tflite.rewrites.written.splice import Written, sizes_of
from calibrant.emit.tflite.rewrites.written.windows import windows_of
from calibrant.graph import nodes as nd
from calibrant.graph.tensorflow import eagerly, tensorflow
from calibrant.graph.tf_core import NodeDef

LOWEST = float(np.finfo(np.float32).min) / 2
"""Below what a window holds, also where something is added."""


def largest_of_windows(is_place_read: bool, node: NodeDef, x: Any) -> Any:
    """The largest of each window and, where that is read, its place in the image of all rows, columns and channels."""
    tf = tensorflow()
    sizes = {key: nd.attribute(node, key) for key in ("ksize", "strides")}
    largest = tf.raw_ops.MaxPool(input=x, padding=nd.attribute(node, "padding"), **sizes)
    if not is_place_read:
        return largest
    windows = windows_of(x, sizes["ksize"], sizes["strides"], [1] * 4, nd.attribute(node, "padding") == "SAME")
    if windows is None:
        return None
    _, rows, columns, channels = x.shape
    kind = nd.attribute(node, "Targmax")
    numbers = np.arange(rows * columns * channels).reshape(1, rows, columns, channels)
    best, place = None, None
    for values, number in zip(windows.of(x, LOWEST), windows.of_constant(numbers), strict=True):
        here = tf.zeros_like(values, kind) + number.astype(kind.as_numpy_dtype)
        if best is None:
            best, place = values, here
        else:
            is_larger = values > best
            best, place = tf.where(is_larger, values, best), tf.where(is_larger, here, place)
    if nd.attribute(node, "include_batch_in_index"):
        batch = tf.cast(tf.range(tf.shape(x)[0]), kind)
        place += tf.reshape(batch, [-1, 1, 1, 1]) * int(rows * columns * channels)
    return [largest, place]


def _dilated(node: NodeDef, x: Any, added: Any) -> Any:
    """The largest of each window, to which a number has been added for each place of it."""
    tf = tensorflow()
    sizes = [1, *added.shape[:2], 1]
    steps, rates = nd.attribute(node, "strides"), nd.attribute(node, "rates")
    windows = None if None in sizes else windows_of(x, sizes, steps, rates, nd.attribute(node, "padding") == "SAME")
    if windows is None:
        return None
    largest = None
    for place, values in enumerate(windows.of(x, LOWEST)):
        raised = values + added[place // sizes[2], place % sizes[2]]
        largest = raised if largest is None else tf.maximum(largest, raised)
    return largest


def _contrast(_: NodeDef, images: Any, factor: Any) -> Any:
    tf = tensorflow()
    mean = tf.reduce_mean(images, [-3, -2], keepdims=True)
    return (images - mean) * factor + mean


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
            kinds = {"kernel_type": nd.attribute(node, "kernel_type"), "antialias": nd.attribute(node, "antialias")}
            made = tf.raw_ops.ScaleAndTranslate(images=images, size=size, scale=scale, translation=shift, **kinds)
        else:
            kinds = {
                key: nd.attribute(node, key) for key in ("align_corners", "half_pixel_centers") if key in node.attr
            }
            made = getattr(tf.raw_ops, node.op)(images=images, size=size, **kinds)
    found: np.ndarray = made.numpy().reshape(-1, length).T
    return found


def _in_hsv(_: NodeDef, images: Any) -> Any:
    tf = tensorflow()
    red, green, blue = tf.unstack(images, num=3, axis=-1)
    value = tf.reduce_max(images, -1)
    spread = value - tf.reduce_min(images, -1)
    zero = tf.zeros_like(value)
    by_spread = tf.where(spread > 0.0, 1.0 / (6.0 * tf.where(spread > 0.0, spread, zero + 1.0)), zero)
    by_blue = tf.where(tf.equal(green, value), (blue - red) * by_spread + 1 / 3, (red - green) * by_spread + 2 / 3)
    hue = tf.where(tf.equal(red, value), (green - blue) * by_spread, by_blue)
    hue = tf.where(spread > 0.0, tf.where(hue < 0.0, hue + 1.0, hue), zero)
    saturation = tf.where(value > 0.0, spread / tf.where(value > 0.0, value, zero + 1.0), zero)
    return tf.stack([hue, saturation, value], -1)


def _shares(hue: Any) -> list[Any]:
    """Of red, green and blue, how far each is from the smallest of the three to the largest, 0 … 1."""
    tf = tensorflow()
    sixth = 6.0 * hue
    found = [tf.abs(sixth - 3.0) - 1.0, 2.0 - tf.abs(sixth - 2.0), 2.0 - tf.abs(sixth - 4.0)]
    return [tf.clip_by_value(share, 0.0, 1.0) for share in found]


def _in_rgb(_: NodeDef, images: Any) -> Any:
    tf = tensorflow()
    hue, saturation, value = tf.unstack(images, num=3, axis=-1)
    return tf.stack([((1.0 - saturation) + saturation * share) * value for share in _shares(hue)], -1)


def _other_hue(node: NodeDef, images: Any, delta: Any) -> Any:
    """The smallest and the largest of the three colours stay, whatever their sign."""
    tf = tensorflow()
    turned = _in_hsv(node, images)[..., 0] + delta
    smallest = tf.reduce_min(images, -1)
    spread = tf.reduce_max(images, -1) - smallest
    return tf.stack([smallest + spread * share for share in _shares(turned - tf.floor(turned))], -1)


def _other_saturation(node: NodeDef, images: Any, factor: Any) -> Any:
    tf = tensorflow()
    hue, saturation, value = tf.unstack(_in_hsv(node, images), num=3, axis=-1)
    return _in_rgb(node, tf.stack([hue, tf.clip_by_value(saturation * factor, 0.0, 1.0), value], -1))


def _points(images: Any, image: Any, row: Any, column: Any) -> Any:
    """What images have at whole rows and columns in float: the nearest that they have, beyond their edges."""
    tf = tensorflow()
    _, rows, columns, channels = sizes_of(images)
    places = [
        tf.cast(tf.clip_by_value(place, 0.0, tf.cast(count - 1, tf.float32)), tf.int32)
        for place, count in ((row, rows), (column, columns))
    ]
    return tf.gather(tf.reshape(images, [-1, channels]), (image * rows + places[0]) * columns + places[1])


def _between(images: Any, image: Any, row: Any, column: Any) -> Any:
    """Bilinear, of rows and columns in float."""
    tf = tensorflow()
    top, left = tf.floor(row), tf.floor(column)
    down, right = tf.expand_dims(row - top, -1), tf.expand_dims(column - left, -1)

    def along(line: Any) -> Any:
        first = _points(images, image, line, left)
        return first + (_points(images, image, line, left + 1.0) - first) * right

    upper = along(top)
    return upper + (along(top + 1.0) - upper) * down


def _cut_out(node: NodeDef, images: Any, boxes: Any, owners: Any, sizes: Any) -> Any:
    """Boxes of images at one size; a point outside of its image has one value."""
    tf = tensorflow()
    if not isinstance(sizes, np.ndarray):
        return None
    lengths = [tf.cast(size, tf.float32) - 1.0 for size in sizes_of(images)[1:3]]
    starts = tf.unstack(tf.convert_to_tensor(boxes), num=4, axis=1)
    places, are_inside = [], []
    for axis, (count, length) in enumerate(zip(sizes, lengths, strict=True)):
        first, last = starts[axis], starts[axis + 2]
        if count > 1:
            step = (last - first) * length / float(count - 1)
            place = tf.expand_dims(first * length, 1) + np.arange(count, dtype=np.float32) * tf.expand_dims(step, 1)
        else:
            place = tf.expand_dims(0.5 * (first + last) * length, 1)
        places.append(place)
        are_inside.append(tf.logical_and(place >= 0.0, place <= length))
    row, column = places
    grid = tf.zeros_like(tf.expand_dims(row, 2) + tf.expand_dims(column, 1))
    row, column = tf.expand_dims(row, 2) + grid, tf.expand_dims(column, 1) + grid
    image = tf.reshape(tf.cast(owners, tf.int32), [-1, 1, 1])
    if nd.attribute(node, "method") == "nearest":
        found = _points(images, image, tf.floor(row + 0.5), tf.floor(column + 0.5))
    else:
        found = _between(images, image, row, column)
    is_inside = tf.logical_and(tf.expand_dims(are_inside[0], 2), tf.expand_dims(are_inside[1], 1))
    outside = float(nd.attribute(node, "extrapolation_value"))
    return tf.where(tf.expand_dims(is_inside, 3), found, tf.zeros_like(found) + outside)


IMAGES: dict[str, Written] = {
    "AdjustContrastv2": _contrast,
    "AdjustHue": _other_hue,
    "AdjustSaturation": _other_saturation,
    "CropAndResize": _cut_out,
    "Dilation2D": _dilated,
    "HSVToRGB": _in_rgb,
    "RGBToHSV": _in_hsv,
    "ResizeArea": _resized,
    "ResizeBicubic": _resized,
    "ScaleAndTranslate": _resized,
}
