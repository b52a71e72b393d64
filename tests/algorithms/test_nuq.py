import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrant.algorithms.arq import channels_last, quantize_weights
from calibrant.algorithms.nuq import choose_levels, fit_scale, quantize_weights_nonuniform
from reference import nuq as reference

LAYERS = {"HWIO": (3,), "HWIM": (2, 3), "HWOI": (2,), "per tensor": ()}


def some_weights(shape=(3, 3, 4, 6), seed=0):
    generator = np.random.default_rng(seed)
    return (generator.laplace(0, 0.1, shape) * generator.uniform(0.2, 2, shape[-1])).astype(np.float32)


small_cases = st.tuples(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(-6, 6, width=32) | st.integers(-24, 24).map(lambda n: n / 4),
    ),
    st.lists(st.sampled_from([0.25, 0.5, 0.7, 1, 2]), min_size=6, max_size=6),
)


@settings(max_examples=60, deadline=None)
@given(case=small_cases, num_steps=st.integers(1, 4))
def test_is_the_optimum_over_all_sets_of_levels(case, num_steps):
    weights, scale = case[0], np.array(case[1][: case[0].shape[1]], np.float32)
    choice = choose_levels(weights, scale, num_steps, lowest=-4, highest=3)
    least = reference.least_squared_error(weights, scale, num_steps, -4, 3)
    assert choice.squared_error == pytest.approx(least, rel=1e-9, abs=1e-9)
    assert ((weights - choice.codes * scale.astype(float)) ** 2).sum() == pytest.approx(least, rel=1e-9, abs=1e-9)
    assert len(choice.levels) <= num_steps
    assert np.array_equal(np.unique(choice.codes), choice.levels)


