"""Convolutions over volumes run on integers, as convolutions over images, and equal their simulation."""

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.rewrites.volume_convolutions import with_layers_in_channels
from calibrant.errors import ModelError
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf
from tflite_networks import computed, exported, layer_operators, steps_apart

RAW = tf.raw_ops


def volume_of(*sizes, window, strides=(1, 1, 1), padding="SAME", is_first=False, biased=True):
    def build():
        kernel = tf.constant(numbers(*window, 3, 4, seed=3, scale=0.3))
        shape = [None, 3, *sizes] if is_first else [None, *sizes, 3]
        steps = [1, 1, *strides] if is_first else [1, *strides, 1]
        order = {"data_format": "NCDHW" if is_first else "NDHWC"}
        y = RAW.Conv3D(input=placeholder(shape), filter=kernel, strides=steps, padding=padding, name="one", **order)
        if biased:
            y = tf.nn.relu(tf.nn.bias_add(y, numbers(4, seed=5), data_format=order["data_format"]))
        dense(tf.reduce_mean(y, [2, 3, 4] if is_first else [1, 2, 3]), name="out")

    return graph_def(build)


FORMS = {
    "cubes": volume_of(5, 6, 7, window=(3, 3, 3)),
    "without an activation": volume_of(5, 6, 7, window=(3, 3, 3), biased=False),
    "within": volume_of(5, 6, 7, window=(2, 3, 1), padding="VALID"),
    "in steps": volume_of(7, 6, 6, window=(3, 3, 2), strides=(2, 1, 2)),
    "an edge unread": volume_of(6, 7, 6, window=(1, 1, 1), strides=(4, 2, 4)),
    "steps within": volume_of(7, 6, 9, window=(2, 2, 3), strides=(3, 2, 2), padding="VALID"),
    "images": volume_of(4, 6, 6, window=(1, 3, 3)),
    "points": volume_of(4, 6, 6, window=(1, 1, 1)),
    "columns": volume_of(6, 4, 4, window=(3, 1, 1)),
    "channels first": volume_of(5, 6, 7, window=(3, 2, 3), strides=(1, 2, 2), is_first=True),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_volume_of_known_sizes(name):
    result, x = exported(FORMS[name], count=8)
    made, simulated, names = computed(result, x)
    assert "CONV_2D" in names and "CONV_3D" not in names and layer_operators(result)["one"].is_integer
    np.testing.assert_array_equal(made[0], simulated[0])
    [wanted] = run_once(result.original, {"x": x})
    assert np.mean((made[0] - wanted) ** 2) < 0.002 * np.mean(wanted**2)


def test_the_weights_are_those_of_the_layer_with_its_scales():
    result, _ = exported(FORMS["in steps"])
    layer = next(layer for layer in result.network.layers if layer.layer.name == "one")
    weights = layer_operators(result)["one"].inputs[1]
    assert np.array_equal(weights.scale, layer.weights.scale)
    wanted = np.moveaxis(with_layers_in_channels(layer.weights.values), 3, 0)
    assert np.array_equal(weights.values, wanted) and wanted.shape == (4, 3, 2, 9)


def test_two_convolutions_may_read_a_volume_with_scales_of_their_own():
    def build():
        x = placeholder([None, 4, 6, 6, 2])
        kernels = [tf.constant(numbers(3, 3, 3, 2, 3, seed=seed, scale=0.3)) for seed in (3, 4)]
        one, two = (tf.nn.conv3d(x, k, [1] * 5, "SAME", name=n) for k, n in zip(kernels, ("one", "two"), strict=True))
        tf.nn.relu(one + two, name="out")

    narrow = "ifmr_quantize { search_range_start: 0.6 search_range_end: 0.7 }"
    override = f'override_layer_configs {{ layer_name: "two" calibration_config {{ {narrow} }} }}'
    result, x = exported(graph_def(build), f"batch_num: 4 {override}")
    scales = {layer.layer.name: layer.inputs[0].quantizer.scale for layer in result.network.layers}
    read = {name: each.inputs[0].scale.tolist() for name, each in layer_operators(result).items()}
    assert scales["one"] != scales["two"] and read == {name: [scale] for name, scale in scales.items()}
    assert steps_apart(result, x)[0].max() == 0


def test_16_bits_reach_the_images():
    def build():
        x = placeholder([None, 4, 6, 6, 3])
        y = tf.nn.relu(tf.nn.conv3d(x, tf.constant(numbers(3, 3, 3, 3, 3, seed=3)), [1] * 5, "SAME", name="one"))
        tf.nn.conv3d(y, tf.constant(numbers(2, 3, 3, 3, 3, seed=4)), [1] * 5, "SAME", name="two")

    wide = 'override_layer_configs { layer_name: "two" calibration_config { ifmr_quantize { dst_type: INT16 } } }'
    result, x = exported(graph_def(build), f"batch_num: 4 {wide}", bias_correction=False)
    assert result.report["exports"]["tflite"]["layers_with_16_bits"] == ["one", "two"]
    assert layer_operators(result)["two"].inputs[0].dtype == np.int16
    assert steps_apart(result, x)[0].max() <= 1


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_dilated_one(padding):
    keras = tf.keras
    x = keras.Input((8, 9, 10, 3))
    y = keras.layers.Conv3D(4, 3, dilation_rate=(2, 1, 2), padding=padding, activation="relu", name="one")(x)
    model = keras.Model(x, keras.layers.Conv3D(2, 1, dilation_rate=1)(y))
    result, x = exported(model, count=8)
    made, simulated, names = computed(result, x)
    assert "CONV_2D" in names and not names & {"CONV_3D", "SPACE_TO_BATCH_ND"}
    np.testing.assert_array_equal(made[0], simulated[0])
    np.testing.assert_allclose(model(x), run_once(result.original, {result.original.input_keys[0]: x})[0], atol=1e-5)


def test_behind_a_dilated_one_whose_shape_is_inferred_wrongly_there_is_no_file():
    def build():
        x = placeholder([None, 9, 9, 9, 2])
        weights = [tf.constant(numbers(3, 3, 3, *pair, seed=3, scale=0.3)) for pair in ((2, 4), (4, 3))]
        y = tf.nn.relu(tf.nn.conv3d(x, weights[0], [1] * 5, "VALID", dilations=[1, 1, 2, 1, 1], name="one"))
        tf.nn.conv3d(y, weights[1], [1] * 5, "SAME", name="two")

    with pytest.raises(ModelError, match="Conv3D"):
        calibrant.quantize(graph_def(build), "batch_num: 1", [numbers(4, 9, 9, 9, 2)], export="tflite")


@pytest.mark.parametrize("shared", [[1, 2, 3], None])
def test_a_prelu_of_volumes(shared):
    keras = tf.keras
    x = keras.Input((4, 6, 6, 2))
    slopes = keras.initializers.RandomUniform(0.1, 0.6, seed=1)
    y = keras.layers.Conv3D(4, 3, padding="same", name="one")(x)
    y = keras.layers.PReLU(slopes, shared_axes=shared)(y)
    result, x = exported(keras.Model(x, keras.layers.Conv3D(2, 1, name="two")(y)), count=8)
    made, simulated, names = computed(result, x)
    assert "PRELU" not in names and all(each.is_integer for each in layer_operators(result).values())
    np.testing.assert_array_equal(made[0], simulated[0])
