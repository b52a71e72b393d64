"""Loops over sequences: the converter has to know the shapes of their lists, so a file takes one sample a run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.interpreter import new_interpreter
from calibrant.evaluation import tflite_runner
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf


def network(cell):
    inputs = keras.Input((6, 4))
    x = layers.Dense(8, activation="relu")(inputs)
    x = layers.Bidirectional(cell(4, return_sequences=True))(x)
    return keras.Model(inputs, layers.Dense(3)(x))


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
def test_a_loop_stays_in_float_and_its_file_takes_one_sample(cell, tmp_path):
    keras.utils.set_random_seed(0)
    x = numbers(4, 6, 4, seed=3)
    result = calibrant.quantize(network(cell), "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model")
    assert not result.refused
    file = File((tmp_path / "out" / "model_int8.tflite").read_bytes())
    assert file.inputs()[0].signature == (1, 6, 4)
    assert [each.name for each in file.operators()].count("WHILE") == 2
    assert calibrant.verify(tmp_path / "out", x).passed


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
def test_a_loop_over_more_sequences_than_samples(cell, tmp_path):
    """Each of six roads, words or patches is a sequence; the states of the loop behind are those of samples again."""
    x = keras.Input((6, 5, 2))
    each = layers.TimeDistributed(cell(4))(x)
    model = keras.Model(x, layers.Dense(3)(cell(4)(each)))
    data = numbers(16, 6, 5, 2)
    result = calibrant.quantize(model, "batch_num: 1", [data], tmp_path / "out", export="tflite")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", data).passed


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_loops_of_keras_2(keras2, cell, tmp_path):
    keras2.utils.set_random_seed(0)
    inputs = keras2.Input([6, 4], name="x")
    inner = keras2.layers.Bidirectional(getattr(keras2.layers, cell)(4, return_sequences=True))(inputs)
    x = numbers(4, 6, 4, seed=3)
    model = keras2.Model(inputs, keras2.layers.Dense(3)(inner))
    result = calibrant.quantize(model, "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model")
    assert not result.refused
    assert len(result.network.weight_only) == 4  # two products in each loop
    assert calibrant.verify(tmp_path / "out", x).passed


def test_weights_of_a_loop_that_was_frozen_as_nodes(tmp_path):
    """TensorFlow's own freezing makes nodes of a loop, which it enters with its weights, and leaves unread ends."""
    into, again = numbers(4, 4, seed=1, scale=0.5), numbers(4, 4, seed=2, scale=0.5)

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 4], name="x")])
    def network(x):
        step = lambda time, state: (time + 1, tf.tanh(x[:, time] @ into + state @ again))  # noqa: E731
        return tf.while_loop(lambda time, state: time < 6, step, [0, tf.zeros([tf.shape(x)[0], 4])])[1]

    frozen = convert_variables_to_constants_v2(network.get_concrete_function()).graph.as_graph_def()
    assert "Enter" in [node.op for node in frozen.node]
    x = numbers(4, 6, 4, seed=3)
    result = calibrant.quantize(frozen, "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", x).passed


def test_the_batch_of_a_loop_may_be_chosen(tmp_path):
    keras.utils.set_random_seed(0)
    x = numbers(4, 6, 4, seed=3)
    calibrant.quantize(
        network(layers.SimpleRNN), "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model", tflite_batch=2
    )
    assert File((tmp_path / "out" / "model_int8.tflite").read_bytes()).inputs()[0].signature == (2, 6, 4)
    assert calibrant.verify(tmp_path / "out", np.concatenate([x, x])).passed


def old_loop():
    """As ``dynamic_rnn`` of TensorFlow 1.x: one array that is read, and one that is written."""
    x = tf.reshape(dense(tf.reshape(placeholder([1, 6, 4]), [6, 4]), 4, "one"), [6, 1, 4])
    read = tf.TensorArray(tf.float32, 6).unstack(x)
    recurrent = tf.constant(numbers(4, 4, seed=5, scale=0.5))

    def step(time, state, written):
        state = tf.tanh(read.read(time) + tf.matmul(state, recurrent))
        return time + 1, state, written.write(time, state)

    first = (0, tf.zeros([1, 4]), tf.TensorArray(tf.float32, 6, element_shape=[1, 4]))
    _, _, written = tf.compat.v1.while_loop(lambda time, *_: time < 6, step, first)
    return dense(tf.reshape(written.stack(), [6, 4]), 3, "two", seed=7)


