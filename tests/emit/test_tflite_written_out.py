"""Operations that LiteRT lacks, as others: the same numbers, and a file that runs."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_networks import exported, image, steps_apart

from calibrant.emit.tflite.complex_parts import complex_parts_as_products
from calibrant.emit.tflite.replacements import replace_what_does_not_convert
from calibrant.emit.tflite.written_out import WRITTEN_OUT
from calibrant.graph.constant_folding import fold_constants
from calibrant.graph.known_sizes import with_known_sizes
from calibrant.graph.load import load
from calibrant.graph.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf, v1


def neighbours(shape):
    return tf.sparse.SparseTensor([[0, 1], [2, 0], [2, 2]], [1.0, -2.0, 0.5], shape)


def diagonal(y, rows):
    return tf.linalg.diag_part(tf.reshape(y, [-1, rows, 32 // rows]))


def resized(method, size, **options):
    return lambda y: tf.image.resize(y, size, method, **options)


WRITTEN = {
    "Acos": lambda y: tf.acos(tf.tanh(y)),
    "Acosh": lambda y: tf.acosh(1.0 + tf.abs(y)),
    "AdjustContrastv2": lambda y: tf.image.adjust_contrast(y, 1.7),
    "ApproximateEqual": lambda y: tf.cast(tf.raw_ops.ApproximateEqual(x=y, y=0 * y, tolerance=0.5), tf.float32),
    "Asin": lambda y: tf.asin(tf.tanh(y)),
    "Asinh": lambda y: tf.asinh(3 * y),
    "Atan": tf.atan,
    "Atanh": lambda y: tf.atanh(0.99 * tf.tanh(y)),
    "Cosh": tf.cosh,
    "Cross": lambda y: tf.linalg.cross(y[..., :3], y[..., 1:]),
    "Cumprod": lambda y: tf.math.cumprod(y, 2),
    "Cumprod exclusive": lambda y: tf.math.cumprod(y, -1, exclusive=True),
    "Cumprod reverse": lambda y: tf.math.cumprod(y, 1, exclusive=True, reverse=True),
    "EuclideanNorm": lambda y: tf.math.reduce_euclidean_norm(y, [1, 3]),
    "LowerBound": lambda y: tf.searchsorted([-1.0, 0.0, 0.25, 1.0], tf.reshape(y, [-1])),
    "MatrixDiagPartV3": lambda y: diagonal(y, 4),
    "MatrixDiagPartV3 wide": lambda y: diagonal(y, 2),
    "MaxPoolWithArgmax": lambda y: tf.nn.max_pool_with_argmax(y, 3, 2, "SAME")[0],
    "ResizeArea": resized("area", [3, 12]),
    "ResizeBicubic": resized("bicubic", [12, 5]),
    "ResizeBicubic corners": lambda y: v1.image.resize_bicubic(y, [12, 3], align_corners=True),
    "ResizeBicubic old": lambda y: v1.image.resize_bicubic(y, [12, 3]),
    "ScaleAndTranslate": resized("lanczos3", [12, 4], antialias=True),
    "SegmentMean": lambda y: tf.math.segment_mean(tf.transpose(y[:, 0, :, 0]), [0, 0, 0, 1, 1, 2, 2, 2]),
    "Sinh": tf.sinh,
    "SparseTensorDenseMatMul": lambda y: tf.sparse.sparse_dense_matmul(neighbours([3, 8]), tf.transpose(y[:, 0, :, 0])),
    "SparseTensorDenseMatMul turned": lambda y: tf.sparse.sparse_dense_matmul(
        neighbours([8, 3]), y[:, 0, :, 0], adjoint_a=True, adjoint_b=True
    ),
    "Tan": tf.tan,
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
    assert not WRITTEN_OUT.keys() & {node.op for node in written.nodes.values()}
    x = numbers(3, 8, 8, 4, seed=5)
    [found], [wanted] = (run_once(each, {"x": x}) for each in (written, graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=3e-5)


def test_there_is_a_test_for_each():
    assert {name.split()[0] for name in WRITTEN} == WRITTEN_OUT.keys()


@pytest.mark.parametrize(
    "kept",
    [
        lambda y: tf.cast(tf.math.cumprod(tf.cast(3 * y, tf.int32), 1), tf.float32),
        lambda y: tf.math.cumprod(tf.reshape(y, tf.shape(tf.where(y > 0))[:1] * 0 + [-1]), 0),  # of an unknown size
        lambda y: tf.nn.max_pool_with_argmax(y, 3, 2, "SAME")[1],
        lambda y: tf.image.resize(y[:, : tf.cast(y[0, 0, 0, 0], tf.int32)], [9, 9], "bicubic"),
    ],
)
def test_what_cannot_be_written_out_stays(kept):
    graph = loaded(kept)
    edit = graph.edit()
    replace_what_does_not_convert(edit, False)
    assert WRITTEN_OUT.keys() & {node.op for node in edit.finish().nodes.values()}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_parts_are_products(name, batch):
    graph = loaded(COMPLEX[name], batch)
    edit = graph.edit()
    complex_parts_as_products(edit)
    written = edit.finish()
    needed = {node.op for node in written.nodes.values()}
    assert not needed & {"FFT", "FFT2D", "RFFT", "IRFFT", "Complex", "ComplexAbs"}
    x = numbers(3, 8, 8, 4, seed=5)
    [found], [wanted] = (run_once(each, {"x": x}) for each in (written, graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize(
    "kept",
    [
        lambda y: tf.abs(tf.signal.rfft(y[..., 0])),  # which LiteRT has
        lambda y: tf.math.real(tf.signal.rfft(y[..., 0]) * tf.signal.rfft(y[..., 1])),  # of two
        lambda y: tf.math.real(tf.square(tf.signal.rfft(y[..., 0], [6]))),  # not linear
        lambda y: tf.math.real(tf.signal.rfft(y[..., 0], [6]) + 1),  # zero is not zero
        lambda y: tf.math.real(tf.signal.rfft(y[..., 0], [6])[:, 1:]),  # another axis
    ],
)
def test_other_complex_parts_stay(kept):
    graph = loaded(kept)
    edit = graph.edit()
    complex_parts_as_products(edit)
    assert "RFFT" in {node.op for node in edit.finish().nodes.values()}


@pytest.mark.parametrize("build", [WRITTEN["ResizeBicubic"], WRITTEN["Cumprod"], WRITTEN["Atan"], COMPLEX["mfcc"]])
def test_files_with_them_run(build):
    result, x = exported(graph_def(lambda: tf.identity(build(conv(image(), name="one")), name="out")))
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1
