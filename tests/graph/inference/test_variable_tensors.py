"""Variables that loops, branches and functions read are constants in a loaded graph, whichever operation reads them."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from calibrant import quantize, verify
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.other_products import LOOKUP
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf

keras = tf.keras
BATCH = numbers(5, 6)


class Decoder(tf.Module):
    """Looks up what it said last; made of a function of the state, the token and the module."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.table = tf.Variable(numbers(12, 8, seed=1))
        self.tables = tf.Variable(numbers(1, 12, 8, seed=4))
        self.product = tf.Variable(numbers(8, 12, seed=2))
        self.start = tf.Variable(numbers(6, 8, seed=3))

    @tf.function(input_signature=[tf.TensorSpec([None, 6], name="x")])
    def __call__(self, x):
        """Logits."""
        state = tf.tanh(tf.matmul(x, self.start))
        state, token = self.inner(self, state, tf.argmax(state, -1))
        return {"logits": tf.matmul(tf.reshape(state, [-1, 8]), self.product), "token": token}


def step(module, state, token):
    state = tf.tanh(state + tf.gather(module.table, token))
    return state, tf.argmax(tf.matmul(state, module.product), -1)


def looped(module, state, token, one=step, times=3):
    shapes = [tf.TensorShape([]), tf.TensorShape([None, 8]), tf.TensorShape([None])]
    body = lambda at, *rest: (at + 1, *one(module, *rest))  # noqa: E731
    return tuple(tf.while_loop(lambda at, *_: at < times, body, [0, state, token], shape_invariants=shapes)[1:])


def branched(module, state, token, one=step):
    return tf.cond(tf.reduce_sum(state) > 0, lambda: one(module, state, token), lambda: step(module, -state, 0 * token))


def chosen(module, state, token):
    first = tf.cast(tf.reduce_sum(state) > 0, tf.int32)
    return tf.switch_case(first, [lambda: step(module, state, token), lambda: step(module, -state, token)])


def called(module, state, token):
    """A call in a loop, which is not inlined."""
    inside = tf.function(lambda *given: step(module, *given))
    return looped(module, state, token, one=lambda _, *given: inside(*given))


def with_points(module, state, token):
    return tf.tanh(state + tf.gather_nd(module.table, token[:, None])), token


def with_size(module, state, token):
    return state + tf.cast(tf.shape(module.table)[0], tf.float32), token


def with_batches(module, state, token):
    rows = tf.raw_ops.ResourceGather(resource=module.tables.handle, indices=token[None], dtype=tf.float32, batch_dims=1)
    return tf.tanh(state + rows[0]), token


FORMS = {
    "a loop": looped,
    "a branch": branched,
    "several branches": chosen,
    "a call in a loop": called,
    "a loop in a loop": lambda *given: looped(*given, one=looped),
    "a loop in a branch": lambda *given: branched(*given, one=looped),
    "a branch in a loop": lambda *given: looped(*given, one=branched),
    "two loops": lambda module, *given: looped(module, *looped(module, *given), times=2),
    "single elements": lambda *given: looped(*given, one=with_points),
    "the size of a table": lambda *given: looped(*given, one=with_size),
    "the graph itself": with_points,
}


