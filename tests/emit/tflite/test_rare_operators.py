"""Operators that few networks have: computed in float as TensorFlow does, or on integers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import erf

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.rewrites import replacements
from calibrant.emit.tflite.rewrites.replacements import A, P
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import computed, contents, exported, image, steps_apart


def row_of(y, size=8):
    return y[0, 0, :, 0][:size]


UNSORTED = ("max", "min", "prod", "sum")
ROWS = {
    "RFFT2D": lambda y: tf.math.real(tf.signal.rfft2d(y[..., 0])),
    "COMPLEX_ABS": lambda y: tf.abs(tf.signal.rfft2d(y[..., 0])),
    "IMAG": lambda y: tf.math.imag(tf.signal.rfft2d(y[..., 1])),
    "MATRIX_DIAG": lambda y: tf.linalg.diag(y),
    "MATRIX_SET_DIAG": lambda y: tf.linalg.set_diag(y, y[..., 0, :4]),
    "UNIQUE": lambda y: tf.cast(tf.unique(tf.cast(row_of(y) * 3, tf.int32))[1], tf.float32),
    "SCATTER_ND": lambda y: tf.scatter_nd([[3], [1]], row_of(y, 2), [6]),
    "SEGMENT_SUM": lambda y: tf.math.segment_sum(row_of(y), [0, 0, 1, 1, 1, 2, 3, 3]),
    "REVERSE_SEQUENCE": lambda y: tf.reverse_sequence(y[..., 0], [3] * 8, seq_axis=1, batch_axis=2),
    "NON_MAX_SUPPRESSION_V5": lambda y: tf.image.non_max_suppression_with_scores(
        tf.reshape(tf.abs(y[0, :2, :, :]), [-1, 4]), row_of(tf.concat([y, y], 2), 16), 5, 0.4
    )[1],
    "RIGHT_SHIFT": lambda y: tf.cast(tf.bitwise.right_shift(tf.cast(y * 20, tf.int32), 1), tf.float32),
    "BITWISE_XOR": lambda y: tf.cast(tf.bitwise.bitwise_xor(tf.cast(y * 20, tf.int32), 5), tf.float32),
    "BUCKETIZE": lambda y: tf.cast(tf.raw_ops.Bucketize(input=y, boundaries=[-0.5, 0.0, 1.0]), tf.float32),
    "FILL": lambda y: tf.zeros_like(y) + tf.fill([tf.shape(y)[0], 8, 8, 4], 0.5),
    **{
        f"UNSORTED_SEGMENT_{kind.upper()}": (
            lambda y, kind=kind: getattr(tf.math, f"unsorted_segment_{kind}")(row_of(y), [1, 0, 1, 2, 0, 3, 3, 1], 4)
        )
        for kind in UNSORTED
    },
}


def test_operators_in_float_are_computed_as_tensorflow_does():
    def build():
        y = conv(image(8, 8, 4), name="one")
        for name, row in ROWS.items():
            tf.identity(row(y), name=f"out_{name}")

    outputs = [f"out_{name}:0" for name in ROWS]
    x = numbers(2, 8, 8, 4, seed=11)
    model = graph_def(build)
    result = calibrant.quantize(model, "batch_num: 1", [{"x": x}], export="tflite", outputs=outputs)
    assert not result.refused
    made, simulated, names = computed(result, x)
    assert set(ROWS) - {"FILL"} <= names
    for name, found, wanted in zip(ROWS, made, simulated, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=name)


PLACES = {
    "of the largest": lambda y: tf.argmax(tf.reshape(y, [-1, 64, 4]), 1) // 8,
    "of a remainder": lambda y: tf.argmin(tf.reshape(y, [-1, 64, 4]), 1)[:, 1:] % 32 // 8,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_quotient_of_places_is_taken_in_32_bits(place):
    result, x = exported(graph_def(lambda: tf.cast(place(conv(image(), name="one")), tf.float32, name="out")))
    [made], [simulated], names = computed(result, x)
    assert "FLOOR_DIV" in names
    np.testing.assert_array_equal(made, simulated)


def test_quotients_of_other_numbers_of_64_bits_are_refused_by_their_type():
    """They may have more than 32."""

    def build():
        tf.cast(tf.cast(conv(image(), name="one") * 1e12, tf.int64) // 1000, tf.float32, name="out")

    with pytest.raises(calibrant.ModelError, match="LiteRT has no operator for FloorDiv of int64"):
        exported(graph_def(build))


@pytest.mark.parametrize("edges", [[[0, 0], [1, 0], [2, 1], [0, 0]], [[0, 0], [0, 1], [1, 2], [0, 0]]])
def test_maximum_pooling_with_sizes_of_padding_is_on_integers(edges):
    def build():
        tf.identity(
            conv(tf.nn.max_pool2d(conv(image(), name="one") - 2.0, 3, 2, edges), name="two", seed=4), name="out"
        )

    result, x = exported(graph_def(build))
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert result.export_notes["tflite"]["operators_in_float"] == []


@pytest.mark.parametrize(
    "share",
    [
        lambda y: 0.5 * (1.0 + tf.math.erf(y / 2**0.5)),
        lambda y: tf.math.erfc(-y) * 0.5,
    ],
)
def test_shares_of_a_normal_distribution_are_no_gelu(share):
    result, x = exported(graph_def(lambda: tf.identity(share(conv(image(), name="one")), name="out")))
    [made], [simulated], names = computed(result, x)
    assert "GELU" not in names
    np.testing.assert_allclose(made, simulated, atol=1e-3)


@pytest.mark.parametrize("kind", [tf.uint8, tf.int8, tf.int16])
def test_numbers_beyond_a_narrow_integer_type_are_cast_as_the_kernel_does(kind):
    result, x = exported(graph_def(lambda: tf.cast(conv(image(), name="one") * 300.0, kind, name="out")))
    [made], [simulated], _ = computed(result, x)
    np.testing.assert_array_equal(made, simulated)


@pytest.mark.parametrize("kind", [tf.uint16, tf.uint32])
def test_inputs_of_unsigned_integers(kind, tmp_path):
    model = graph_def(lambda: tf.nn.relu(dense(tf.cast(placeholder([None, 16], dtype=kind), tf.float32)), name="out"))
    data = np.abs(1000 * numbers(8, 16)).astype(kind.as_numpy_dtype)
    result = calibrant.quantize(model, "batch_num: 1", [data], tmp_path / "out", export="tflite")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", data).passed


def test_a_transposed_convolution_of_volumes():
    def build():
        x = placeholder([2, 4, 4, 4, 4])
        weights = tf.constant(numbers(2, 2, 2, 3, 4, seed=3))
        y = dense(tf.reshape(x, [-1, 4]), 4, "one")
        tf.nn.conv3d_transpose(tf.reshape(y, [2, 4, 4, 4, 4]), weights, [2, 8, 8, 8, 3], 2, "SAME", name="out")

    result, x = exported(graph_def(build))
    made, simulated, names = computed(result, x)
    assert "CONV_3D_TRANSPOSE" in names
    np.testing.assert_allclose(made[0], simulated[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("pool", [tf.nn.max_pool3d, tf.nn.avg_pool3d])
def test_pools_of_volumes(pool, padding):
    def build():
        x = placeholder([None, 6, 7, 5, 3])
        y = tf.nn.conv3d(x, tf.constant(numbers(2, 2, 2, 3, 4, scale=0.3)), [1] * 5, "SAME", name="one")
        dense(tf.reduce_mean(pool(y, [3, 2, 2], [2, 2, 1], padding), [1, 2, 3]), name="out")

    result, x = exported(graph_def(build), count=8)
    made, simulated, names = computed(result, x)
    assert names >= {"CONV_2D", "MAX_POOL_2D" if pool is tf.nn.max_pool3d else "AVERAGE_POOL_2D"}
    np.testing.assert_array_equal(made[0], simulated[0])
    [wanted] = run_once(result.original, {"x": x})
    assert np.mean((made[0] - wanted) ** 2) < 0.002 * np.mean(wanted**2)


def test_the_error_function_is_written_with_operators_that_litert_has():
    def build():
        tf.math.erf(conv(image(), name="one") * 2.0, name="out")

    result, x = exported(graph_def(build), bias_correction=False)
    made, simulated, _ = computed(result, x)
    np.testing.assert_allclose(made[0], simulated[0], atol=1e-6)
    [wanted] = run_once(result.original, {"x": x})
    assert np.mean((made[0] - wanted) ** 2) < 0.001 * np.mean(wanted**2)
    values = np.linspace(-5, 5, 1001)
    t = 1 / (1 + P * np.abs(values))
    polynomial = sum(factor * t ** (place + 1) for place, factor in enumerate(A))
    assert np.abs(np.sign(values) * (1 - polynomial * np.exp(-(values**2))) - erf(values)).max() < 2e-7


def test_the_rest_of_the_error_function_is_written_with_operators_that_litert_has():
    result, x = exported(graph_def(lambda: conv(tf.math.erfc(conv(image(), name="one")), name="out", seed=3)))
    [made], [wanted], names = computed(result, x)
    assert "ERFC" not in names and "EXP" in names
    assert np.mean((made - wanted) ** 2) < 1e-4 * np.mean(wanted**2)


@pytest.mark.parametrize("form", ["erf", "erfc"])
def test_a_gelu_with_factors_of_a_balanced_layer_is_one_still(form):
    def build():
        x = dense(placeholder([None, 8]), 8, name="one")
        rest = 1.0 + tf.math.erf(x / np.sqrt(2.0)) if form == "erf" else tf.math.erfc(-x * np.sqrt(0.5))
        dense(0.5 * x * rest, 4, name="out", seed=3)

    balanced = "common_config { dmq_balancer { migration_strength : 0.5 } }"
    result, x = exported(graph_def(build), f"batch_num: 4 {balanced}")
    _, _, names = computed(result, x)
    assert "GELU" in names and not names & {"EXP", "DIV", "SIGN"}


@pytest.mark.parametrize("shape", [(1, 1, 4), (8, 8, 4), (8, 1, 4)])
def test_a_learned_slope_is_one_operator(shape):
    def build():
        y = conv(image(), name="one")
        slope = tf.constant(numbers(*shape, seed=8))
        conv(tf.nn.relu(y) + -slope * tf.nn.relu(-y), name="out", seed=5)

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert {each.name: each.is_integer for each in file.operators()}["PRELU"]
    assert "MUL" not in [each.name for each in file.operators()]


def state(x):
    return tf.fill([tf.shape(x)[0], 4], 0.0)


def token(x):
    return tf.tile(tf.constant(numbers(1, 4, seed=7)), [tf.shape(x)[0], 1])


@pytest.mark.parametrize(("name", "constant"), [("FILL", state), ("TILE", token)])
def test_a_constant_for_every_sample_has_codes(name, constant):
    def build():
        x = placeholder([None, 6])
        tf.tanh(dense(x, 4, "one") + dense(constant(x), 4, "two", seed=5), name="out")

    result, _ = exported(graph_def(build))
    made = [each.outputs[0].dtype for each in File(contents(result)[0]).operators() if each.name == name]
    assert made == [np.int8]


@pytest.mark.parametrize("reader", [tf.square, lambda y: tf.reduce_sum(y, [1, 2]), lambda y: y * y])
def test_nothing_is_cut_off_what_is_squared_or_added_up(reader):
    def build():
        tf.identity(reader(conv(image(), name="one")), name="out")

    result, x = exported(graph_def(build), bias_correction=False)
    [tensor] = [name for name in result.network.intermediate if name.startswith("one")]
    found = result.network.intermediate[tensor]
    values = [run_once(result.original, {"x": numbers(*x.shape, seed=20 + at)}, [tensor])[0] for at in range(4)]
    assert found.low <= 0.99 * np.min(values) and found.high >= 0.99 * np.max(values)


@pytest.mark.parametrize(("on", "off", "axis"), [(1.0, 0.0, -1), (3.0, -0.5, 1)])
def test_marked_places_are_codes(on, off, axis):
    def build():
        chosen = tf.argmax(conv(image(), name="one"), 3, output_type=tf.int32)
        marked = tf.one_hot(chosen, 4, on, off, axis)
        tf.identity(conv(marked if axis == -1 else tf.transpose(marked, [0, 2, 3, 1]), name="two"), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    [found] = [each for each in file.operators() if each.name == "ONE_HOT"]
    assert found.outputs[0].dtype == np.int8
    codes = (np.array([on, off]) / found.outputs[0].scale[0]).round() + found.outputs[0].zero_point
    assert [found.read(position).constant.item() for position in (2, 3)] == list(codes)


def test_a_root_of_what_is_computed_in_float_is_no_code():
    def build():
        y = conv(image(), name="one")
        tf.identity(tf.sqrt(tf.abs(y) + 0.1) + tf.sqrt(tf.square(y)), name="out")

    result, _ = exported(graph_def(build))
    floats = [row["operator"] for row in result.export_notes["tflite"]["operators_in_float"]]
    assert sorted(floats) == ["SQRT", "SQUARE"]


def repeated(y):
    return tf.while_loop(lambda at, _: at < 3, lambda at, z: (at + 1, z * 0.5 + 1.0), [tf.constant(0), y])[1]


def chosen(y):
    return tf.cond(tf.reduce_sum(y) > 0, lambda: y * 2.0, lambda: y - 1.0)


@pytest.mark.parametrize(("name", "build"), [("WHILE", repeated), ("IF", chosen)])
def test_loops_and_branches_without_weights_stay_in_float(name, build):
    def network():
        tf.identity(conv(build(conv(image(), name="one")), name="two", seed=5), name="out")

    x = numbers(4, 8, 8, 4, seed=11)
    model = graph_def(network)
    result = calibrant.quantize(
        model, "batch_num: 1", [{"x": x}], export="tflite", outputs=["out:0"], bias_correction=False
    )
    assert not result.refused
    made, simulated, names = computed(result, x)
    assert name in names
    np.testing.assert_allclose(made[0], simulated[0], atol=1e-4)
    [wanted] = run_once(result.original, {"x": x})
    assert np.mean((made[0] - wanted) ** 2) < 0.005 * np.mean(wanted**2)


def test_logarithms_of_sums_over_volumes_with_a_shape_without_axes():
    """What the converter makes of IsFinite over five axes reads a constant that has no elements."""

    def build():
        y = tf.reshape(conv(image(8, 8, 6), name="one"), [-1, 8, 4, 2, 4])
        tf.identity(y - tf.reduce_logsumexp(y, [-2, -1], keepdims=True), name="out")

    result, x = exported(graph_def(build))
    operators = File(contents(result)[0]).operators()
    assert any(0 in tensor.shape for each in operators for tensor in each.inputs if tensor is not None)
    [made], [simulated], _ = computed(result, x)
    np.testing.assert_allclose(made, simulated, rtol=1e-4)


def test_a_root_of_large_numbers_runs_on_integers():
    """Scales of what it reads and makes may be as far apart as they are: kernels that are tables have no limit."""

    def build():
        y = conv(image(), name="one") * 300.0
        size = tf.reduce_mean(tf.abs(y), -1, keepdims=True)
        tf.identity(conv(y * tf.math.rsqrt(size * 100.0 + 1.0), name="two"), name="out")

    result, x = exported(graph_def(build))
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert result.export_notes["tflite"]["operators_in_float"] == []


def test_what_follows_a_product_of_flattened_samples_runs_on_integers():
    """The converter moves the reshape behind it, so that its tensor has fewer axes than the node's."""

    def build():
        x = placeholder([None, 6, 8])
        made = tf.reshape(dense(tf.reshape(x, [-1, 8]), 8, name="one"), [-1, 6, 8])
        squares = tf.square(tf.nn.relu(made))
        tf.reshape(dense(tf.reshape(squares, [-1, 8]), 4, name="two"), [-1, 6, 4], name="out")

    result, x = exported(graph_def(build))
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert result.export_notes["tflite"]["operators_in_float"] == []


