"""Graphs of TensorFlow 1.x that can train as well: the switch is set, and what only training needs is left out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from command_line import run
from graphs import conv, dense, graph_def, numbers, placeholder, save, tf, v1

DATA = numbers(4, 6, 6, 2)
MEAN, VARIANCE = numbers(4, seed=7), np.abs(numbers(4, seed=8)) + 0.5

pytestmark = pytest.mark.usefixtures("control_flow")


def norm(x, training):
    """A batch norm in a conditional, as Keras 1 and 2 wrote it."""
    scale, offset = tf.ones([4]), tf.zeros([4])
    return v1.cond(
        training,
        lambda: v1.nn.fused_batch_norm(x, scale, offset, is_training=True)[0],
        lambda: v1.nn.fused_batch_norm(x, scale, offset, MEAN, VARIANCE, is_training=False)[0],
    )


def network(switch, dropout=lambda x, training: x):
    def build():
        training = switch()
        y = norm(conv(placeholder([None, 6, 6, 2])), training)
        tf.identity(dense(tf.reduce_mean(dropout(tf.nn.relu(y), training), [1, 2])), name="out")

    return graph_def(build)


def by_default():
    return v1.placeholder_with_default(False, [], "training")


def by_placeholder():
    return v1.placeholder(tf.bool, [], "training")


def drop(x, training):
    return v1.cond(training, lambda: v1.nn.dropout(x, rate=0.3), lambda: tf.identity(x))


def drop_within(x, training):
    """Two conditionals, one inside the other."""
    inner = v1.placeholder_with_default(True, [], "inner")
    return v1.cond(training, lambda: x, lambda: v1.cond(inner, lambda: x * 2.0, lambda: v1.nn.dropout(x, rate=0.3)))


def expected(definition, **fed):
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(definition, name="")
        return session.run("out:0", {"x:0": DATA, **{f"{name}:0": value for name, value in fed.items()}})


def assert_inference(graph, value):
    kinds = {node.op for node in graph.nodes.values()}
    assert not kinds & {"Switch", "Merge", "If", "StatelessIf", "RandomUniform", "PartitionedCall"}
    assert graph.inputs == ("x:0",)
    assert [layer.type for layer in find_layers(graph)[0]] == ["Conv2D", "MatMul"]
    np.testing.assert_allclose(run_once(graph, {"x": DATA})[0], value, atol=1e-5)


@pytest.mark.parametrize("dropout", [lambda x, training: x, drop, drop_within])
def test_the_default_of_a_placeholder_is_taken(dropout):
    definition = network(by_default, dropout)
    assert_inference(load(definition), expected(definition))
    assert len(quantize(definition, data=DATA).folded.fusions) == 1


@pytest.mark.parametrize("value", [False, "false", 0, np.array(False)])
def test_a_placeholder_is_bound(value):
    definition = network(by_placeholder, drop)
    assert_inference(load(definition, constants={"training": value}), expected(definition, training=False))


@pytest.mark.parametrize("dropout", [lambda x, training: x, drop])
def test_the_error_names_the_placeholder_and_what_to_write(dropout):
    with pytest.raises(ModelError, match="training") as caught:
        load(network(by_placeholder, dropout))
    assert "--set training=false" in str(caught.value) and "constants={'training': False}" in str(caught.value)


def test_a_default_that_trains_is_named_too():
    definition = network(lambda: v1.placeholder_with_default(True, [], "training"), drop)
    with pytest.raises(ModelError, match="--set training=false"):
        load(definition)
    assert_inference(load(definition, constants={"training": False}), expected(definition, training=False))


def test_a_switch_may_still_be_fed():
    def build():
        x, training = placeholder([None, 4]), by_placeholder()
        tf.identity(v1.cond(training, lambda: dense(x), lambda: dense(x, name="other", seed=5)), name="out")

    definition = graph_def(build)
    graph = load(definition, inputs=["x", "training"])
    data = numbers(2, 4)
    for flag in (True, False):
        with tf.Graph().as_default() as imported, v1.Session(graph=imported) as session:
            tf.graph_util.import_graph_def(definition, name="")
            wanted = session.run("out:0", {"x:0": data, "training:0": flag})
        np.testing.assert_allclose(run_once(graph, {"x": data, "training": np.array(flag)})[0], wanted, atol=1e-5)


def drop_by(form):
    """Dropout in the forms that TensorFlow has written it in, without a conditional."""

    def build():
        keep = v1.placeholder(tf.float32, name="keep_prob")
        y = relu = tf.nn.relu(conv(placeholder([None, 6, 6, 2])))
        if form == "floor":
            mask = tf.floor(keep + tf.random.uniform(tf.shape(y)))
            y = tf.divide(y, keep) * mask
        elif form == "select":
            y = tf.where(tf.random.uniform(tf.shape(y)) >= 1.0 - keep, y / keep, tf.zeros_like(y))
        elif form == "cast":
            y = tf.cast(tf.random.uniform(tf.shape(y)) < keep, tf.float32) * (y * (1.0 / keep))
        else:
            y = v1.nn.dropout(y, keep)
        y = tf.ensure_shape(y, relu.shape)
        tf.identity(dense(tf.reduce_mean(y, [1, 2])), name="out")

    return graph_def(build)


@pytest.mark.parametrize("form", ["floor", "select", "cast", "tensorflow"])
def test_dropout_that_keeps_everything_is_left_out(form):
    definition = drop_by(form)
    with pytest.raises(ModelError, match="--set keep_prob=1;"):
        load(definition)
    graph = load(definition, constants={"keep_prob": 1})
    assert not {node.op for node in graph.nodes.values()} & {"RandomUniform", "Mul", "RealDiv"}
    assert_inference(graph, expected(definition, keep_prob=1.0))


def test_dropout_that_drops_is_refused():
    with pytest.raises(ModelError, match="random"):
        load(drop_by("floor"), constants={"keep_prob": 0.9})


def test_branches_that_give_the_moments_too():
    """TensorFlow places their outputs beside one another when it inlines them."""

    def build():
        x, scale, offset = conv(placeholder([None, 6, 6, 2])), tf.ones([4]), tf.zeros([4])
        y, *_ = v1.cond(
            by_default(),
            lambda: v1.nn.fused_batch_norm(x, scale, offset, is_training=True)[:3],
            lambda: v1.nn.fused_batch_norm(x, scale, offset, MEAN, VARIANCE, is_training=False)[:3],
        )
        tf.identity(dense(tf.reduce_mean(tf.nn.relu(y), [1, 2])), name="out")

    definition = v1.graph_util.extract_sub_graph(graph_def(build), ["out"])
    assert_inference(load(definition), expected(definition))


def test_a_branch_that_tensorflow_refuses_is_an_error(control_flow):
    if control_flow != "If":
        pytest.skip("branches of Switch and Merge are no functions")
    definition = network(by_default)
    for function in definition.library.function:
        key, value = next(iter(function.ret.items()))
        function.ret[key] = value.replace(":y:", ":value:")
    with pytest.raises(ModelError, match="TensorFlow does not accept the graph"):
        load(definition)


@pytest.mark.parametrize(
    ("dtype", "factor", "option"),
    [(tf.float32, 1.0, "keep_prob=1"), (tf.bool, None, "switch=false"), (tf.float32, 2.0, "factor=VALUE")],
)
def test_what_is_left_out_of_the_inputs_gets_the_value_that_helps(dtype, factor, option):
    def build():
        x = placeholder([None, 4])
        left_out = v1.placeholder(dtype, [], name=option.split("=")[0])
        if dtype == tf.bool:
            y = tf.where(left_out, x, tf.nn.relu(x))
        else:
            y = v1.nn.dropout(x, left_out) if factor == 1 else x * left_out
        tf.identity(dense(y), name="out")

    with pytest.raises(ModelError, match=f"--set {option}$"):
        load(graph_def(build), inputs=["x"])


def test_dropout_in_a_loop(control_flow):
    if control_flow == "If":
        pytest.skip("loops that are functions have their dropout inside, where nothing is looked for")

    def build():
        x = placeholder([None, 4])
        keep = v1.placeholder(tf.float32, [], name="keep_prob")
        body = lambda n, y: (n + 1, v1.nn.dropout(tf.nn.relu(y), rate=1.0 - keep))  # noqa: E731
        tf.identity(dense(v1.while_loop(lambda n, y: n < 3, body, [0, x])[1]), name="out")

    graph = load(graph_def(build), outputs=["out"], constants={"keep_prob": "1"})
    assert not any(node.op == "RandomUniform" for node in graph.nodes.values())
    data = numbers(2, 4)
    assert run_once(graph, {"x": data})[0].shape == (2, 3)


def test_random_by_design_stays_refused_with_the_cut_that_helps():
    def build():
        x = placeholder([None, 6, 6, 2])
        noisy = tf.add(x, tf.random.normal(tf.shape(x)) + tf.random.uniform(tf.shape(x)), name="noisy")
        tf.identity(conv(noisy), name="out")

    with pytest.raises(ModelError, match="RandomStandardNormal makes the result random") as caught:
        load(graph_def(build))
    first, second = caught.value.problems
    assert "--inputs noisy" in str(first) and second.hint is None
    assert load(graph_def(build), inputs=["noisy"]).inputs == ("noisy:0",)
    [fed] = re.findall(r"noise that is meant is fed: --inputs ([^\s,]+,[^\s,]+,[^\s,]+)", str(caught.value))
    assert len(load(graph_def(build), inputs=fed.split(",")).inputs) == 3


@pytest.mark.parametrize(
    ("constants", "told"),
    [
        ({"trainin": False}, "did you mean 'training'"),
        ({"out": 1}, "is a Identity, not a placeholder"),
        ({"training": "maybe"}, "bool of shape"),
        ({"training": [True, False]}, "bool of shape"),
        ({"training": 2}, "bool of shape"),
    ],
)
def test_what_cannot_be_bound(constants, told):
    with pytest.raises(ModelError) as caught:
        load(network(by_placeholder), constants=constants)
    assert told in str(caught.value)


def test_select_by_a_constant():
    def build():
        x = placeholder([None, 4])
        training = v1.placeholder_with_default(False, [], "training")
        tf.identity(tf.where(training, v1.nn.dropout(x, rate=0.5), dense(x, 4)), name="out")

    graph = load(graph_def(build))
    assert not any(node.op in ("SelectV2", "RandomUniform") for node in graph.nodes.values())


def test_from_the_command_line(tmp_path, control_flow):
    save(network(by_placeholder, drop), tmp_path / "m.pb")
    np.save(tmp_path / "x.npy", DATA)
    words = ("quantize", tmp_path / "m.pb", "--data", tmp_path / "x.npy", "--out", tmp_path / "out")
    refused = run(*words)
    assert refused.code == 2 and "--set training=false" in refused.err
    assert run(*words, "--set", "training=false", "--export", "ascend").code == 0
    model = ("--model", tmp_path / "m.pb", "--set", "training=false")
    assert run("verify", tmp_path / "out", "--data", tmp_path / "x.npy", *model).code == 0
    assert run("inspect", tmp_path / "m.pb", "--set", "training").code == 2


def test_what_is_random_in_a_loop_is_named():
    def build():
        step = lambda i, h: (i + 1, h + tf.random.normal([3], name="noise"))  # noqa: E731
        tf.identity(tf.while_loop(lambda i, h: i < 3, step, [0, placeholder([None, 3])], name="loop")[1], name="out")

    with pytest.raises(ModelError, match="loop/noise/RandomStandardNormal: .* makes the result random"):
        load(graph_def(build), outputs=["out"])


def test_augmentation_that_draws_from_a_generator_is_named(keras2, tmp_path):
    x = keras2.Input([8, 8, 3])
    model = keras2.Model(x, keras2.layers.Dense(2)(keras2.layers.Flatten()(keras2.layers.RandomZoom(0.1)(x))))
    model.export(str(tmp_path / "m"))
    with pytest.raises(ModelError, match="RngReadAndSkip makes the result random") as caught:
        load(tmp_path / "m")
    assert "give the .keras or .h5 file" in str(caught.value)


def test_random_numbers_that_a_loop_does_not_use_do_no_harm():
    def build():
        def step(i, h):
            tf.random.normal([3])
            return i + 1, h * 2

        tf.identity(tf.while_loop(lambda i, h: i < 3, step, [0, placeholder([None, 3])])[1], name="out")

    data = numbers(2, 3)
    np.testing.assert_array_equal(run_once(load(graph_def(build), outputs=["out"]), {"x": data})[0], data * 8)


@pytest.mark.parametrize("variance, said", [(-0.5, "-0.5"), (np.nan, "nan")])
@pytest.mark.parametrize("fused", [True, False])
def test_a_broken_norm_is_named(variance, said, fused):
    def build():
        x, values = placeholder([None, 4, 4, 3]), tf.constant([1, variance, 1], tf.float32)
        if fused:
            v1.nn.fused_batch_norm(x, tf.ones(3), tf.zeros(3), tf.zeros(3), values, is_training=False, name="norm")
        else:
            tf.multiply(x, tf.math.rsqrt(values, name="norm"), name="out")

    with pytest.raises(ModelError, match=f"norm: channel 1 of the norm has the variance.* {said}"):
        load(graph_def(build), outputs=["norm" if fused else "out"])


@pytest.mark.parametrize("kind", ["PartitionedCall", "StatefulPartitionedCall"])
@pytest.mark.parametrize("taken", [None, False])
def test_random_numbers_in_a_branch_inside_a_call(kind, taken):
    """TensorFlow leaves such a call as it is: nothing waits for the state of the branch."""

    @tf.function
    def function(x):
        condition = tf.reduce_sum(x) > 0 if taken is None else tf.constant(taken)
        return tf.cond(condition, lambda: x * tf.random.uniform([4]), lambda: x)

    graph = graph_def(lambda: tf.matmul(function(placeholder([None, 4])), tf.constant(numbers(4, 3)), name="out"))
    for node in graph.node:
        node.op = kind if node.op.endswith("PartitionedCall") else node.op
    if taken is None:
        with pytest.raises(ModelError, match="RandomUniform in a branch makes the result random"):
            load(graph)
        return
    loaded = load(graph)
    assert not {"If", "StatelessIf", kind} & {node.op for node in loaded.nodes.values()}
    data = numbers(2, 4, seed=3)
    np.testing.assert_allclose(run_once(loaded, {"x": data})[0], data @ numbers(4, 3), rtol=1e-5)
