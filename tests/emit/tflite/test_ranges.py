"""A tensor with several readers keeps codes for the numbers that each of them needs."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import computed, contents, exported, image, layer_operators, steps_apart


def both_signs(y):
    return tf.nn.crelu(y)


def parts_of_two_sizes(y):
    y = y * np.array([0.5, 0.5, 4, 4], np.float32)
    small, large = conv(y[..., :2], name="small", seed=5), conv(y[..., 2:], name="large", seed=6)
    return small * 8.0 + large


def largest_beside_all(y):
    pooled = tf.nn.max_pool2d(y, 3, 1, "SAME")
    return tf.concat([conv(pooled, name="two", seed=5), conv(tf.minimum(y, 0.0), name="three", seed=6)], -1)


def enlarged(y):
    return tf.raw_ops.ResizeBilinear(images=y, size=[16, 16], align_corners=True, half_pixel_centers=False)


def sum_of_two(y):
    return tf.add_n([y, tf.nn.relu(y)])


def sum_of_three(y):
    return tf.add_n([y, y * 2.0, tf.nn.relu(y)])


def larger_of_two(y):
    return tf.maximum(y, 10.0 * conv(y, name="two", seed=6))


def attention(y, masked):
    """Attention to pixels; the last ones of each image are masked."""
    tokens = tf.reshape(y, [-1, 64, 4])
    scores = tf.matmul(tokens, tokens, transpose_b=True)
    shares = tf.nn.softmax(tf.reshape(masked(scores), [-1, 8, 8, 64]))
    return tf.reshape(tf.matmul(tf.reshape(shares, [-1, 64, 64]), tokens), [-1, 8, 8, 4])


def masked_by_a_sum(y):
    return attention(y, lambda scores: scores + np.array([0.0] * 40 + [-1e9] * 24, np.float32))


def masked_by_a_choice(y):
    return attention(y, lambda scores: tf.where(tf.sequence_mask([40], 64)[:, None], scores, -1e4))


def masked_by_order(y):
    return attention(y, lambda scores: scores + np.triu(np.full((64, 64), -1e9, np.float32), 1))


def masked_before_they_are_scaled(y):
    return attention(y, lambda scores: (scores + np.triu(np.full((64, 64), -1e9, np.float32), 1)) / 8.0)


def masked_twice(y):
    padding = np.array([0.0] * 40 + [-1e9] * 24, np.float32)
    return attention(y, lambda scores: scores + np.triu(np.full((64, 64), -1e9, np.float32), 1) + padding)


def masked_by_a_chosen_sum(y):
    """As Keras' Attention does."""
    mask = tf.sequence_mask([40], 64)[:, None]
    return attention(y, lambda scores: tf.where(mask, scores, scores - 1e9))


def masked_in_double_precision(y):
    def masked(scores):
        mask = np.triu(np.full((64, 64), -1e9), 1)
        return tf.nn.softmax(tf.cast(scores, tf.float64) + mask)

    tokens = tf.reshape(y, [-1, 64, 4])
    shares = tf.cast(masked(tf.matmul(tokens, tokens, transpose_b=True)), tf.float32)
    return tf.reshape(tf.matmul(shares, tokens), [-1, 8, 8, 4])


def masked_by_a_filled_choice(y):
    mask = tf.sequence_mask([40], 64)[:, None]
    return attention(y, lambda scores: tf.where(mask, scores, -1e20 * tf.ones_like(scores)))


def rows_masked_whole(y):
    """As DeBERTa does: of what is padding, its shares of others are masked as well, and then none are left."""
    tokens = tf.reshape(y, [-1, 64, 4])
    kept = tf.range(64) < 40
    kept = tf.logical_and(kept[:, None], kept[None])[None]
    scores = tf.where(kept, tf.matmul(tokens, tokens, transpose_b=True), -np.inf)
    shares = tf.where(kept, tf.nn.softmax(scores), 0.0)
    return tf.reshape(tf.matmul(shares, tokens), [-1, 8, 8, 4])


def masked_by_infinity(y):
    mask = tf.sequence_mask([40], 64)[:, None]
    return attention(y, lambda scores: scores + tf.where(mask, 0.0, -np.inf))


def masked_by_infinite_order(y):
    return attention(y, lambda scores: scores + np.triu(np.full((64, 64), -np.inf, np.float32), 1))