def uncertainty(count=3.0, axes=-1, keepdims=True):
    y = tf.nn.relu(dense(tf.reduce_mean(conv(image()), [1, 2]), 3, name="one")) + 1.0
    tf.divide(count, tf.reduce_sum(y, tf.constant(axes, tf.int64), keepdims=keepdims), name="out")


def as_in_an_application(content, x):
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize(
    "options",
    [{}, {"keepdims": False}, {"axes": [1]}, {"count": [[[3.0]]]}, {"count": [[3.0]], "keepdims": False}],
    ids=str,
)
def test_a_number_over_the_sum_of_as_many(options):
    """XNNPACK would divide the sum by the number, where nobody keeps what is in between."""
    build = partial(uncertainty, **options)
    result, x = exported(graph_def(build))
    [wanted] = run_once(load(graph_def(build)), {"x": x})
    found = as_in_an_application(contents(result)[0], x)
    assert found.shape == wanted.shape and arrays_sqnr_db(wanted, found) > 30


def test_a_file_with_which_applications_get_other_numbers_is_refused(monkeypatch):
    monkeypatch.setitem(replacements.REPLACEMENTS, "RealDiv", lambda *_: None)
    with pytest.raises(calibrant.ModelError, match="out: XNNPACK joins operators of its LiteRT file") as refused:
        exported(graph_def(uncertainty))
    assert refused.value.problems[0].hint
