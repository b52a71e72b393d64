"""Networks of other forms as LiteRT files: channels first, several inputs and outputs, what settings leave in them."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.conversion.convert import convert, converter_problem
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.simulation.simulate import between_node
from calibrant.errors import ModelError
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import contents, definition, exported, image, layer_operators, model_of, read_as_made, steps_apart
from this_tensorflow import skipped_without_the_operation

FIRST = {"data_format": "NCHW"}


def first(x, channels, name, seed=1, **options):
    """A 3x3 convolution with channels first."""
    weights = tf.constant(numbers(3, 3, int(x.shape[1]), channels, seed=seed, scale=0.3))
    return tf.nn.conv2d(x, weights, 1, "SAME", name=name, **FIRST, **options)


def first_biased():
    y = tf.nn.bias_add(first(image(4, 8, 6), 5, "one"), tf.constant(numbers(5, seed=5)), **FIRST)
    return first(tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "VALID", **FIRST), 3, "two", seed=3)


def first_residual():
    y = tf.nn.relu(first(image(4, 8, 6), 4, "one"))
    return first(tf.nn.relu(first(y, 4, "two", seed=4) + y), 3, "three", seed=6)


def first_padded():
    padding = [[0, 0], [0, 0], [2, 1], [0, 3]]
    weights = tf.constant(numbers(3, 3, 4, 5, seed=7, scale=0.3))
    return tf.nn.conv2d(image(4, 8, 6), weights, [1, 1, 2, 2], padding, name="one", **FIRST)


def first_mean():
    return dense(tf.reduce_mean(tf.nn.relu(first(image(4, 8, 6), 4, "one")), [2, 3]))


def first_global():
    y = tf.nn.avg_pool2d(tf.nn.relu(first(image(4, 8, 6), 4, "one")), [8, 6], 1, "VALID", name="pool", **FIRST)
    return dense(tf.reshape(y, [-1, 4]))


def first_local():
    y = tf.nn.avg_pool2d(tf.nn.relu(first(image(4, 8, 6), 4, "one")), 2, 2, "VALID", name="pool", **FIRST)
    return first(y, 3, "two", seed=4)


def first_depthwise():
    weights = tf.constant(numbers(3, 3, 4, 1, seed=3))
    return tf.nn.depthwise_conv2d(image(4, 8, 6), weights, [1, 1, 1, 1], "SAME", name="dw", **FIRST)


def first_transposed():
    weights = tf.constant(numbers(3, 3, 5, 4, seed=3, scale=0.3))
    return tf.nn.conv2d_transpose(placeholder([2, 4, 4, 6]), weights, [2, 5, 8, 12], 2, "SAME", name="up", **FIRST)


def first_of_three_axes():
    y = tf.squeeze(first(image(4, 1, 6), 5, "one"), 2)
    return tf.nn.relu(tf.nn.bias_add(y, tf.constant(numbers(5, seed=5)), **FIRST))


def first_with_exact_gelu():
    y = first(image(4, 8, 6), 5, "one")
    return first(0.5 * y * (1 + tf.math.erf(y * np.float32(0.5**0.5))), 3, "two", seed=3)


def first_dilated():
    """As TensorFlow 1 writes dilated convolutions: the space between taps becomes more samples."""
    y = tf.nn.relu(first(image(4, 8, 6), 4, "one"))
    y = tf.space_to_batch(y, [1, 2, 2], [[0, 0], [2, 2], [2, 2]])
    y = tf.nn.conv2d(y, tf.constant(numbers(3, 3, 4, 4, seed=4, scale=0.3)), 1, "VALID", name="two", **FIRST)
    return first(tf.nn.relu(tf.batch_to_space(y, [1, 2, 2], [[0, 0]] * 3)), 3, "three", seed=6)


def first_normalized():
    y = tf.nn.relu(first(image(4, 8, 6), 4, "one"))
    mean, variance = tf.nn.moments(y, [2, 3], keepdims=True)
    return first((y - mean) / tf.sqrt(variance + 1e-2), 3, "two", seed=3)


def first_biased_along_the_width():
    """As Keras writes it where there are as many channels as columns."""
    y = tf.nn.bias_add(first(image(4, 8, 6), 6, "one"), tf.constant(numbers(6, seed=5)), name="one/bias")
    return first(tf.nn.relu(y), 3, "two", seed=3)


@pytest.mark.parametrize(
    "build",
    [
        first_biased,
        first_biased_along_the_width,
        first_residual,
        first_padded,
        first_mean,
        first_global,
        first_local,
        first_depthwise,
        first_transposed,
        first_with_exact_gelu,
        first_dilated,
        first_normalized,
    ],
)
def test_channels_first(build):
    with skipped_without_the_operation():
        result, x = exported(model_of(build))
        apart, file = steps_apart(result, x)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
    assert {layer.layer.name for layer in result.network.layers} == layer_operators(result).keys()
    inner = [operator.name for operator in file.operators() if operator.name not in {"QUANTIZE", "DEQUANTIZE"}][1:-1]
    assert "TRANSPOSE" not in inner or build is first_global


def test_a_tensor_that_is_read_with_channels_first_and_last_is_known_in_both_orders():
    def build():
        y = tf.nn.relu(first(image(4, 8, 6), 4, "one"))
        mean = tf.reduce_mean(y, [2, 3], keepdims=True)
        scores = dense(tf.transpose(mean, [0, 1, 3, 2])[..., 0, 0])
        return tf.concat([scores, tf.reshape(first(y - mean, 3, "two", seed=3), [-1, 144])], 1)

    with skipped_without_the_operation():
        result, x = exported(model_of(build))
        apart, _ = steps_apart(result, x)
    assert apart.max() <= 1.001
    assert not result.export_notes["tflite"]["operators_in_float"]


def test_channels_first_of_three_axes():
    with skipped_without_the_operation():
        result, x = exported(model_of(first_of_three_axes))
        apart, _ = steps_apart(result, x)
    assert apart.max() <= 1.001


def several():
    """Three inputs, not in the order of their names; three outputs, one of them in the middle, one a Softmax."""
    images, maps, features = (
        placeholder([None, 8, 8, 4], "z"),
        placeholder([None, 8, 8, 3], "a"),
        placeholder([None, 6], "m"),
    )
    joined = tf.nn.relu(conv(images, name="one") + conv(maps, name="two", seed=4), name="joined")
    conv(joined, 5, name="three", seed=6)
    dense(tf.concat([tf.reduce_mean(joined, [1, 2]), features], 1), 7, name="head", seed=8)
    tf.nn.softmax(dense(features, 3, name="side", seed=10), name="probabilities")


def parts():
    """Both halves of a Split are read, and one is an output itself."""
    one, two = tf.split(conv(image(), name="one"), 2, 3, name="parts")
    conv(one, 3, name="two", seed=4)
    tf.identity(two, name="rest")


OUTPUTS = {several: ["probabilities", "three", "joined", "head/bias"], parts: ["parts:1", "two"]}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("io", ["float32", "int8"])
@pytest.mark.parametrize("build", OUTPUTS)
def test_several_inputs_and_outputs(build, io, batch):
    model = graph_def(build)
    graph = load(model, outputs=OUTPUTS[build])

    def values(seed, count=3):
        return {
            key: numbers(count, *graph.shape(tensor)[1:], seed=seed + place, scale=1 + place)
            for place, (key, tensor) in enumerate(zip(graph.input_keys, graph.inputs, strict=True))
        }

    result = calibrant.quantize(
        model,
        "batch_num: 3",
        [values(10 * each) for each in range(3)],
        outputs=OUTPUTS[build],
        export="tflite",
        tflite_io=io,
        tflite_batch=batch,
    )
    [content] = [value for name, value in result.exported.items() if name.endswith(".tflite")]
    simulation, runner = contents(result, result.export_notes["tflite"]["simulation_outputs"])[1], TfliteRunner(content)
    assert {tensor.dtype.name for tensor in (*runner.file.inputs(), *runner.file.outputs())} == {io}
    assert {tensor.shape[0] for tensor in runner.file.inputs()} == {batch or 1}
    x = values(99)
    runner.run(dict(enumerate(x.values())))
    fetches = [f"{between_node(point)}:0" for point in runner.points]
    for point, wanted in zip(runner.points, run_once(simulation, x, fetches), strict=True):
        found = runner.real(point)
        assert found.shape == wanted.shape and np.ptp(wanted) > 10 * point.scale[0]
        apart = np.abs(found - wanted) / point.scale[0]
        assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.95


def test_an_input_without_axes_is_the_same_for_all_samples(tmp_path):
    def build():
        factor, y = placeholder([], "factor"), tf.nn.relu(conv(placeholder([None, 8, 8, 4]), name="one"))
        conv(y * factor, 3, name="out", seed=4)

    data = [{"factor": np.float32(1.5 + turn), "x": numbers(3, 8, 8, 4, seed=turn)} for turn in range(2)]
    calibrant.quantize(graph_def(build), "batch_num: 2", data, tmp_path, outputs=["out"], export="tflite", name="two")
    found = calibrant.verify(tmp_path, data)
    assert found.passed and all(model.samples == 6 for model in found.models)
    assert calibrant.golden(tmp_path, data)


def gated():
    """The second input is read by an operation in float alone."""
    y = conv(image(), name="one")
    conv(y * tf.sigmoid(placeholder([None, 1, 1, 4], "gate")), name="two", seed=4)


def test_an_input_that_cannot_be_int8_is_refused_by_name():
    data = {"x": numbers(4, 8, 8, 4), "gate": numbers(4, 1, 1, 4)}
    for io in ("float32", "int8"):
        if io == "int8":
            with pytest.raises(calibrant.ModelError, match="the input gate is float"):
                calibrant.quantize(graph_def(gated), data=[data], export="tflite", tflite_io=io, tflite_ops="layers")
        else:
            calibrant.quantize(graph_def(gated), data=[data], export="tflite", tflite_io=io)


def test_what_balancing_leaves_in_front_of_a_layer_is_float_and_has_the_simulations_numbers():
    """Channels that differ by orders of magnitude, which no int8 constant with one scale could hold."""
    spread = np.array([1e-3, 0.05, 1, 40], np.float32)

    def build():
        tf.identity(conv(image() * spread, name="one"), name="out")

    result, x = exported(graph_def(build), "batch_num: 4 common_config { dmq_balancer { migration_strength: 0.5 } }")
    factors = result.network.layers[0].balance
    assert factors.max() / factors.min() > 100
    apart, file = steps_apart(result, x)
    products = [operator for operator in file.operators() if operator.name == "MUL"]
    assert products and all(operator.outputs[0].dtype == np.float32 for operator in products)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
    assert layer_operators(result).keys() == {"one"}


def test_a_balanced_product_of_rows_has_the_simulations_numbers():
    spread = np.array([1e-3, 0.05, 1, 40], np.float32)

    def build():
        rows = tf.reshape(image(), [-1, 64, 4]) * spread
        tf.identity(tf.raw_ops.BatchMatMulV2(x=rows, y=numbers(4, 5), name="rows"), name="out")

    result, x = exported(graph_def(build), "batch_num: 4 common_config { dmq_balancer { migration_strength: 0.5 } }")
    factors = result.network.layers[0].balance
    assert factors.max() / factors.min() > 100
    apart, _ = steps_apart(result, x)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
    assert layer_operators(result).keys() == {"rows"}


def test_joint_quantization_gives_both_sides_of_an_addition_the_same_factors():
    result, x = exported(definition("residual"), "batch_num: 4 joint_quant: true")
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
    [addition] = [operator for operator in file.operators() if operator.name == "ADD"]
    groups = {entry.group for entry in result.network.every_input() if entry.group is not None}
    assert groups
    factors = {(float(tensor.scale[0]), tensor.zero_point) for tensor in addition.inputs}
    joint = {entry.quantizer for entry in result.network.every_input() if entry.group is not None}
    assert factors == {(float(quantizer.scale), quantizer.offset) for quantizer in joint}


@pytest.mark.parametrize("index", [0, 1])
def test_a_tensor_quantizer_is_in_the_file(index):
    config = f'batch_num: 4 tensor_quantize {{ layer_name: "add" input_index: {index} }}'
    result, x = exported(definition("residual"), config)
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
    [found] = result.network.tensors
    [addition] = [operator for operator in file.operators() if operator.name == "ADD"]
    assert (found.quantizer.scale, found.quantizer.offset) in [
        (tensor.scale[0], tensor.zero_point) for tensor in addition.inputs
    ]


SETTINGS = {
    "symmetric": "activation_offset: false",
    "per tensor": "common_config { arq_quantize { channel_wise: false } }",
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", ["attention", "transposed", "depthwise, multiplier 2", "constant batch product"])
def test_settings_on_other_layers(name, settings):
    result, x = exported(definition(name), f"batch_num: 4 {settings}")
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
    found = layer_operators(result)
    for layer in result.network.layers:
        operator = found[layer.layer.name]
        assert operator.outputs[0].dtype == np.int8
        if layer.weights is not None:
            assert np.array_equal(operator.inputs[1].scale, layer.weights.scale)
        if layer.layer.is_dynamic:
            wanted = [(entry.quantizer.scale, entry.quantizer.offset) for entry in layer.inputs]
            if read_as_made(file, operator):
                wanted[0] = (1 / 256, -128)
            assert [(tensor.scale[0], tensor.zero_point) for tensor in operator.inputs] == wanted


@pytest.mark.parametrize("name", ["residual", "softmax", "attention", "token", "global average"])
def test_integer_inputs_and_outputs_of_a_fixed_batch(name):
    plain, x = exported(definition(name))
    integer, _ = exported(definition(name), tflite_io="int8", tflite_batch=5)
    float_runner, runner = TfliteRunner(contents(plain)[0]), TfliteRunner(contents(integer)[0])
    float_runner.run({0: x[:5]})
    runner.run({0: x[:5]})
    [tensor], [expected] = runner.file.outputs(), float_runner.file.outputs()
    assert runner.file.inputs()[0].shape[0] == 5 and runner.first_sizes == {0: 5}
    assert tensor.dtype == np.int8
    np.testing.assert_array_equal(runner.real(tensor), float_runner.real(expected))


def test_a_file_of_a_fixed_batch_takes_no_other():
    result, x = exported(definition("conv"), tflite_batch=3)
    runner = TfliteRunner(contents(result)[0])
    with pytest.raises(calibrant.ModelError, match="does not run it"):
        runner.run({0: x[:4]})


def test_the_layers_of_a_file_with_int8_ends_are_those_of_one_with_float_ends():
    """Only the ends differ."""
    files = [File(contents(exported(definition("residual"), tflite_io=io)[0])[0]) for io in ("float32", "int8")]
    kinds = [[operator.name for operator in file.operators()] for file in files]
    assert kinds[0] == ["QUANTIZE", *kinds[1], "DEQUANTIZE"]


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_narrower_floats_become_float32(dtype):
    def build():
        x = tf.cast(placeholder([None, 8, 8, 4]), dtype)
        weights = tf.constant(numbers(3, 3, 4, 2).astype(dtype.as_numpy_dtype))
        y = tf.nn.conv2d(x, weights, 1, "SAME", name="narrow")
        tf.identity(conv(tf.cast(y, tf.float32), name="wide", seed=4), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 0.01
    assert {tensor.dtype for tensor in file.tensors()} <= {np.dtype(kind) for kind in ("int8", "int32", "float32")}


def test_an_input_that_is_divided_may_be_int8():
    def build():
        x = image()
        conv(x / (tf.reduce_max(tf.abs(x), [1, 2, 3], keepdims=True) + 1.0), name="out")

    result, _ = exported(graph_def(build), tflite_io="int8")
    file = File(contents(result)[0])
    assert {tensor.dtype for tensor in (*file.inputs(), *file.outputs())} == {np.dtype(np.int8)}


def test_a_narrow_input_is_fed_as_the_file_wants_it(tmp_path):
    def build():
        x = tf.compat.v1.placeholder(tf.float16, [None, 8], "x")
        tf.matmul(x, tf.constant(numbers(8, 4).astype(np.float16)), name="out")

    data = [numbers(4, 8, seed=turn).astype(np.float16) for turn in range(2)]
    calibrant.quantize(graph_def(build), "batch_num: 2", data, tmp_path, export="tflite", name="narrow")
    assert calibrant.verify(tmp_path, data).passed


def test_what_the_converter_does_not_take_is_said_in_one_line():
    def build():
        y = conv(image(), name="one")
        made = tf.raw_ops.EmptyTensorList(
            element_shape=-1, max_num_elements=-1, element_dtype=tf.float32, name="decoder/list"
        )
        pushed = tf.raw_ops.TensorListPushBack(input_handle=made, tensor=y)
        _, taken = tf.raw_ops.TensorListPopBack(input_handle=pushed, element_shape=-1, element_dtype=tf.float32)
        tf.identity(taken, name="out")

    with pytest.raises(ModelError) as found:
        exported(graph_def(build))
    [problem] = found.value.problems
    assert problem.path == "decoder/list"
    assert "EmptyTensorList: requires element_shape" in problem.message
    assert "\n" not in problem.message
    assert ".py" not in problem.message


def test_an_error_that_names_no_operator_keeps_its_first_line():
    graph = load(graph_def(lambda: tf.identity(conv(image()), name="out")))
    problem = converter_problem("model.py:31:1: error: operand #0 does not dominate this use\n call()\n ^\n", graph)
    assert problem.path is None
    assert problem.message.endswith("(operand #0 does not dominate this use)")


def test_a_long_reason_is_cut_between_words():
    graph = load(graph_def(lambda: tf.identity(conv(image()), name="out")))
    message = converter_problem(f"{'reason ' * 28}'map/while/Reshape_1'", graph).message
    assert message.endswith("reason …)")


def test_an_interrupt_that_comes_back_as_another_error_is_not_the_models(monkeypatch):
    text = (
        "pybind11::error_already_set: MISMATCH of original and normalized active exception types: "
        "ORIGINAL InvalidArgumentError REPLACED BY KeyboardInterrupt: <EMPTY MESSAGE>\n\nAt:\n  importer.py(305): f\n"
    )

    def interrupted(graph):
        raise RuntimeError(text)

    monkeypatch.setattr("calibrant.emit.tflite.conversion.convert._function", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(load(graph_def(lambda: tf.identity(conv(image()), name="out"))))


def test_an_error_with_a_location_names_the_node():
    graph = load(graph_def(lambda: tf.identity(conv(image(), name="part/one"), name="out")))
    text = '<unknown>:0: error: loc(fused["Conv2D:", "one@inner_f_12", "part/one"]): failed to legalize\n'
    problem = converter_problem(text + "error: 'tf.Relu' op is not here", graph)
    assert problem.path == "part/one" and problem.message.endswith("(Conv2D: failed to legalize)")


def test_a_loop_with_weights(tmp_path):
    def step(at, z):
        return at + 1, conv(z, name="inside", seed=5)

    def build():
        y = conv(image(), name="one")
        _, last = tf.while_loop(lambda at, _: at < 3, step, [tf.constant(0), y])
        tf.identity(conv(last, name="two", seed=4), name="out")

    x = numbers(2, 8, 8, 4)
    options = {"outputs": ["out"], "inputs": ["x"], "export": "tflite"}
    result = calibrant.quantize(graph_def(build), "batch_num: 1", [x], tmp_path / "out", **options)
    [content] = (value for name, value in result.exported.items() if name.endswith(".tflite"))
    assert "WHILE" in [each.name for each in File(content).operators()]
    assert calibrant.verify(tmp_path / "out", x).passed


def test_an_input_of_unknown_rank_needs_its_shape():
    def build():
        y = tf.compat.v1.placeholder(tf.float32, None, name="x")
        weights = tf.constant(numbers(3, 3, 4, 4, seed=1, scale=0.3))
        tf.identity(tf.nn.conv2d(y, weights, 1, "SAME", name="one"), name="out")

    data = [numbers(2, 8, 8, 4)]
    with pytest.raises(ModelError) as refused:
        calibrant.quantize(graph_def(build), "batch_num: 1", data, export="tflite")
    [problem] = refused.value.problems
    assert "--tflite-shape x=1,8,8,4" in problem.hint and problem.path == "one"
    shape = {"x": (2, 8, 8, 4)}
    assert calibrant.quantize(graph_def(build), "batch_num: 1", data, export="tflite", tflite_shape=shape).exported


def test_lists_of_tensors_that_the_converter_refuses_say_what_to_do():
    text = "error: 'tf.TensorListReserve' op requires element_shape to be static during TF Lite transformation pass"
    assert "unroll=True" in converter_problem(text, load(definition("conv"))).hint


@pytest.mark.parametrize("kind", [tf.float16, tf.bfloat16, tf.float64])
def test_a_gelu_of_another_precision_is_one(kind):
    def build():
        y = tf.cast(conv(image(), name="one"), kind)
        root = tf.constant(np.sqrt(0.5), kind)
        gelu = (tf.constant(0.5, kind) * y) * tf.math.erfc(-y * root)
        tf.identity(conv(tf.cast(gelu, tf.float32), name="two", seed=5), name="out")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1.01
    assert "GELU" in [each.name for each in file.operators()]


@pytest.mark.parametrize("width", [4, 32])  # of the last axis; as many as there are samples
def test_a_condition_for_each_sample_chooses_rows(width):
    def build():
        y = dense(placeholder([None, 6]), width, "one")
        chosen = tf.compat.v1.where(y[:, 0] > 0, dense(y, width, "two"), y)  # Select: SelectV2 would broadcast
        dense(chosen, name="last")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert "SELECT" in {each.name for each in file.operators()}
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


def rows_transposed(y):
    product = dense(tf.reshape(y, [-1, 4]), 6, "rows")
    return tf.transpose(tf.reshape(product, [-1, 64, 6]), [0, 2, 1])


@pytest.mark.parametrize(
    "moved",
    [
        lambda y: tf.nn.relu(rows_transposed(y)),
        lambda y: tf.nn.relu(tf.einsum("bhwc,cd->bdhw", y, numbers(4, 6, seed=7))),
        lambda y: tf.transpose(y[:, :, :, 0], [0, 2, 1]) + rows_transposed(y)[:, :1, :8],
    ],
)
def test_an_activation_that_the_converter_computes_before_a_transposition(moved):
    def build():
        y = moved(tf.nn.relu(conv(image())))
        dense(tf.reduce_mean(y, list(range(2, y.shape.rank))), name="last")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    assert not [each.name for each in file.operators() if each.outputs[0].dtype == np.float32][:-1]
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99


@pytest.mark.parametrize("flags", [{}, {"transpose_b": True}, {"transpose_a": True}])
def test_products_of_two_activations_with_two_axes(flags):
    """The converter would lose the Relu, and make dense layers of float of them."""

    def build():
        x = placeholder([6, 6])
        product = tf.matmul(dense(x, 6, "one"), dense(x, 6, "two", seed=5), name="product", **flags)
        dense(tf.nn.relu(product * 0.5), name="last")

    result, x = exported(graph_def(build))
    apart, file = steps_apart(result, x)
    names = [each.name for each in file.operators() if each.outputs[0].dtype == np.int8]
    assert "BATCH_MATMUL" in names and names.count("FULLY_CONNECTED") == 3
    assert [each.name for each in file.operators() if each.outputs[0].dtype == np.float32] == ["DEQUANTIZE"]
    assert apart.max() <= 1.001 and np.mean(apart <= 0.01) >= 0.99
