"""Keras models, in memory and in files."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ConfigError, ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import input_shapes, run_once
from graphs import numbers, tf

keras = tf.keras
DATA = numbers(16, 6, 6, 2)


def small(name="image"):
    """Convolution, norm, dense."""
    x = keras.Input([6, 6, 2], name=name)
    y = keras.layers.Conv2D(4, 3, padding="same", name="conv", use_bias=False)(x)
    y = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(y))
    y = keras.layers.Dropout(0.5)(keras.layers.AveragePooling2D(2)(y))
    return keras.Model(x, keras.layers.Dense(3, name="dense")(keras.layers.Flatten()(y)))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return small()


def test_a_model_in_memory(model):
    graph = load(model)
    assert graph.input_keys == ("image",)
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "AvgPool", "MatMul"]
    assert input_shapes(graph)["image"] == ((None, 6, 6, 2), np.dtype(np.float32))
    np.testing.assert_allclose(run_once(graph, {"image": DATA})[0], model(DATA, training=False), atol=1e-5)
    result = quantize(model, data=DATA)
    assert len(result.network.layers) == 3 and len(result.folded.fusions) >= 1
    assert result.name == "model"


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(model, suffix, tmp_path):
    model.save(tmp_path / f"small.{suffix}")
    graph = load(tmp_path / f"small.{suffix}")
    np.testing.assert_allclose(run_once(graph, {"image": DATA})[0], model(DATA, training=False), atol=1e-5)


def test_the_same_model_gives_the_same_bytes(model):
    first, second = (load(model).graph_def().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_what_a_program_wants_to_see_of_its_own_operations_is_not_in_the_graph(model, tmp_path):
    model.save(tmp_path / "small.keras")
    expected = load(tmp_path / "small.keras").graph_def()
    tf.debugging.enable_check_numerics()
    try:
        tf.debugging.experimental.enable_dump_debug_info(str(tmp_path / "dump"))
        assert load(tmp_path / "small.keras").graph_def() == expected
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.math.log(-1.0)
    finally:
        tf.debugging.experimental.disable_dump_debug_info()
        tf.debugging.disable_check_numerics()


def test_inner_tensors_by_name(model):
    graph = load(model)
    conv = next(name for name, node in graph.nodes.items() if node.op == "Conv2D")
    assert load(model, outputs=[conv]).outputs == (f"{conv}:0",)
    assert [layer.type for layer in find_layers(load(model, inputs=[conv]))[0]] == ["AvgPool", "MatMul"]


def two_by_two(form):
    """Two inputs and two outputs, whose names are not in alphabetical order."""
    b, a = keras.Input([3], name="b"), keras.Input([4], name="a")
    left, right = keras.layers.Dense(2, name="z")(b), keras.layers.Dense(5, name="y")(a)
    if form == "dicts":
        return keras.Model({"b": b, "a": a}, {"z": left, "y": right})
    return keras.Model([b, a], [left, right])


@pytest.mark.parametrize("form", ["lists", "dicts"])
@pytest.mark.parametrize("saved", [False, True])
def test_several_inputs_and_outputs(form, saved, tmp_path):
    model = two_by_two(form)
    data = {"b": numbers(16, 3), "a": numbers(16, 4)}
    expected = model(data if form == "dicts" else [data["b"], data["a"]])
    named = expected if form == "dicts" else dict(zip("zy", expected, strict=True))
    if saved:
        model.save(tmp_path / "model.keras")
        model = tmp_path / "model.keras"
    graph = load(model)
    assert sorted(graph.input_keys) == ["a", "b"]
    assert sorted(graph.output_keys) == ["y", "z"]
    for key, value in zip(graph.output_keys, run_once(graph, data), strict=True):
        np.testing.assert_allclose(value, named[key], atol=1e-5)
    assert len(quantize(model, data=data).network.layers) == 2


def test_a_sequential_model_built_and_not():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    with pytest.raises(ModelError, match="call it once"):
        load(model)
    model(DATA)
    assert [layer.type for layer in find_layers(load(model))[0]] == ["Conv2D", "MatMul"]


class Subclassed(keras.Model):
    """Knows its inputs only from calls."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        """One layer."""
        return self.dense(x)


def test_a_subclassed_model_is_read_once_it_was_called(tmp_path):
    model = Subclassed()
    with pytest.raises(ModelError, match="call it once"):
        load(model)
    model(numbers(2, 4))
    graph = load(model)
    assert [layer.type for layer in find_layers(graph)[0]] == ["MatMul"]
    assert list(input_shapes(graph).values()) == [((None, 4), np.dtype(np.float32))]
    model.export(str(tmp_path / "own"), verbose=False)
    assert [layer.type for layer in find_layers(load(tmp_path / "own"))[0]] == ["MatMul"]


class SubclassedWithNames(keras.Model):
    """Layers that read a dictionary, and one in it."""

    def __init__(self):
        super().__init__()
        self.image, self.number = keras.layers.Dense(3), keras.layers.Dense(3)

    def call(self, x):
        """Two layers."""
        return self.image(x["img"]) + self.number(x["meta"]["n"])


def test_the_keys_of_a_subclassed_model_name_its_inputs():
    model = SubclassedWithNames()
    fed = {"img": numbers(2, 4), "n": numbers(2, 5)}
    expected = model({"meta": {"n": fed["n"]}, "img": fed["img"]})
    graph = load(model)
    assert graph.input_keys == ("img", "meta_n")
    (found,) = run_once(graph, {"img": fed["img"], "meta_n": fed["n"]})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_class_is_no_model():
    with pytest.raises(ModelError, match="a model cannot be a class, Subclassed\n.*a model that is made of it"):
        load(Subclassed)


def shared_head():
    """Six outputs of two layers, as a detector with a feature pyramid has them."""
    x = keras.Input([8, 8, 2], name="image")
    boxes, classes = keras.layers.Conv2D(4, 1, name="box"), keras.layers.Conv2D(3, 1, name="class")
    levels = [x, keras.layers.AveragePooling2D(2)(x), keras.layers.AveragePooling2D(4)(x)]
    return keras.Model(x, [head(level) for level in levels for head in (classes, boxes)])


@pytest.mark.parametrize("form", ["memory", "keras", "exported"])
def test_outputs_of_one_layer_that_is_called_several_times(form, tmp_path):
    model = shared_head()
    data = numbers(2, 8, 8, 2)
    if form == "keras":
        model.save(tmp_path / "m.keras")
    elif form == "exported":
        model.export(str(tmp_path / "m"), verbose=False)
    graph = load({"memory": model, "keras": tmp_path / "m.keras", "exported": tmp_path / "m"}[form])
    if form != "exported":
        assert graph.output_keys == ("class", "box", "class_1", "box_1", "class_2", "box_2")
    for found, wanted in zip(run_once(graph, {graph.input_keys[0]: data}), model(data), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_exported_model_with_more_than_ten_outputs_keeps_their_order(tmp_path):
    x = keras.Input([2])
    keras.Model(x, [keras.layers.Rescaling(float(factor))(x) for factor in range(12)]).export(
        str(tmp_path / "m"), verbose=False
    )
    graph = load(tmp_path / "m")
    results = run_once(graph, {graph.input_keys[0]: np.ones((1, 2), np.float32)})
    assert [float(value[0, 0]) for value in results] == list(range(12))


def test_one_tensor_that_is_two_outputs_and_an_input_that_is_an_output():
    x = keras.Input([4], name="x")
    y = keras.layers.Dense(3, name="y")(x)
    graph = load(keras.Model(x, [y, y, x]))
    data = numbers(2, 4)
    first, second, third = run_once(graph, {"x": data})
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(third, data)


def test_names_that_tensorflow_rejects():
    x = keras.Input([6, 6, 2], name="Bild Eingabe")
    y = keras.layers.Conv2D(4, 3, name="Faltung größe 1")(x)
    model = keras.Model(x, keras.layers.Conv2D(2, 1, name="输出")(y))
    graph = load(model)
    assert [layer.name for layer in model.layers][1:] == ["Faltung größe 1", "输出"]
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "Conv2D"]
    assert graph.output_keys == ("输出",)


def test_a_model_that_cannot_be_run_is_named():
    class Broken(keras.layers.Layer):
        def call(self, x, training=None):
            if training is False:
                raise RuntimeError("not made for inference")
            return x

    x = keras.Input([4])
    with pytest.raises(ModelError, match="not made for inference"):
        load(keras.Model(x, Broken()(x)))


def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = small("mixed")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    result = quantize(model, data=DATA)
    assert {layer.layer.type for layer in result.network.layers} == {"Conv2D", "MatMul"}
    assert any(entry["type"] == "AvgPool" for entry in result.report["left_in_float"])
    before, after = (run_once(graph, {"mixed": DATA})[0] for graph in (result.original, result.fakequant))
    np.testing.assert_allclose(before.astype(np.float32), after.astype(np.float32), atol=0.2)


def test_of_recurrent_layers_the_weights_are_quantized():
    x = keras.Input([5, 3])
    model = keras.Model(x, keras.layers.Dense(2, name="last")(keras.layers.GRU(4, unroll=False)(x)))
    result = quantize(model, data=numbers(16, 5, 3))
    assert [layer.layer.type for layer in result.network.layers][-1] == "MatMul"
    assert len(result.report["weight_only"]) == 2
    assert result.report["totals"]["weight_only_weights"] == 4 * 3 * (3 + 4)


def test_a_recurrent_layer_that_can_drop_out_in_training():
    """Its generator of random numbers is a variable that is assigned, for masks that inference does not use."""
    x = keras.Input([5, 3])
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.GRU(4, recurrent_dropout=0.2, dropout=0.1)(x)))
    data = numbers(4, 5, 3)
    graph = load(model)
    (found,) = run_once(graph, {graph.input_keys[0]: data})
    np.testing.assert_allclose(found, model.predict(data, verbose=0), rtol=0, atol=1e-5)


def test_an_exported_rnn_with_recurrent_dropout(tmp_path):
    """Its loop reads variables, and beside it stands the state of a generator of random numbers."""
    x = keras.Input([5, 3], name="x")
    rnn = keras.layers.LSTM(4, dropout=0.2, recurrent_dropout=0.3)
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Bidirectional(rnn)(x)))
    model.export(str(tmp_path / "m"), verbose=False)
    data = numbers(2, 5, 3)
    np.testing.assert_allclose(run_once(load(tmp_path / "m"), {"x": data})[0], model(data), atol=1e-6)


def _stacked_cells(x):
    cells = [keras.layers.LSTMCell(4), keras.layers.GRUCell(3), keras.layers.SimpleRNNCell(3)]
    return keras.layers.RNN(cells)(x)


def _adapted(x):
    layer = keras.layers.Dense(6)
    y = layer(x)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(numbers(2, 6, seed=5))
    return y


KINDS = {
    "a stack of recurrent cells": (_stacked_cells, 0),
    "grouped-query attention": (lambda x: keras.layers.GroupQueryAttention(4, 4, 2)(x, x), 6),
    "spectral norm": (lambda x: keras.layers.SpectralNormalization(keras.layers.Conv1D(3, 2))(x), 1),
    "low-rank adaptation": (_adapted, 1),
}


@pytest.mark.parametrize("name", KINDS)
def test_layers_made_of_others(name):
    build, products = KINDS[name]
    x = keras.Input([5, 6], name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="last")(build(x)))
    data = numbers(3, 5, 6)
    graph = load(model)
    np.testing.assert_allclose(run_once(graph, {"x": data})[0], model(data), atol=1e-5)
    layers, others = find_layers(graph)
    assert len(layers) == products + 1
    assert all("loop" in str(other.reason) for other in others)


@pytest.mark.parametrize("saved", [False, True])
def test_lists_within_a_dictionary_of_outputs(saved, tmp_path):
    x = keras.Input([4], name="x")
    y, z = keras.layers.Dense(3)(x), keras.layers.Dense(2)(x)
    model = keras.Model(x, {"z": y, "a": [y, {"q": z}], "b": z})
    data = numbers(5, 4)
    wanted = model(data, training=False)
    if saved:
        model.save(tmp_path / "small.keras")
    graph = load(tmp_path / "small.keras" if saved else model)
    found = dict(zip(graph.output_keys, run_once(graph, {"x": data}), strict=True))
    assert set(found) == {"z", "a_0", "a_1", "b"}
    for key, array in (("z", wanted["z"]), ("a_0", wanted["a"][0]), ("a_1", wanted["a"][1]["q"]), ("b", wanted["b"])):
        np.testing.assert_allclose(found[key], array, atol=1e-5)


@pytest.mark.parametrize("saved", [False, True])
def test_a_convolution_in_three_dimensions_with_groups(saved, tmp_path):
    keras.utils.set_random_seed(1)
    x = keras.Input([4, 5, 5, 4], name="x")
    y = keras.layers.Conv3D(6, 2, groups=2, padding="same", name="conv")(x)
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.ReLU()(y))))
    data = numbers(3, 4, 5, 5, 4)
    if saved:
        model.export(tmp_path / "saved", verbose=False)
    graph = load(tmp_path / "saved" if saved else model)
    np.testing.assert_allclose(run_once(graph, {"x": data})[0], model(data, training=False), atol=1e-5)
    layers, _ = find_layers(graph)
    assert [layer.type for layer in layers] == ["Conv3D", "Conv3D", "MatMul"]
    result = quantize(graph, data=data, export=["ascend", "tflite"])
    found = run_once(result.fakequant, {"x": data})[0]
    assert np.square(found - model(data, training=False)).sum() < 0.01 * np.square(found).sum()


def test_brain_floats_compute_as_float32():
    keras.utils.set_random_seed(1)
    x = keras.Input([6, 6, 2], dtype="float32")
    y = keras.layers.Conv2D(4, 3, activation="swish", dtype="mixed_bfloat16")(x)
    y = keras.layers.LayerNormalization(dtype="mixed_bfloat16")(keras.layers.Flatten()(y))
    model = keras.Model(x, keras.layers.Dense(3, dtype="mixed_bfloat16")(y))
    graph = load(model)
    assert graph.dtype(graph.outputs[0]) == tf.float32
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "MatMul"]
    wanted = tf.cast(model(DATA, training=False), tf.float32)
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: DATA})[0], wanted, atol=0.03)


def test_doubles_compute_as_float32():
    x = keras.Input([6, 6, 2], dtype="float64")
    y = keras.layers.Conv2D(4, 3, activation="relu", dtype="float64")(x)
    y = keras.layers.BatchNormalization(dtype="float64")(y)
    model = keras.Model(x, keras.layers.Dense(3, dtype="float64")(keras.layers.Flatten()(y)))
    graph = load(model)
    assert {graph.dtype(tensor) for tensor in (*graph.inputs, *graph.outputs)} == {tf.float32}
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "MatMul"]
    found = run_once(graph, {graph.input_keys[0]: DATA})[0]
    np.testing.assert_allclose(found, model(np.float64(DATA), training=False), rtol=1e-5, atol=1e-5)
    assert len(quantize(model, data=np.float64(DATA)).network.layers) == 2


def test_doubles_before_the_layers_stay_exact():
    """A time in seconds has more digits than float32."""
    x = keras.Input([4], dtype="float64")
    y = keras.layers.Lambda(lambda x: tf.cast(tf.math.floormod(x, 60.0), tf.float32), (4,))(x)
    model = keras.Model(x, keras.layers.Dense(3, dtype="float32")(y))
    data = 1.7e9 + np.float64(numbers(5, 4, scale=30))
    graph = load(model)
    assert graph.dtype(graph.inputs[0]) == tf.float64
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: data})[0], model(data), rtol=0, atol=1e-5)


def test_doubles_beyond_float32_are_its_largest():
    def masked(x):
        return tf.nn.softmax(x @ tf.constant(np.float64(numbers(4, 3))) + tf.constant([0.0, 0.0, -1e300], tf.float64))

    graph = load(tf.function(masked, input_signature=[tf.TensorSpec([None, 4], tf.float64, "x")]))
    found = run_once(graph, {"x": numbers(5, 4)})[0]
    np.testing.assert_allclose(found, masked(np.float64(numbers(5, 4))), rtol=0, atol=1e-6)


class Deciding(keras.layers.Layer):
    """Its code asks what a tensor holds."""

    def call(self, x):
        return -x if tf.reduce_sum(x) > 0 else x

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize(
    ("sizes", "layer", "message"),
    [
        (
            (None, None, 3),
            lambda: keras.layers.UpSampling2D(interpolation="bilinear"),
            r"UpSampling2D decides in Python by sizes that are open: inputs of \(None, None, 3\)\n.*fixed sizes",
        ),
        ((4, 4, 3), Deciding, r"Deciding decides in Python by what a tensor holds\n.*tf.where"),
    ],
    ids=["sizes", "values"],
)
def test_layers_that_decide_in_python(sizes, layer, message):
    x = keras.Input(sizes)
    model = keras.Model(x, layer()(keras.layers.Conv2D(4, 3)(x))) if None in sizes else keras.Sequential([x, layer()])
    with pytest.raises(ModelError, match=message):
        load(model)


@pytest.mark.parametrize("kind", ["dense", "attention", "low rank"])
def test_what_keras_has_quantized_is_called_that(kind):
    layers = tf.keras.layers
    x = tf.keras.Input([5, 8], name="x")
    layer = layers.Dense(8)
    model = tf.keras.Model(x, layer(layers.MultiHeadAttention(2, 4)(x, x) if kind == "attention" else x))
    if kind == "low rank":
        layer.enable_lora(2)
    model.quantize("int8")
    found, rejected = find_layers(load(model))
    assert any("is quantized already" in each.reason for each in rejected)
    if kind == "dense":
        assert not found
        with pytest.raises(ConfigError, match="is quantized already; give the model as it was before"):
            quantize(model, data=numbers(4, 5, 8))