def masked_by_an_infinite_choice(y):
    return attention(y, lambda scores: tf.where(tf.sequence_mask([40], 64)[:, None], scores, -np.inf))


def shares_by_hand(y):
    """A softmax that nothing knows as one."""
    scores = conv(y, 64, name="scores", seed=6)
    shares = tf.exp(scores - tf.reduce_max(scores, -1, keepdims=True))
    return shares / tf.reduce_sum(shares, -1, keepdims=True)


def unit_length(y):
    """As Keras' UnitNormalization, with pixels that are 0 in all channels."""
    y = tf.nn.relu(y - 1.0)
    return y * tf.minimum(tf.math.rsqrt(tf.reduce_sum(tf.square(y), -1, keepdims=True)), 1e12)


def peaks(y):
    """As detectors of centres write non-maximum suppression."""
    y = tf.sigmoid(y)
    return tf.where(tf.equal(y, tf.nn.max_pool2d(y, 3, 1, "SAME")), y, tf.zeros_like(y))


def largest_alone(y):
    y = tf.nn.relu(y)
    return y * tf.cast(tf.equal(y, tf.reduce_max(y, -1, keepdims=True)), tf.float32)


def normalized_samples(y):
    """Each sample by its own statistics; some are many times smaller than others."""
    y *= tf.exp(0.5 * tf.minimum(y[:, :1, :1, :1], 1.0))
    mean, variance = tf.nn.moments(y, [1, 2], keepdims=True)
    return (y - mean) / tf.sqrt(variance + 1e-5)


def gated(y):
    far = np.array([0.0, 0.0, 1e3, -1e3], np.float32)  # gates that are open or closed for good
    return tf.sigmoid(conv(y, name="gate", seed=6) + far) * conv(y, name="two", seed=7)


def outputs_of(build):
    """Those of the float model, the fake-quantized one and the file, with a convolution on either side."""

    def network():
        y = build(conv(image(), name="one"))
        weights = tf.constant(numbers(3, 3, int(y.shape[-1]), 4, seed=9, scale=0.3))
        tf.nn.conv2d(y, weights, 1, "SAME", name="out")

    result, x = exported(graph_def(network), bias_correction=False)
    [wanted], [simulated] = run_once(result.original, {"x": x}), run_once(result.fakequant, {"x": x})
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    return wanted, simulated, runner.real(runner.file.outputs()[0])


@pytest.mark.parametrize(
    "build",
    [
        *(both_signs, parts_of_two_sizes, largest_beside_all, enlarged, sum_of_two, sum_of_three),
        *(larger_of_two, masked_by_a_sum, masked_by_a_choice, masked_by_a_filled_choice, masked_by_order, gated),
        *(masked_by_infinity, masked_by_infinite_order, masked_by_an_infinite_choice, rows_masked_whole),
        *(shares_by_hand, normalized_samples),
        *(masked_before_they_are_scaled, masked_twice, masked_in_double_precision, masked_by_a_chosen_sum),
    ],
)
def test_the_file_is_close_to_the_float_model(build):
    wanted, _, made = outputs_of(build)
    assert np.mean((made - wanted) ** 2) < 0.005 * np.mean(wanted**2)  # 23 dB


MASKED = [
    *(masked_by_a_sum, masked_by_order, masked_before_they_are_scaled, masked_twice),
    *(masked_in_double_precision, masked_by_a_chosen_sum, masked_by_infinity, masked_by_infinite_order),
]


@pytest.mark.parametrize("build", MASKED)
def test_a_mask_is_added_on_integers(build):
    result, _ = exported(graph_def(lambda: tf.identity(conv(build(conv(image(), name="one")), name="two"), "out")))
    names = ("ADD", "SUB", "MUL", "SOFTMAX")
    found = [each for each in TfliteRunner(contents(result)[0]).file.operators() if each.name in names]
    assert len(found) >= 2 and all(each.is_integer for each in found)