@pytest.mark.parametrize("saved", [False, True], ids=["function", "SavedModel"])
@pytest.mark.parametrize("form", FORMS)
def test_every_reading_of_a_variable(form, saved, tmp_path):
    module = Decoder(FORMS[form])
    model = module.__call__.get_concrete_function()
    if saved:
        tf.saved_model.save(module, str(tmp_path / "m"), model)
        model = tmp_path / "m"
    graph = load(model)
    library = graph.library.function
    assert not any(argument.type == tf.resource for each in library for argument in each.signature.input_arg)
    if form != "the size of a table":  # TensorFlow's conversion numbers functions through the process
        assert graph.serialized() == load(model).serialized()
    expected = module(BATCH)
    for key, found in zip(graph.output_keys, run_once(graph, {"x": BATCH}), strict=True):
        np.testing.assert_allclose(found, expected[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("form", "lookups"), [("a loop", 1), ("a loop in a branch", 2), ("two loops", 2)])
def test_the_tables_are_listed(form, lookups):
    module = Decoder(FORMS[form])
    _, others = find_layers(load(module.__call__.get_concrete_function()))
    assert [other.reason for other in others if other.type == "GatherV2"] == [LOOKUP] * lookups


@pytest.mark.parametrize("form", ["the graph", "a loop"])
def test_tables_for_each_of_a_batch(form, tmp_path):
    module = Decoder(with_batches if form == "the graph" else lambda *given: looped(*given, one=with_batches))
    tf.saved_model.save(module, str(tmp_path / "m"), module.__call__.get_concrete_function())
    graph = load(tmp_path / "m", outputs=["logits"])
    np.testing.assert_allclose(run_once(graph, {"x": BATCH})[0], module(BATCH)["logits"], rtol=0, atol=1e-5)


def test_a_variable_that_a_loop_assigns():
    def assigning(module, state, token):
        module.start.assign_add(tf.ones_like(module.start))
        return step(module, state, token)

    module = Decoder(lambda *given: looped(*given, one=assigning))
    with pytest.raises(ModelError, match="assigns a variable while it runs .AssignAddVariableOp"):
        load(module.__call__.get_concrete_function())


def test_a_decoder_that_tensorflow_froze():
    module = Decoder(looped)
    frozen = convert_variables_to_constants_v2(module.__call__.get_concrete_function(), lower_control_flow=False)
    with pytest.raises(ModelError, match="give the SavedModel folder or the model in memory"):
        load(frozen.graph.as_graph_def(), outputs=["Identity"])


def test_a_decoder_as_a_file_of_integers(tmp_path):
    """A sample that chooses another word by a hair says other things from there on, so the median one is judged."""
    module = Decoder(looped)
    tf.saved_model.save(module, str(tmp_path / "m"), module.__call__.get_concrete_function())
    data = numbers(32, 6, seed=7)
    graph = quantize(tmp_path / "m", data=data, out=tmp_path / "out", export="tflite").network.graph
    found = dict(zip(graph.output_keys, run_once(graph, {"x": data}), strict=True))["logits"]
    expected = module(data)["logits"].numpy()
    errors = np.mean((found - expected) ** 2, axis=1) / np.mean(expected**2, axis=1)
    assert np.median(errors) < 0.01
    assert verify(tmp_path / "out", data).passed


class Speaker(keras.layers.Layer):
    """An embedding that a loop calls."""

    def __init__(self):
        super().__init__()
        self.words = keras.layers.Embedding(12, 4)

    def call(self, x):
        """Four words."""
        shapes = [tf.TensorShape([]), tf.TensorShape([None, 4])]
        body = lambda at, h: (at + 1, tf.tanh(h + self.words(tf.argmax(h, -1))))  # noqa: E731
        return tf.while_loop(lambda at, _: at < 4, body, [0, x], shape_invariants=shapes)[1]

    def build(self, shape):
        """The table."""
        self.words.build(shape)


class WordCell(keras.layers.Layer):
    """A recurrent cell that looks words up."""

    state_size = output_size = 4

    def __init__(self):
        super().__init__()
        self.words = keras.layers.Embedding(12, 4)
        self.mix = keras.layers.Dense(4, activation="tanh")

    def build(self, shape):
        """The table and the product."""
        self.words.build(shape)
        self.mix.build([None, 4])

    def call(self, word, states):
        """One word more."""
        state = self.mix(states[0] + self.words(tf.cast(word[:, 0], tf.int32)))
        return state, [state]


@pytest.mark.parametrize("exported", [False, True], ids=["in memory", "exported"])
@pytest.mark.parametrize("kind", ["a loop", "a recurrent cell"])
def test_an_embedding_of_keras(kind, exported, tmp_path):
    shape, layer = ([4], Speaker()) if kind == "a loop" else ([5, 1], keras.layers.RNN(WordCell()))
    x = keras.Input(shape, name="x")
    model = keras.Model(x, keras.layers.Dense(2)(layer(x)))
    if exported:
        model.export(str(tmp_path / "m"), verbose=False)
    data = np.abs(numbers(3, *shape, seed=8, scale=3))
    graph = load(tmp_path / "m" if exported else model)
    np.testing.assert_allclose(run_once(graph, {graph.input_keys[0]: data})[0], model(data), rtol=0, atol=1e-5)


def test_a_variable_that_counts_calls(tmp_path):
    module = tf.Module()
    module.count = tf.Variable(0.0)

    def counted(x):
        module.count.assign_add(1.0)
        return tf.tanh(x) + 0.1 * module.count

    module.call = tf.function(counted, input_signature=[tf.TensorSpec([None, 4])])
    tf.saved_model.save(module, str(tmp_path / "m"), module.call)
    said = "assigns a variable while it runs .AssignAddVariableOp(.|\n)*only computes"
    for model in (tmp_path / "m", module.call):
        with pytest.raises(ModelError, match=said):
            load(model)