def loop_of_an_open_batch(result):
    """As ``dynamic_rnn`` is frozen: elements begin with the open batch, and what is written comes through a Merge."""
    x = dense(tf.reshape(placeholder([None, 6, 4]), [-1, 4]), 4, "one")
    time_first = tf.transpose(tf.reshape(x, [-1, 6, 4]), [1, 0, 2])
    read = tf.TensorArray(tf.float32, 6, element_shape=[None, 4], infer_shape=False).unstack(time_first)
    recurrent = tf.constant(numbers(4, 4, seed=5, scale=0.5))

    def step(time, state, written):
        state = tf.tanh(read.read(time) + tf.matmul(state, recurrent))
        return time + 1, state, written.write(time, state)

    first = (0, time_first[0] * 0.0, tf.TensorArray(tf.float32, 6, element_shape=[None, 4], infer_shape=False))
    shapes = (tf.TensorShape([]), tf.TensorShape([None, 4]), None)
    _, state, written = tf.compat.v1.while_loop(lambda time, *_: time < 6, step, first, shape_invariants=shapes)
    if result == "state":
        return state
    return tf.transpose(written.stack(), [1, 0, 2], name="out")


def test_a_loop_beside_an_input_that_is_no_sample(tmp_path):
    keras.utils.set_random_seed(0)

    class Masked(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = network(layers.LSTM)

        @tf.function(input_signature=[tf.TensorSpec([None, 6, 4], name="x"), tf.TensorSpec([6, 4], name="mask")])
        def __call__(self, x, mask):
            return {"out": self.model(x * mask)}

    tf.saved_model.save(Masked(), str(tmp_path / "model"))
    data = {"x": numbers(5, 6, 4, seed=3), "mask": numbers(6, 4, seed=4)}
    result = calibrant.quantize(tmp_path / "model", "batch_num: 1", data, tmp_path / "out", export="tflite")
    assert not result.refused
    file = File((tmp_path / "out" / "model_int8.tflite").read_bytes())
    assert sorted(tensor.signature for tensor in file.inputs()) == [(1, 6, 4), (6, 4)]
    assert calibrant.verify(tmp_path / "out", data).passed


@pytest.mark.parametrize("result", ["state", "stack"])
def test_an_old_loop_of_an_open_batch_takes_one_sample(result, tmp_path):
    """Its result may be what leaves the loop itself."""

    def network():
        tf.compat.v1.disable_control_flow_v2()
        try:
            ends.append(loop_of_an_open_batch(result).name)
        finally:
            tf.compat.v1.enable_control_flow_v2()

    ends: list[str] = []
    definition = graph_def(network)
    assert (definition.node[[node.name for node in definition.node].index(ends[0][:-2])].op == "Exit") == (
        result == "state"
    )
    x = numbers(4, 6, 4, seed=3)
    options = {"export": "tflite", "name": "model", "outputs": ends}
    assert not calibrant.quantize(definition, "batch_num : 1", [x], tmp_path / "out", **options).refused
    assert File((tmp_path / "out" / "model_int8.tflite").read_bytes()).inputs()[0].signature == (1, 6, 4)
    assert calibrant.verify(tmp_path / "out", x).passed


def loop_behind_a_loop():
    """The second reads what the first has written, whose shape only the first's list tells."""

    def each(x, operation):
        read = tf.TensorArray(tf.float32, 6, infer_shape=False).unstack(x)
        first = (0, tf.TensorArray(tf.float32, 6, infer_shape=False))
        step = lambda time, written: (time + 1, written.write(time, operation(read.read(time))))  # noqa: E731
        return tf.compat.v1.while_loop(lambda time, *_: time < 6, step, first)[1].stack()

    x = tf.reshape(dense(tf.reshape(placeholder([1, 6, 4]), [6, 4]), 4, "one"), [6, 1, 4])
    weights = tf.constant(numbers(4, 4, seed=5, scale=0.5))
    once = each(x, lambda row: tf.tanh(tf.matmul(tf.ensure_shape(row, [1, 4]), weights)))
    return tf.reshape(each(once, tf.nn.relu), [6, 4])


def old_model(build):
    tf.compat.v1.disable_control_flow_v2()
    try:
        model = graph_def(lambda: tf.identity(build(), name="out"))
    finally:
        tf.compat.v1.enable_control_flow_v2()
    assert "TensorArrayReadV3" in [node.op for node in model.node]
    return model


@pytest.mark.parametrize("build", [old_loop, loop_behind_a_loop])
def test_the_arrays_of_an_old_loop(build, tmp_path):
    x = numbers(1, 6, 4, seed=3)
    out = tmp_path / "out"
    call = {"export": "tflite", "name": "model", "outputs": ["out"]}
    result = calibrant.quantize(old_model(build), "batch_num: 1", [x], out, **call)
    assert not result.refused
    assert "WHILE" in [each.name for each in File((tmp_path / "out" / "model_int8.tflite").read_bytes()).operators()]
    assert calibrant.verify(tmp_path / "out", x).passed


def test_an_array_of_unknown_elements_is_refused_in_one_line_with_what_helps():
    def build():
        x = dense(placeholder([None, 4]), 4, "one")
        read = tf.TensorArray(tf.float32, 6).unstack(tf.reshape(x, [6, -1, 4]))
        written = tf.TensorArray(tf.float32, 6)
        step = lambda time, written: (time + 1, written.write(time, tf.tanh(read.read(time))))  # noqa: E731
        return tf.compat.v1.while_loop(lambda time, *_: time < 6, step, (0, written))[1].stack()

    x = numbers(6, 4, seed=3)
    with pytest.raises(calibrant.ModelError, match="TensorArrayV3") as caught:
        calibrant.quantize(old_model(build), "batch_num: 1", [x], export="tflite", outputs=["out"])
    [problem] = caught.value.problems
    assert problem.hint == "the size of its elements is not known: fix the inputs, --tflite-shape x=SIZE,SIZE,…"
    options = {"export": "tflite", "outputs": ["out"], "tflite_shape": {"x": (6, 4)}}
    assert not calibrant.quantize(old_model(build), "batch_num: 1", [x], **options).refused


@pytest.mark.parametrize(("size", "end"), [(0, "stack"), (6, "concat")])
def test_an_array_that_grows_or_is_put_together_is_refused(size, end):
    def build():
        x = tf.reshape(dense(placeholder([6, 4]), 4, "one"), [6, 1, 4])
        read = tf.TensorArray(tf.float32, 6).unstack(x)
        written = tf.TensorArray(tf.float32, size, dynamic_size=not size)
        step = lambda time, written: (time + 1, written.write(time, tf.tanh(read.read(time))))  # noqa: E731
        return getattr(tf.compat.v1.while_loop(lambda time, *_: time < 6, step, (0, written))[1], end)()

    with pytest.raises(calibrant.ModelError, match="LiteRT has no operator for TensorArrayV3"):
        calibrant.quantize(old_model(build), "batch_num: 1", [numbers(6, 4)], export="tflite", outputs=["out"])


def test_a_simulated_loop_has_the_same_bytes_whatever_was_traced_before():
    keras.utils.set_random_seed(0)
    model, x = network(layers.SimpleRNN), numbers(4, 6, 4, seed=3)
    first, second = (calibrant.quantize(model, "batch_num: 1", [x], export="tflite").exported for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("cell", "made"), [(layers.SimpleRNN, 3), (None, 1)], ids=["loop", "no-loop"])
def test_a_file_with_loops_runs_once_in_each_interpreter(cell, made, tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    x, interpreters = numbers(4, 6, 4, seed=3), []
    inputs = keras.Input((6, 4))
    model = network(cell) if cell else keras.Model(inputs, layers.Dense(3)(inputs))
    calibrant.quantize(model, "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model")

    def counted(content):
        interpreters.append(new_interpreter(content))
        return interpreters[-1]

    monkeypatch.setattr(tflite_runner, "new_interpreter", counted)
    runner = tflite_runner.open_tflite(tmp_path / "out" / "model_int8.tflite")
    for _ in range(3):
        runner.run({0: x[:1]})
    assert len(interpreters) == made


def test_an_array_whose_elements_have_different_ranges():
    """The converter makes a concatenation of the writes, which the graph does not have."""

    def build():
        y = dense(placeholder([1, 6]), 6, "one")
        array = tf.TensorArray(tf.float32, 2, element_shape=[1, 6]).write(0, y).write(1, 8.0 * y)
        return array.read(1) * tf.cast(array.size(), tf.float32)

    x = numbers(40, 6, seed=3)
    made = calibrant.quantize(old_model(build), "batch_num: 40", x, export="tflite", outputs=["out"])
    lite = new_interpreter(made.exported["model_int8.tflite"])
    lite.allocate_tensors()
    [fed], [out] = lite.get_input_details(), lite.get_output_details()
    for row in x:
        lite.set_tensor(fed["index"], row[None])
        lite.invoke()
        [wanted] = run_once(made.fakequant, {made.fakequant.input_keys[0]: row[None]})
        np.testing.assert_allclose(lite.get_tensor(out["index"]), wanted, atol=0.02 * np.abs(wanted).max())


class Stepping(tf.Module):
    """A loop written with AutoGraph, whose weights are constants of its body."""

    def __init__(self, product):
        self.product, self.weights = product, tf.Variable(numbers(4, 6, seed=1, scale=0.3))

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 4], name="x")])
    def __call__(self, x):
        state = tf.zeros([tf.shape(x)[0], 6])
        for step in tf.range(5):
            state = tf.tanh(self.product(x[:, step], self.weights) + state)
        return {"out": tf.matmul(state, tf.constant(numbers(6, 3, seed=2)))}