def test_a_mask_that_is_fed_is_added_on_integers_for_every_head():
    """As graph attention networks do."""

    def build():
        x, mask = placeholder([None, 16, 8]), placeholder([None, 16, 16], "mask")
        for head in ("one", "two"):
            tokens = dense(x, 8, head, seed=len(head) + ord(head[0]))
            shares = tf.nn.softmax(tf.matmul(tokens, tokens, transpose_b=True) + mask)
            tf.matmul(shares, tokens, name=f"out_{head}")

    mask = np.where(numbers(8, 16, 16, seed=3) + 4 * np.eye(16) > 0, 0.0, -1e9).astype(np.float32)
    data = [{"x": numbers(8, 16, 8, seed=turn), "mask": mask} for turn in range(4)]
    names = ["out_one", "out_two"]
    result = calibrant.quantize(graph_def(build), "batch_num: 4", data, export="tflite", outputs=names)
    assert result.export_notes["tflite"]["operators_in_float"] == []
    content, simulation = contents(result, result.export_notes["tflite"]["simulation_outputs"])
    made = run_once(simulation, {key: data[0][key.split(":")[0]] for key in simulation.input_keys})
    for found, wanted in zip(made, run_once(result.original, data[0]), strict=True):
        assert np.mean((found - wanted) ** 2) < 0.005 * np.mean(wanted**2)  # 23 dB


def small_beside_large(y):
    """A small tensor that is normalized, and concatenated with a large one, which a layer reads."""
    small = 0.003 * y
    centred = small - tf.reduce_mean(small, -1, keepdims=True)
    normal = centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + 1e-9)
    return 3 * normal + conv(tf.concat([small, conv(y, name="large", seed=4)], -1), name="both", seed=6)


@pytest.mark.parametrize("build", [peaks, largest_alone, unit_length])
def test_what_codes_decide_is_as_close_as_in_the_fake_quantized_model(build):
    wanted, simulated, made = outputs_of(build)
    assert arrays_sqnr_db(wanted, made) > arrays_sqnr_db(wanted, simulated) - 3


def test_what_is_concatenated_and_read_keeps_its_own_scale():
    """With the scale of the whole, the norm would have hardly a code."""
    wanted, simulated, made = outputs_of(small_beside_large)
    assert arrays_sqnr_db(wanted, made) > arrays_sqnr_db(wanted, simulated) - 7


FIXED = {"sigmoid": tf.nn.sigmoid, "tanh": tf.nn.tanh, "length": lambda y: tf.nn.l2_normalize(y, -1)}


def behind_fixed_steps(kind):
    """Each has its own kernel, whose scale is the same in every model; the layer's own range is a little narrower."""

    def network():
        y = FIXED[kind](0.3 * conv(image(), name="one"))
        y = tf.nn.bias_add(conv(y, 5, name="two", seed=4), tf.constant(numbers(5, seed=8)), name="two/bias")
        tf.identity(y, name="out")

    return graph_def(network)


@pytest.mark.parametrize("kind", FIXED)
def test_codes_of_a_fixed_scale_are_not_rounded_again(kind):
    result, x = exported(behind_fixed_steps(kind))
    steps, file = steps_apart(result, x)
    quantized = [each for each in file.operators() if each.name == "QUANTIZE"]
    assert steps.max() == 0 and not [each for each in quantized if each.read(0).dtype == np.int8]
    [made] = computed(result, x)[0]
    [wanted], [simulated] = (run_once(model, {"x": x}) for model in (load(behind_fixed_steps(kind)), result.fakequant))
    step = TfliteRunner(contents(result)[0]).points[0].scale
    assert arrays_sqnr_db(wanted, made) > arrays_sqnr_db(wanted, step * np.rint(simulated / step)) - 2


@pytest.mark.parametrize("kind", FIXED)
def test_numbers_that_no_kernel_rounded_keep_the_scale_of_the_layer(kind):
    result, _ = exported(behind_fixed_steps(kind), tflite_ops="layers")
    [layer] = [each for each in result.network.layers if each.layer.name == "two"]
    assert layer_operators(result)["two"].read(0).scale == layer.inputs[0].quantizer.scale