@settings(max_examples=60, deadline=None)
@given(case=small_cases, num_steps=st.integers(2, 9))
def test_every_weight_takes_the_nearest_kept_level(case, num_steps):
    weights, scale = case[0], np.array(case[1][: case[0].shape[1]], np.float32)
    choice = choose_levels(weights, scale, num_steps)
    nearest = reference.squared_error(weights, scale, choice.levels)
    assert ((weights - choice.codes * scale.astype(float)) ** 2).sum() == pytest.approx(nearest, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("axes", LAYERS.values(), ids=LAYERS.keys())
def test_the_result_says_what_it_is(axes):
    weights = some_weights()
    quantized = quantize_weights_nonuniform(weights, axes, num_steps=16)
    assert quantized.values.dtype == np.int8
    assert quantized.values.shape == weights.shape
    assert quantized.values.flags.c_contiguous
    assert quantized.scale.shape == (int(np.prod([weights.shape[a] for a in axes])),)
    assert quantized.scale.dtype == np.float32
    assert quantized.channel_axes == axes
    assert quantized.levels == tuple(np.unique(quantized.values))
    assert len(quantized.levels) <= 16
    assert quantized.squared_error(weights) < 0.02 * (weights**2).sum()


@pytest.mark.parametrize("axes", LAYERS.values(), ids=LAYERS.keys())
def test_without_iteration_the_scales_are_those_of_uniform_quantization(axes):
    weights = some_weights()
    quantized = quantize_weights_nonuniform(weights, axes, num_of_iteration=0)
    np.testing.assert_array_equal(quantized.scale, quantize_weights(weights, 8, axes).scale)


@pytest.mark.parametrize("axes", LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize("num_steps", [2, 16, 32])
def test_the_error_never_rises_from_round_to_round(axes, num_steps):
    weights = some_weights()
    errors = [
        quantize_weights_nonuniform(weights, axes, num_steps, rounds).squared_error(weights) for rounds in range(6)
    ]
    assert all(after <= before * (1 + 1e-12) for before, after in zip(errors, errors[1:], strict=False))
    assert errors[1] < errors[0]


def test_the_reported_error_is_that_of_the_result():
    weights = some_weights((400, 300))
    scale = quantize_weights(weights, 8, (1,)).scale
    choice = choose_levels(weights, scale, 32)
    assert choice.squared_error == pytest.approx(((weights - choice.codes * scale.astype(float)) ** 2).sum(), rel=1e-9)


def test_more_steps_are_never_worse_and_all_levels_are_uniform_quantization():
    weights = some_weights((40, 50))
    errors = [
        quantize_weights_nonuniform(weights, (1,), n, 0).squared_error(weights) for n in (1, 2, 4, 8, 16, 32, 256)
    ]
    assert errors == sorted(errors, reverse=True)
    uniform = quantize_weights(weights, 8, (1,))
    assert errors[-1] == pytest.approx(uniform.squared_error(weights), rel=1e-9)


def test_few_distinct_weights_are_kept_as_they_are():
    weights = np.tile(np.array([-128, -3, 0, 1, 2, 90], np.float32), 50)
    quantized = quantize_weights_nonuniform(weights, num_steps=16)
    assert quantized.levels == (-128, -3, 0, 1, 2, 90)
    np.testing.assert_array_equal(quantized.dequantize(), weights)


def test_the_larger_scale_weighs_more():
    # One level for two channels: the channel whose level counts three times as much pulls it nine times as hard.
    weights = np.array([[10.0, 60.0]], np.float32)
    scale = np.array([1, 3], np.float32)
    assert choose_levels(weights, scale, 1).levels.tolist() == [19]


def test_weights_outside_the_levels_take_the_outermost_ones():
    weights = np.array([[-900.0], [0.0], [900.0]], np.float32)
    choice = choose_levels(weights, np.ones(1, np.float32), 3)
    assert choice.levels.tolist() == [-128, 0, 127]
    assert choice.squared_error == 772**2 + 773**2


def test_zero_weights():
    quantized = quantize_weights_nonuniform(np.zeros((3, 4), np.float32), (1,))
    assert quantized.levels == (0,)
    assert (quantized.scale == 1).all()


def test_a_channel_of_zeros_among_others_stays_zero():
    weights = some_weights()
    weights[..., 2] = 0
    weights += np.where(weights, 5 * np.sign(weights), 0).astype(np.float32)  # no other weight near zero
    quantized = quantize_weights_nonuniform(weights, (3,), num_steps=2)
    assert quantized.scale[2] == quantize_weights(weights, 8, (3,)).scale.max()
    assert not quantized.values[..., 2].any()


def test_fitting_minimises_the_error_of_each_channel():
    weights = some_weights((50, 4))
    quantized = quantize_weights(weights, 8, (1,))
    fitted = fit_scale(weights, quantized.values, quantized.scale)
    for factor in (0.9999, 1, 1.0001):
        errors = ((weights - quantized.values * (fitted * factor).astype(float)) ** 2).sum(axis=0)
        best = ((weights - quantized.values * fitted.astype(float)) ** 2).sum(axis=0)
        assert (best <= errors * (1 + 1e-9)).all()


def test_fitting_keeps_a_scale_that_has_no_better_positive_one():
    weights = np.array([[0.0, -1.0, 1e-40]], np.float32)
    codes = np.array([[0, 1, 1]], np.int8)
    np.testing.assert_array_equal(fit_scale(weights, codes, np.array([7, 8, 9], np.float32)), [7, 8, 9])


@pytest.mark.parametrize("arguments", [{"num_steps": 0}, {"num_steps": 257}, {"num_of_iteration": -1}])
def test_parameters_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="allowed are"):
        quantize_weights_nonuniform(some_weights(), **arguments)


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_weights_nonuniform(np.array([1.0, np.nan], np.float32))


def test_never_above_lloyd_on_random_weights():
    weights = some_weights((200, 5))
    scale = quantize_weights(weights, 8, (1,)).scale
    generator = np.random.default_rng(1)
    for num_steps in (4, 16, 32):
        best = min(reference.lloyd(weights, scale, num_steps, generator) for _ in range(20))
        assert choose_levels(weights, scale, num_steps).squared_error <= best * (1 + 1e-9)


def convolution_weights(path):
    """Constants of rank 4 of a frozen graph, by name."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    constants = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in graph.node if node.op == "Const"}
    return {name: value for name, value in constants.items() if value.ndim == 4 and value.dtype == np.float32}


@pytest.mark.real
@pytest.mark.parametrize("model", ["resnet8_cifar10/resnet8.pb", "ds_cnn_kws/ds_cnn.pb"])
@pytest.mark.parametrize("axes", [(), (3,)], ids=["per tensor", "per channel"])
def test_never_above_lloyd_on_real_layers(shared, model, axes):
    layers = convolution_weights(shared / "real" / model)
    assert len(layers) >= 5
    generator = np.random.default_rng(2)
    for name, weights in list(layers.items())[:6]:
        flat, scale = channels_last(weights, axes), quantize_weights(weights, 8, axes).scale
        ours = quantize_weights_nonuniform(weights, axes, 16, num_of_iteration=0).squared_error(weights)
        lloyd = min(reference.lloyd(flat, scale, 16, generator) for _ in range(20))
        assert ours <= lloyd * (1 + 1e-9), name
