"""Branches that assign variables are left out where a constant decides against them, in models of each kind."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf

tf1 = tf.compat.v1
X = numbers(5, 6, 6, 2)
SIGNATURE = [tf.TensorSpec([None, 6, 6, 2], name="x"), tf.TensorSpec([], tf.bool, name="training")]


class Normed(tf.Module):
    """A batch norm by hand, whose averages move in training; the branch is in a function of a function."""

    def __init__(self, nested=False):
        super().__init__()
        self.nested = nested
        self.kernel = tf.Variable(numbers(3, 3, 2, 4, seed=1))
        self.mean, self.variance = tf.Variable(numbers(4, seed=2)), tf.Variable(numbers(4, seed=3) ** 2 + 0.5)

    @tf.function
    def moments(self, y, training, frozen):
        mean, variance = tf.nn.moments(y, [0, 1, 2])
        if training:
            if not frozen:
                self.mean.assign(0.9 * self.mean + 0.1 * mean)
                self.variance.assign(0.9 * self.variance + 0.1 * variance)
        else:
            mean, variance = self.mean.read_value(), self.variance.read_value()
        return mean, variance

    @tf.function(input_signature=SIGNATURE)
    def answer(self, x, training):
        y = tf.nn.conv2d(x, self.kernel, 1, "SAME")
        mean, variance = self.moments(y, training, tf.logical_not(training) if self.nested else False)
        y = tf.nn.relu(tf.nn.batch_normalization(y, mean, variance, None, None, 1e-3))
        return {"y": tf.nn.dropout(y, 0.5) if training else y}


@pytest.fixture(scope="module", params=[False, True], ids=["one", "nested"])
def saved(request, tmp_path_factory):
    module, folder = Normed(request.param), tmp_path_factory.mktemp("models") / "saved"
    tf.saved_model.save(module, str(folder), module.answer)
    return module, folder


@pytest.mark.parametrize("value", [False, "false"])
def test_a_saved_model_gives_what_tensorflow_gives(saved, value):
    module, folder = saved
    graph = load(folder, constants={"training": value})
    assert graph.input_keys == ("x",)
    assert not {"If", "Mean", "Switch", "AssignVariableOp"} & {node.op for node in graph.nodes.values()}
    found = run_once(graph, {"x": X})[0]
    np.testing.assert_allclose(found, module.answer(X, tf.constant(False))["y"], rtol=1e-5, atol=1e-6)


def test_what_to_set_is_named_by_the_key_of_the_input(saved):
    with pytest.raises(ModelError, match="assigns a variable") as caught:
        load(saved[1])
    assert "--set training=false" in str(caught.value)


def test_where_the_branch_is_taken_the_error_stays(saved):
    with pytest.raises(ModelError, match="assigns a variable") as caught:
        load(saved[1], constants={"training": True})
    assert "--set" not in str(caught.value)


def test_an_assignment_that_nothing_switches_off_has_no_such_hint(tmp_path):
    class Counted(tf.Module):
        def __init__(self):
            super().__init__()
            self.steps = tf.Variable(1.0)

        @tf.function(input_signature=SIGNATURE)
        def answer(self, x, training):
            return {"y": x * self.steps.assign_add(1.0) if tf.reduce_sum(x) > 0 or training else x}

    module = Counted()
    tf.saved_model.save(module, str(tmp_path / "saved"), module.answer)
    for constants in (None, {"training": False}):
        with pytest.raises(ModelError, match="assigns a variable") as caught:
            load(tmp_path / "saved", constants=constants)
        assert "--set" not in str(caught.value)


def checkpoint(folder, training, references=False):
    """A checkpoint of a network whose average moves in a branch, and what a session gives without that branch."""
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 6, 6, 2], "x")
        switch = training()
        with tf1.variable_scope("net", use_resource=True):
            kernel = tf1.get_variable("kernel", initializer=numbers(3, 3, 2, 4, seed=1))
            mean = tf1.get_variable("mean", initializer=numbers(4, seed=2))
        factor = tf1.get_variable("factor", initializer=numbers(4, seed=3), use_resource=not references)
        y = tf.nn.conv2d(x, kernel, 1, "SAME") * factor

        def train():
            now = tf.reduce_mean(y, [0, 1, 2])
            with tf.control_dependencies([mean.assign(0.9 * mean + 0.1 * now)]):
                return tf.identity(now)

        out = tf.nn.relu(y - tf1.cond(switch, train, lambda: tf.identity(mean)), name="out")
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(folder / "net"))
        return folder / "net.meta", session.run(out, {x: X, "training:0": False})


@pytest.mark.parametrize("resources", [True, False])
@pytest.mark.parametrize("default", [True, False])
def test_a_default_that_is_set(control_flow, default, resources, tmp_path):
    """No input of the signature is called so."""
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        switch = tf1.placeholder_with_default(default, [], "training")
        steps = tf1.get_variable("steps", initializer=numbers(4, seed=2), use_resource=resources or control_flow)
        factor = tf1.cond(switch, lambda: tf1.assign(steps, steps * 2) + 0.0, lambda: steps * 3.0)
        out = tf.multiply(x, factor, name="out")
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "net"))
        tf1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": x}, {"out": out})
        data = numbers(3, 4)
        expected = session.run(out, {x: data, switch: False})
    for path, options in ((tmp_path / "net.meta", {"outputs": "out"}), (tmp_path / "saved", {})):
        graph = load(path, constants={"training": False}, **options)
        np.testing.assert_array_equal(run_once(graph, {"x": data})[0], expected)


def fed():
    return tf1.placeholder(tf.bool, [], "training")


def with_default():
    return tf1.placeholder_with_default(False, [], "training")


@pytest.fixture(params=[False, True], ids=["nodes", "functions"])
def control_flow(request):
    tf1.enable_control_flow_v2() if request.param else tf1.disable_control_flow_v2()
    yield request.param
    tf1.enable_control_flow_v2()


@pytest.mark.parametrize("references", [False, True], ids=["resources", "mixed"])
@pytest.mark.parametrize("training", [fed, with_default])
def test_a_checkpoint_gives_what_a_session_gives(control_flow, training, references, tmp_path):
    path, expected = checkpoint(tmp_path, training, references)
    graph = load(path, outputs="out", constants={"training": False} if training is fed else None)
    assert graph.input_keys == ("x",)
    assert not {"If", "Switch", "Mean", "VarHandleOp"} & {node.op for node in graph.nodes.values()}
    np.testing.assert_allclose(run_once(graph, {"x": X})[0], expected, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_whose_branch_nothing_decides(control_flow, tmp_path):
    path, _ = checkpoint(tmp_path, fed)
    with pytest.raises(ModelError, match="--set training=false"):
        load(path, outputs="out")


class Recurrent(Normed):
    """The same before a loop that reads a variable, as an RNN does, which TensorFlow's own conversion handles."""

    def __init__(self):
        super().__init__()
        self.recurrent = tf.Variable(numbers(4, 4, seed=5))

    @tf.function(input_signature=SIGNATURE)
    def states(self, x, training):
        y = tf.nn.conv2d(x, self.kernel, 1, "SAME")
        state = tf.reduce_mean(tf.nn.relu(y - self.moments(y, training, False)[0]), [1, 2])
        for _ in tf.range(3):
            state = tf.tanh(tf.matmul(state, self.recurrent))
        return {"state": state}


@pytest.fixture(params=["folder", "no signature", "function"])
def recurrent(request, tmp_path):
    module = Recurrent()
    if request.param == "function":
        return module, module.states, {}
    signature = request.param == "folder"
    tf.saved_model.save(module, str(tmp_path / "saved"), module.states if signature else None)
    return module, tmp_path / "saved", {} if signature else {"signature": "states"}


def test_a_loop_that_reads_a_variable_beside_such_a_branch(recurrent):
    module, model, options = recurrent
    graph = load(model, constants={"training": False}, **options)
    found = run_once(graph, {"x": X})[0]
    np.testing.assert_allclose(found, module.states(X, tf.constant(False))["state"], rtol=1e-5, atol=1e-6)


def test_what_to_set_is_named_where_a_loop_reads_a_variable(recurrent):
    _, model, options = recurrent
    with pytest.raises(ModelError, match="assigns a variable") as caught:
        load(model, **options)
    assert "--set training=false" in str(caught.value)