@pytest.mark.parametrize(("size", "is_integer"), [(8, True), (31, True), (32, False), (64, False)])
def test_the_length_of_many_numbers_is_normalized_in_float(size, is_integer):
    def network():
        y = dense(tf.reshape(conv(image(), name="one"), [-1, 256]), size)
        tf.nn.l2_normalize(y, -1, name="out")

    result, x = exported(graph_def(network))
    floats = {row["operator"]: row["reason"] for row in result.export_notes["tflite"]["operators_in_float"]}
    assert ("L2_NORMALIZATION" not in floats) == is_integer
    if not is_integer:
        assert "numbers up to 1" in floats["L2_NORMALIZATION"]
        result, _ = exported(graph_def(network), tflite_io="int8")
        assert not result.export_notes["tflite"]["operators_in_float"]


def test_an_enlarged_copy_decides_the_scale_of_its_image():
    def network():
        y = conv(image(), name="one")
        copies = tf.compat.v1.image.resize_nearest_neighbor(y, [12, 12])
        between = tf.raw_ops.ResizeBilinear(images=y, size=[12, 12], half_pixel_centers=True)
        y = tf.concat([copies, between], -1)
        tf.nn.conv2d(y, tf.constant(numbers(3, 3, int(y.shape[-1]), 4, seed=9)), 1, "SAME", name="out")

    result, _ = exported(graph_def(network))
    operators = TfliteRunner(contents(result)[0]).file.operators()
    rounded_twice = [each for each in operators if each.name == "QUANTIZE" and each.read(0).dtype == np.int8]
    assert not rounded_twice


@pytest.mark.parametrize("choose", [tf.maximum, tf.minimum])
def test_the_halves_of_which_one_is_read_have_the_scale_of_the_choice(choose):
    """As in LightCNN: numbers that neither half is chosen for need no codes."""

    def build():
        halves = tf.split(conv(image(), name="one"), 2, -1)
        conv(choose(*halves), name="two", seed=4)

    file = TfliteRunner(contents(exported(graph_def(build))[0])[0]).file
    assert [each.name for each in file.operators()].count("QUANTIZE") == 1
    [chosen] = [each for each in file.operators() if each.name in ("MAXIMUM", "MINIMUM")]
    [layer, _] = [each for each in file.operators() if each.name == "CONV_2D"]
    assert layer.outputs[0].scale == chosen.outputs[0].scale


def test_a_tensor_of_the_file_alone_has_the_scale_of_what_it_is_reshaped_to():
    """The converter moves the first reshape behind the quotient, where both reshapes read what the graph has not."""

    def build():
        y = tf.nn.relu(conv(image(8, 8, 4), name="one"))
        row = tf.reshape(tf.reduce_mean(y, [1, 2]), [-1, 4, 1])
        gate = tf.nn.relu6(tf.nn.conv1d(row, numbers(3, 1, 1, seed=7), 1, "SAME", name="gate") + 3.0) / 6.0
        conv(y * tf.reshape(gate, [tf.shape(gate)[0], 1, 1, 4]), name="two", seed=4)

    result, _ = exported(graph_def(build))
    assert result.export_notes["tflite"]["operators_in_float"] == []


def test_what_is_clipped_behind_a_reshape_and_read_in_parts():
    """As recurrent networks written out: each step reads its part of min(relu(dense(x)), 20)."""

    def build():
        y = tf.tensordot(placeholder([None, 4, 6]), tf.constant(numbers(6, 8, seed=1)), 1) + numbers(8, seed=2)
        y = tf.minimum(tf.nn.relu(y), 20.0)
        steps = [dense(y[:, at], 8, f"step{at}", seed=3 + at) for at in range(4)]
        tf.identity(dense(tf.concat(steps, -1), 3, "last"), name="out")

    result, _ = exported(graph_def(build))
    assert {each["operator"] for each in result.export_notes["tflite"]["operators_in_float"]} <= {"RESHAPE"}


@pytest.mark.parametrize("nothing", [-np.inf, np.finfo(np.float32).min, -1e30])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_padded_for_a_maximum_has_the_scale_of_the_maximum(nothing, turned):
    """Also in models of other tools, where each layer is between transpositions."""
    pairs = [[0, 0], [0, 0], [1, 1], [1, 1]] if turned else [[0, 0], [1, 1], [1, 1], [0, 0]]

    def build():
        y = conv(image(8, 8, 4), name="one")
        y = tf.transpose(y, [0, 3, 1, 2]) if turned else y
        y = tf.pad(y, pairs, constant_values=np.float32(nothing))
        y = tf.transpose(y, [0, 2, 3, 1]) if turned else y
        y = tf.nn.max_pool2d(y, 3, 2, "VALID")
        y = tf.transpose(y, [0, 3, 1, 2]) if turned else y
        tf.identity(dense(tf.reduce_mean(y, [2, 3] if turned else [1, 2]), 4, "last"), name="out")

    result, _ = exported(graph_def(build))
    assert result.export_notes["tflite"]["operators_in_float"] == []


