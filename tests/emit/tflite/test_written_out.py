"""Operations that LiteRT lacks, as others: the same numbers, and a file that runs."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.emit.tflite.rewrites.complex_pairs import complex_as_pairs
from calibrant.emit.tflite.rewrites.complex_parts import complex_parts_as_products
from calibrant.emit.tflite.rewrites.replacements import replace_what_does_not_convert
from calibrant.emit.tflite.rewrites.written.table import WRITTEN_OUT
from calibrant.graph.inference.constant_folding import fold_constants
from calibrant.graph.known_sizes import with_known_sizes
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf, v1
from tflite_networks import exported, image, steps_apart

ALL = WRITTEN_OUT.keys() | {"MaxPoolWithArgmax"}


def neighbours(shape):
    return tf.sparse.SparseTensor([[0, 1], [2, 0], [2, 2]], [1.0, -2.0, 0.5], shape)


def diagonal(y, rows):
    return tf.linalg.diag_part(tf.reshape(y, [-1, rows, 32 // rows]))


def matrices(y, rows=4):
    """Square ones, the first row of each too small to be the first pivot."""
    found = tf.reshape(y, [-1, 64 * 4 // rows**2, rows, rows])[:, :3]
    return found * tf.constant([[0.01], *[[1.0]] * (rows - 1)])


def positive(y):
    return tf.matmul(matrices(y), matrices(y), transpose_b=True) + tf.eye(4)


def whole(y, count):
    return tf.cast(tf.abs(7 * y), tf.int32) % count


def parts(y):
    return tf.dynamic_partition(y, whole(y[..., 0], 3), 3)


def stitched(y):
    places = tf.dynamic_partition(tf.range(tf.size(y) // 4), tf.reshape(whole(y[..., 0], 3), [-1]), 3)
    return tf.dynamic_stitch(places, [number * part for number, part in enumerate(parts(y), 1)])


def scattered(kind):
    def build(y):
        table, rows = tf.reshape(y[:1, :3, :, 0], [3, 8]), tf.reshape(y[:1], [-1])[:64]
        places = tf.stack([whole(rows, 3), whole(rows[::-1], 8)], 1)
        return kind(table, places, rows)

    return build


def boxes(**options):
    def build(y):
        corners = tf.reshape(y[:1, :5, 0], [5, 4]) / 2 + [0.2, 0.2, 0.8, 0.8]
        return tf.image.crop_and_resize(y, corners, tf.constant([0, 2, 1, 0, 2]), **options)

    return build


def counted(y, **options):
    return tf.cast(tf.math.bincount(whole(y, 30), minlength=30, maxlength=30, **options), tf.float32)


def largest(y, window, stride, padding, **options):
    return [tf.cast(each, tf.float32) for each in tf.nn.max_pool_with_argmax(y, window, stride, padding, **options)]


def triangular(y, width=4, **options):
    return tf.linalg.triangular_solve(matrices(y) + 3 * tf.eye(4), matrices(y)[..., :width], **options)


def a_sample(y):
    return tf.transpose(y[:, 0, :, 0])


def colours(y):
    return tf.sigmoid(y[..., :3])


def resized(method, size, **options):
    return lambda y: tf.image.resize(y, size, method, **options)


WRITTEN = {
    "Acos": lambda y: tf.acos(tf.tanh(y)),
    "Acosh": lambda y: tf.acosh(1.0 + tf.abs(y)),
    "AdjustContrastv2": lambda y: tf.image.adjust_contrast(y, 1.7),
    "AdjustHue": lambda y: tf.image.adjust_hue(colours(y), 0.3),
    "AdjustSaturation": lambda y: tf.image.adjust_saturation(colours(y), 1.4),
    "ApproximateEqual": lambda y: tf.cast(tf.raw_ops.ApproximateEqual(x=y, y=0 * y, tolerance=0.5), tf.float32),
    "Asin": lambda y: tf.asin(tf.tanh(y)),
    "Asinh": lambda y: tf.asinh(3 * y),
    "Atan": tf.atan,
    "Atanh": lambda y: tf.atanh(0.99 * tf.tanh(y)),
    "Bincount": lambda y: tf.raw_ops.Bincount(arr=whole(y, 9), size=7, weights=tf.zeros([0])),
    "Cholesky": lambda y: tf.linalg.cholesky(positive(y)),
    "Cosh": tf.cosh,
    "CropAndResize": boxes(crop_size=[3, 5], extrapolation_value=0.5),
    "CropAndResize nearest": boxes(crop_size=[4, 1], method="nearest"),
    "Cross": lambda y: tf.linalg.cross(y[..., :3], y[..., 1:]),
    "Cumprod": lambda y: tf.math.cumprod(y, 2),
    "Cumprod exclusive": lambda y: tf.math.cumprod(y, -1, exclusive=True),
    "Cumprod reverse": lambda y: tf.math.cumprod(y, 1, exclusive=True, reverse=True),
    "CumulativeLogsumexp": lambda y: tf.math.cumulative_logsumexp(8 * y, 1),
    "CumulativeLogsumexp reverse": lambda y: tf.math.cumulative_logsumexp(y, -1, reverse=True),
    "DenseBincount": counted,
    "DenseBincount binary": lambda y: counted(y[:, 0, 0], axis=-1, binary_output=True),
    "DenseBincount rows": lambda y: counted(y[:, 0, 0], axis=-1, weights=y[:, 0, 0]),
    "Digamma": lambda y: tf.math.digamma(tf.abs(y) + 0.1),
    "Digamma below": lambda y: tf.math.digamma(-2.5 + 0.3 * tf.tanh(y)),
    "Dilation2D": lambda y: tf.nn.dilation2d(y, numbers(2, 3, 4), [1, 2, 1, 1], "SAME", "NHWC", [1, 1, 2, 1]),
    "DynamicPartition": lambda y: tf.concat([2 * part for part in parts(y)], 0),
    "DynamicStitch": stitched,
    "Erfinv": lambda y: tf.math.erfinv(0.999 * tf.tanh(2 * y)),
    "EuclideanNorm": lambda y: tf.math.reduce_euclidean_norm(y, [1, 3]),
    "HSVToRGB": lambda y: tf.image.hsv_to_rgb(colours(2 * y)),
    "HistogramFixedWidth": lambda y: tf.cast(tf.histogram_fixed_width(y, [-1.0, 1.0], 7), tf.float32),
    "InTopKV2": lambda y: tf.cast(tf.math.in_top_k(whole(y[:, 0, 0, 0], 8), y[:, 0, :, 0], 3), tf.float32),
    "Lgamma": lambda y: tf.math.lgamma(tf.abs(9 * y) + 0.1),
    "Lgamma below": lambda y: tf.math.lgamma(-2.5 + 0.3 * tf.tanh(y)),
    "LogMatrixDeterminant": lambda y: tf.multiply(*tf.linalg.slogdet(matrices(y))),
    "LowerBound": lambda y: tf.searchsorted([-1.0, 0.0, 0.25, 1.0], tf.reshape(y, [-1])),
    "MatrixDeterminant": lambda y: tf.linalg.det(matrices(y)),
    "MatrixDeterminant singular": lambda y: tf.linalg.det(matrices(y) * [1.0, 0.0, 1.0, 1.0]),
    "MatrixDiagPartV3": lambda y: diagonal(y, 4),
    "MatrixDiagPartV3 wide": lambda y: diagonal(y, 2),
    "MatrixInverse": lambda y: 0.01 * tf.linalg.inv(matrices(y)),
    "MatrixInverse turned": lambda y: tf.linalg.inv(positive(y), adjoint=True),
    "MatrixSolve": lambda y: tf.linalg.solve(positive(y), matrices(y)[..., :2]),
    "MatrixTriangularSolve": lambda y: triangular(y, 2),
    "MatrixTriangularSolve upper": lambda y: triangular(y, lower=False, adjoint=True),
    "MaxPoolWithArgmax": lambda y: largest(y, 3, 2, "SAME")[0],
    "MaxPoolWithArgmax both": lambda y: tf.multiply(*largest(y, 2, 2, "VALID")),
    "MaxPoolWithArgmax places": lambda y: largest(y, 3, 2, "SAME", include_batch_in_index=True)[1],
    "Ndtri": lambda y: tf.math.ndtri(0.5 + 0.49 * tf.tanh(y)),
    "ParallelDynamicStitch": lambda y: tf.raw_ops.ParallelDynamicStitch(
        indices=[[0, 3], [1, 2]], data=[y[0, :2], y[0, 2:4]]
    ),
    "RGBToHSV": lambda y: tf.image.rgb_to_hsv(colours(y)),
    "ResizeArea": resized("area", [3, 12]),
    "ResizeBicubic": resized("bicubic", [12, 5]),
    "ResizeBicubic corners": lambda y: v1.image.resize_bicubic(y, [12, 3], align_corners=True),
    "ResizeBicubic old": lambda y: v1.image.resize_bicubic(y, [12, 3]),
    "ScaleAndTranslate": resized("lanczos3", [12, 4], antialias=True),
    "SegmentMax": lambda y: tf.math.segment_max(a_sample(y), [0, 0, 0, 1, 1, 3, 3, 3]),
    "SegmentMean": lambda y: tf.math.segment_mean(a_sample(y), [0, 0, 0, 1, 1, 2, 2, 2]),
    "SegmentMin": lambda y: tf.math.segment_min(a_sample(y), [0, 0, 0, 1, 1, 3, 3, 3]),
    "SegmentSum": lambda y: tf.math.segment_sum(a_sample(y), [0, 0, 0, 1, 1, 3, 3, 3]),
    "Sinh": tf.sinh,
    "SparseSegmentMean": lambda y: tf.sparse.segment_mean(a_sample(y), [0, 3, 3, 7], [0, 0, 0, 1]),
    "SparseSegmentSqrtN": lambda y: tf.sparse.segment_sqrt_n(a_sample(y), [0, 3, 3, 7], [0, 0, 0, 1]),
    "SparseSegmentSum": lambda y: tf.sparse.segment_sum(a_sample(y), [0, 3, 3, 7], [0, 0, 2, 2]),
    "SparseTensorDenseMatMul": lambda y: tf.sparse.sparse_dense_matmul(neighbours([3, 8]), a_sample(y)),
    "SparseTensorDenseMatMul turned": lambda y: tf.sparse.sparse_dense_matmul(
        neighbours([8, 3]), y[:, 0, :, 0], adjoint_a=True, adjoint_b=True
    ),
    "Tan": tf.tan,
    "TensorScatterMax": scattered(tf.tensor_scatter_nd_max),
    "TensorScatterMin": scattered(tf.tensor_scatter_nd_min),
    "TruncateDiv": lambda y: tf.truncatediv(9 * y, 0.7),
    "TruncateMod": lambda y: tf.truncatemod(3 * y, 0.7),
    "UpperBound": lambda y: tf.searchsorted([-1.0, 0.0, 0.25, 1.0], tf.reshape(y, [-1]), side="right"),
}
COMPLEX = {
    **{f"dct {kind}": lambda y, kind=kind: tf.signal.dct(y[..., 0], kind, norm=None) for kind in (1, 2, 3)},
    "dct 4": lambda y: tf.signal.dct(y[..., 0], 4, norm="ortho"),
    "idct": lambda y: tf.signal.idct(y[..., 0]),
    "mfcc": lambda y: tf.signal.mfccs_from_log_mel_spectrograms(y[..., 0])[..., :5],
    "there and back": lambda y: tf.signal.irfft(tf.signal.rfft(y[..., 0])),
    "low frequencies": lambda y: tf.math.imag(tf.signal.fft(tf.cast(y[..., 0], tf.complex64))[..., :3]),
    "length of six": lambda y: tf.abs(tf.signal.rfft(y[..., 0], [6])),
    "angle": lambda y: tf.math.angle(tf.signal.rfft(y[..., 0] + 3)),
    "fnet": lambda y: tf.math.real(tf.signal.fft2d(tf.cast(y[..., 0], tf.complex64))),
    "two axes": lambda y: tf.abs(tf.signal.fft2d(tf.complex(y[..., 0], tf.zeros_like(y[..., 0])))),
    "beside zeros": lambda y: tf.abs(tf.signal.fft(tf.complex(y, tf.zeros_like(y)))),
    "two axes, imaginary": lambda y: tf.math.imag(tf.signal.fft2d(tf.cast(y[..., 0], tf.complex64))),
}


def loaded(build, batch=None):
    network = graph_def(lambda: tf.identity(build(placeholder([batch, 8, 8, 4])), name="out"))
    return fold_constants(with_known_sizes(load(network, outputs=["out"])))


@pytest.mark.parametrize("name", WRITTEN)
def test_the_numbers_are_the_same(name):
    graph = loaded(WRITTEN[name])
    edit = graph.edit()
    replace_what_does_not_convert(edit, False)
    written = edit.finish()
    assert name.split()[0] in {node.op for node in graph.nodes.values()}
    assert not ALL & {node.op for node in written.nodes.values()}
    x = numbers(3, 8, 8, 4, seed=5)
    [found], [wanted] = (run_once(each, {"x": x}) for each in (written, graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=3e-5)


ENDS_OF_ROWS = np.array([[0, 1, 2, 3, 4, 5, 6, 7]], np.float32)
CORNERS = {
    "hue of negative numbers": (lambda x: tf.image.adjust_hue(tf.reshape(x[:, :6], [-1, 2, 3]) - 4, 0.3), ENDS_OF_ROWS),
    "targets that are no class": (
        lambda x: tf.cast(
            tf.math.in_top_k(tf.cast(x[0, :3] * 5 - 1, tf.int32), -x[:, :4] * [[1], [2], [3]], 2), tf.float32
        ),
        ENDS_OF_ROWS,
    ),
    "rows that are not finite": (
        lambda x: tf.cast(tf.math.in_top_k([0, 1, 2], tf.math.log(x[:, :4] - 1 + [[0], [1], [3]]), 3), tf.float32),
        ENDS_OF_ROWS,
    ),
    "ends of erfinv": (lambda x: tf.math.erfinv(x / 4 - 1)[:, :], ENDS_OF_ROWS[:, :8] * [1, 1, 1, 1, 1, 1, 1, 8 / 7]),
    "ends of ndtri": (tf.math.ndtri, np.array([[0, 1e-9, 1e-7, 1e-4, 0.5, 0.9, 0.9999, 1]])),
    "large asinh": (lambda x: tf.asinh(10.0 ** (5 * x)), ENDS_OF_ROWS),
    "large acosh": (lambda x: tf.acosh(10.0 ** (5 * x)), ENDS_OF_ROWS),
    "lgamma beside zero": (tf.math.lgamma, np.array([[-1e-10, 1e-10, -0.5, -1e-3, 2.0, 3.0, 30.0, 1e5]])),
    "digamma beside zero": (tf.math.digamma, np.array([[-1e-6, 1e-6, -0.5, -1e-3, 2.0, 3.0, 30.0, 1e5]])),
    "edges of bins": (
        lambda x: tf.cast(tf.histogram_fixed_width(x / 5 - 1, [-1.0, 1.0], 5), tf.float32),
        np.arange(8)[None] * 10 / 7 // 1,
    ),
    "places that are constant": (
        lambda x: tf.tensor_scatter_nd_max(tf.zeros([5, 8]), [[0], [3], [0]], tf.concat([x, -x, 2 * x], 0)),
        ENDS_OF_ROWS,
    ),
    "rows that are constant": (
        lambda x: tf.math.segment_mean(tf.constant(numbers(8, 3)), tf.cast(x[0] / 3, tf.int32)),
        ENDS_OF_ROWS,
    ),
    "no rows": (lambda x: tf.math.segment_sum(x[1:], tf.cast(x[1:, 0], tf.int32)), ENDS_OF_ROWS),
    "one matrix for all": (
        lambda x: tf.linalg.triangular_solve(np.eye(2, dtype=np.float32)[None] * 2, tf.reshape(x, [-1, 2, 2])),
        ENDS_OF_ROWS,
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_the_numbers_at_the_ends_are_the_same(name):
    build, x = CORNERS[name]
    network = graph_def(lambda: tf.identity(build(placeholder([None, 8])), name="out"))
    graph = fold_constants(with_known_sizes(load(network, outputs=["out"])))
    edit = graph.edit()
    replace_what_does_not_convert(edit, False)
    [found], [wanted] = (run_once(each, {"x": np.float32(x)}) for each in (edit.finish(), graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_there_is_a_test_for_each():
    assert {name.split()[0] for name in WRITTEN} == ALL


@pytest.mark.parametrize(
    "kept",
    [
        lambda y: tf.cast(tf.math.cumprod(tf.cast(3 * y, tf.int32), 1), tf.float32),
        lambda y: tf.math.cumprod(tf.reshape(y, tf.shape(tf.where(y > 0))[:1] * 0 + [-1]), 0),  # of an unknown size
        lambda y: tf.linalg.inv(tf.reshape(y, [-1, 16, 16])),  # many operations
        lambda y: tf.image.resize(y[:, : tf.cast(y[0, 0, 0, 0], tf.int32)], [9, 9], "bicubic"),
    ],
)
def test_what_cannot_be_written_out_stays(kept):
    graph = loaded(kept)
    edit = graph.edit()
    replace_what_does_not_convert(edit, False)
    assert ALL & {node.op for node in edit.finish().nodes.values()}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_parts_are_products(name, batch):
    graph = loaded(COMPLEX[name], batch)
    edit = graph.edit()
    complex_parts_as_products(edit)
    complex_as_pairs(edit)
    written = edit.finish()
    needed = {node.op for node in written.nodes.values()}
    assert not needed & {"FFT", "FFT2D", "RFFT", "IRFFT", "Complex", "ComplexAbs"}
    x = numbers(3, 8, 8, 4, seed=5)
    [found], [wanted] = (run_once(each, {"x": x}) for each in (written, graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=3e-5)


def test_transforms_that_litert_has_stay():
    graph = loaded(lambda y: tf.abs(tf.signal.rfft(y[..., 0])))
    edit = graph.edit()
    complex_parts_as_products(edit)
    complex_as_pairs(edit)
    assert "RFFT" in {node.op for node in edit.finish().nodes.values()}


def wave(size, turned=1):
    places = np.arange(size)
    return tf.constant(np.exp(2j * np.pi * turned * np.outer(places, places) / size).astype(np.complex64))


def spectrum(y, channel=0):
    return tf.signal.rfft(y[..., channel], [6])


def as_complex(y):
    return tf.complex(y[..., 0], y[..., 1])


PAIRS = {
    "of two": lambda y: tf.math.real(tf.signal.rfft(y[..., 0]) * tf.signal.rfft(y[..., 1])),
    "square": lambda y: tf.math.imag(spectrum(y) * spectrum(y)),
    "with a constant": lambda y: tf.math.real(spectrum(y) + (1 - 2j)),
    "another axis": lambda y: tf.math.real(spectrum(y)[:, 1:]),
    "quotient": lambda y: tf.math.angle(spectrum(y) / (spectrum(y, 1) + 3)),
    "of a real number": lambda y: tf.abs(spectrum(y) / tf.cast(2 + tf.abs(y[..., :4, 1]), tf.complex64)),
    "conjugate": lambda y: tf.math.imag(tf.math.conj(spectrum(y)) * spectrum(y, 1)),
    "wave": lambda y: tf.math.real(tf.exp(tf.complex(tf.zeros_like(y), y))),
    "matrices": lambda y: tf.math.imag(tf.matmul(as_complex(y), as_complex(y), adjoint_b=True)),
    "einsum": lambda y: tf.math.real(
        tf.einsum("bnd,nm,dh->bmh", tf.cast(y[..., 0], tf.complex64), wave(8), wave(8, 3))
    ),
    "dense": lambda y: tf.abs(tf.reshape(tf.matmul(tf.reshape(as_complex(y), [-1, 8]), wave(8)), [-1, 8, 8])),
    "moved": lambda y: tf.math.real(
        tf.transpose(
            tf.concat([as_complex(y), tf.stack(tf.unstack(wave(8) + 0 * as_complex(y), axis=1), 1)], 1), [0, 2, 1]
        )
    ),
    "real alone": lambda y: tf.math.imag(tf.cast(y, tf.complex64) * 2),
    "filtered": lambda y: tf.signal.irfft(tf.signal.rfft(y[..., 0]) * tf.signal.rfft(y[..., 1])),
    "odd filtered": lambda y: tf.signal.irfft(spectrum(y) * spectrum(y, 1), [6]),
}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_complex_numbers_are_pairs(name, batch):
    graph = loaded(PAIRS[name], batch)
    edit = graph.edit()
    complex_parts_as_products(edit)
    complex_as_pairs(edit)
    written = edit.finish()
    assert not any(written.dtype(f"{node.name}:0") == tf.complex64 for node in written.nodes.values())
    x = numbers(3, 8, 8, 4, seed=5)
    [found], [wanted] = (run_once(each, {"x": x}) for each in (written, graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=5e-5)


def of_one_image(y):
    """As the second stage of a detector has it."""
    pieces = tf.image.crop_and_resize(
        y[:1], [[0.1, 0.2, 0.7, 1.2], [0.5, 0.3, 0.9, 0.4]], tf.zeros([2], tf.int32), [3, 3]
    )
    return tf.reduce_mean(conv(pieces, name="two", seed=4), [1, 2])


def unpooled(y):
    """As in SegNet: values go back to where the largest were."""
    values, places = tf.nn.max_pool_with_argmax(tf.nn.relu(y), 2, 2, "VALID", include_batch_in_index=True)
    flat = tf.scatter_nd(
        tf.reshape(places, [-1, 1]), tf.reshape(values, [-1]), tf.cast(tf.shape(y), tf.int64)[:1] * 256
    )
    return conv(tf.reshape(flat, [-1, 8, 8, 4]), name="two", seed=4)


IN_FILES = {
    **{
        name: WRITTEN[name]
        for name in (
            *(
                "ResizeBicubic",
                "Cumprod",
                "Atan",
                "DenseBincount",
                "Digamma below",
                "DynamicStitch",
                "MatrixSolve",
            ),
            *("RGBToHSV", "SegmentSum", "TensorScatterMax"),
        )
    },
    "mfcc": COMPLEX["mfcc"],
    "einsum": PAIRS["einsum"],
    "filtered": PAIRS["filtered"],
    "pieces": of_one_image,
    "unpooled": unpooled,
}


@pytest.mark.parametrize("build", IN_FILES.values(), ids=IN_FILES)
def test_files_with_them_run(build):
    result, x = exported(graph_def(lambda: tf.identity(build(conv(image(), name="one")), name="out")))
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1