@pytest.mark.parametrize("product", [tf.matmul, lambda a, b: tf.einsum("bi,ij->bj", a, b)], ids=["matmul", "einsum"])
def test_a_loop_whose_weights_are_quantized_has_a_file(product, tmp_path):
    module, x = Stepping(product), numbers(8, 5, 4, seed=3)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.__call__.get_concrete_function())
    result = calibrant.quantize(tmp_path / "model", "batch_num: 1", [x], tmp_path / "out", export="tflite")
    assert not result.refused
    assert b"weights_quantized" in result.fakequant.graph_def().SerializeToString()
    assert calibrant.verify(tmp_path / "out", x).passed


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_a_loop_of_half_precision(policy, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 4), dtype="float32")
    x = layers.LSTM(4, dtype=policy)(layers.Dense(4, dtype=policy)(inputs))
    model = keras.Model(inputs, layers.Dense(3, dtype=policy)(x))
    x = numbers(16, 6, 4)
    result = calibrant.quantize(model, data=x, samples=16, export="tflite", out=tmp_path / "out", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", x).passed


def test_states_that_belong_to_one_sample(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(1, 6, 4))
    model = keras.Model(inputs, layers.Dense(3)(layers.LSTM(4, stateful=True)(layers.Dense(4)(inputs))))
    x = numbers(16, 6, 4)
    result = calibrant.quantize(model, data=x, samples=16, export="tflite", out=tmp_path / "out", name="model")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", x).passed


def test_what_reads_a_loop_names_it_as_the_cause(tmp_path):
    x = keras.Input((6, 4))
    steps = layers.LSTM(6, return_sequences=True)(layers.Masking()(x))
    model = keras.Model(x, layers.TimeDistributed(layers.Dense(3))(steps))
    data = [numbers(4, 6, 4, seed=3)]
    result = calibrant.quantize(model, "batch_num: 1", data, tmp_path / "out", export="tflite")
    rows = result.report["exports"]["tflite"]["operators_in_float"]
    reasons = {row["reason"] for row in rows if row["operator"] == "STRIDED_SLICE"}
    assert reasons == {"reads what WHILE makes, which runs in float"}


def test_a_loop_of_a_saved_model_that_reads_a_variable(tmp_path):
    """The function that TensorFlow has frozen says nothing of the variable any more."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = placeholder([None, 8])
        weights = v1.get_variable("w", initializer=numbers(8, 8), use_resource=True)
        _, y = tf.while_loop(lambda t, _: t < 3, lambda t, h: (t + 1, tf.tanh(tf.matmul(h, weights))), [0, x])
        y = dense(y, 4)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": x}, {"out": y})
    data = numbers(16, 8)
    result = calibrant.quantize(tmp_path / "saved", "batch_num: 1", [data], tmp_path / "out", export="tflite")
    assert not result.refused
    assert calibrant.verify(tmp_path / "out", data).passed