def test_what_is_always_zero_has_a_scale_that_sums_can_read():
    """As the state with which an unrolled loop begins."""

    def build():
        y = conv(image(), name="one") * 0.001
        nothing = tf.nn.relu(-1.0 - tf.abs(y))
        tf.identity(tf.sigmoid(y) * nothing + y * tf.sigmoid(y), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    [total] = [each for each in file.operators() if each.name == "ADD" and "out" in each.outputs[0].name]
    assert total.is_integer
    assert max(tensor.scale[0] for tensor in total.inputs) < 128 * total.outputs[0].scale[0]
    [wanted], [made] = run_once(result.original, {"x": x}), computed(result, x)[0]
    assert arrays_sqnr_db(wanted, made) > 25


def test_a_long_chain_of_sums_that_are_always_zero():
    def build():
        y = conv(image(), name="one")
        total = nothing = tf.nn.relu(-1.0 - tf.abs(y))
        for _ in range(600):
            total += nothing
        tf.identity(total + y * 0.001, name="out")

    result, _ = exported(graph_def(build), count=4)
    assert not result.refused


@pytest.mark.parametrize("size", [[11, 13], [16, 16]])
def test_an_image_is_averaged_before_its_peaks_are_cut_off(size):
    """Between the pixels of an image, where only some of them remain, numbers are smaller than the largest pixels."""

    def build():
        y = tf.nn.relu(conv(image(), name="one"))
        y = tf.raw_ops.ResizeBilinear(images=y, size=size, align_corners=False, half_pixel_centers=False)
        tf.identity(conv(y, name="two", seed=5), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    [resize] = [each for each in file.operators() if each.name == "RESIZE_BILINEAR"]
    [reads] = [each for each in file.operators() if each.name == "CONV_2D" and "two" in each.outputs[0].name]
    shares = resize.outputs[0].scale[0] == reads.read(0).scale[0]
    assert resize.is_integer and shares == (size == [16, 16])


@pytest.mark.parametrize(("size", "is_integer"), [(1.0, True), (20.0, False)])
def test_logarithms_below_what_the_kernel_makes_are_computed_in_float(size, is_integer):
    result, x = exported(
        graph_def(lambda: tf.nn.log_softmax(tf.reshape(conv(image(), name="one") * size, [-1, 256]), name="out"))
    )
    runner = TfliteRunner(contents(result)[0])
    runner.run({0: x})
    [found] = [each for each in runner.file.operators() if each.name == "LOG_SOFTMAX"]
    [wanted] = run_once(result.original, {"x": x})
    assert found.is_integer == is_integer
    assert (wanted.min() < -16) != is_integer
    assert arrays_sqnr_db(wanted, runner.real(runner.file.outputs()[0])) > 25


def test_a_chain_of_bounds_in_front_of_a_result_is_on_integers():
    """As Keras' ReLU with a maximum behind a layer with an activation."""

    def build():
        y = tf.nn.relu(tf.nn.relu(conv(conv(image(), name="one"), name="two", seed=5)))
        tf.maximum(tf.minimum(y, 1.0), 0.0, name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert all(each.is_integer for each in file.operators() if each.name not in ("QUANTIZE", "DEQUANTIZE"))


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("far", [-1e9, -1e4, float(np.finfo(np.float32).min)])
def test_results_beside_masked_ones_are_not_lost(far, refine):
    def build():
        scores = dense(tf.reshape(conv(image(), name="one"), [-1, 256]), 10, "scores", seed=5)
        tf.where(tf.constant([True] * 8 + [False] * 2), scores, far, name="out")

    result, x = exported(graph_def(build), refine=refine)
    [wanted], [made] = run_once(result.original, {"x": x}), computed(result, x)[0]
    assert arrays_sqnr_db(wanted[:, :8], made[:, :8]) > 25 and (made[:, 8:] == wanted[:, 8:]).all()
