"""What training assigns is left out of graphs of TensorFlow 1.x; what is read afterwards is an error."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import numbers, tf

tf1 = tf.compat.v1
X = numbers(5, 4)
RESOURCES = pytest.mark.parametrize("resources", [False, True], ids=["references", "resources"])


pytestmark = pytest.mark.usefixtures("control_flow_v1")


def variable(name, value):
    return tf1.get_variable(name, initializer=np.float32(value))


def normed(x):
    """An average that is moved in the branch for training alone."""
    training = tf1.placeholder(tf.bool, [], "training")
    mean = variable("mean", numbers(4, seed=1))

    def train():
        now = tf.reduce_mean(x, 0)
        moved = tf1.assign_sub(mean, 0.1 * (mean - now))
        with tf.control_dependencies([moved]):
            return tf.identity(now)

    return x - tf1.cond(training, train, lambda: tf.identity(mean))


def counted(x):
    """A counter that nothing reads."""
    with tf.control_dependencies([tf1.assign_add(variable("steps", 0), 1)]):
        return tf.tanh(x)


def read(x):
    """A counter that is read after it was moved."""
    steps = variable("steps", 1)
    with tf.control_dependencies([tf1.assign_add(steps, 1)]):
        return x * (steps.read_value() if hasattr(steps, "handle") else tf.identity(steps))


def read_behind_a_group(x):
    """The same, with an operation between them."""
    steps = variable("steps", 1)
    with tf.control_dependencies([tf.group(tf1.assign(steps, 3), tf.no_op())]):
        return x * (steps.read_value() if hasattr(steps, "handle") else tf.identity(steps))


def counted_in_a_loop(x):
    """A counter that moves in each turn of a loop."""
    steps = variable("steps", 0)

    def turn(index, y):
        with tf.control_dependencies([tf1.assign_add(steps, 1)]):
            return index + 1, tf.tanh(y) * 0.5

    return tf1.while_loop(lambda index, _: index < 3, turn, (0, x))[1]


def counted_in_passing(x):
    """A counter whose value only has to be there."""
    with tf.control_dependencies([tf.identity(tf1.assign_add(variable("steps", 0), 1))]):
        return tf.tanh(x)


def read_as_given(x):
    """A counter whose new value is read."""
    return x * tf1.assign_add(variable("steps", 1), 1)


def read_in_a_branch(x):
    """A counter that a branch reads after it was moved."""
    steps = variable("steps", 1)
    with tf.control_dependencies([tf1.assign_add(steps, 1)]):
        return tf1.cond(tf.reduce_sum(x) > 0, lambda: x * (steps + 0), lambda: -x * (steps + 0))


def written(build, resources, folder):
    """The network as a checkpoint, a frozen graph and a SavedModel; and what a session gives."""
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        with tf1.variable_scope("net", use_resource=resources):
            y = build(x) @ variable("weights", numbers(4, 3, seed=2))
        out = tf.identity(y, name="out")
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(folder / "net"))
        tf1.saved_model.simple_save(session, str(folder / "saved"), {"x": x}, {"out": out})
        names = {node.name for node in graph.as_graph_def().node}
        feeds = {"x:0": X} | ({"net/training:0": False} if "net/training" in names else {})
        frozen = tf1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["out"])
        (folder / "net.pb").write_bytes(frozen.SerializeToString())
        return session.run(out, feeds)


@RESOURCES
@pytest.mark.parametrize("name", ["net.meta", "net.pb", "saved"])
@pytest.mark.parametrize("build", [normed, counted, counted_in_passing])
def test_it_is_left_out(build, name, resources, tmp_path):
    expected = written(build, resources, tmp_path)
    constants = {"net/training": False} if build is normed else None
    graph = load(tmp_path / name, outputs="out", constants=constants)
    assert graph.input_keys == ("x",)
    assert {node.op for node in graph.nodes.values()} <= {"Placeholder", "Const", "Identity", "Sub", "Tanh", "MatMul"}
    np.testing.assert_array_equal(run_once(graph, {"x": X})[0], expected)


@RESOURCES
@pytest.mark.parametrize("name", ["net.meta", "saved"])
def test_a_loop_stays_whole(name, resources, tmp_path):
    expected = written(counted_in_a_loop, resources, tmp_path)
    np.testing.assert_array_equal(run_once(load(tmp_path / name, outputs="out"), {"x": X})[0], expected)


@RESOURCES
@pytest.mark.parametrize("name", ["net.meta", "net.pb", "saved"])
def test_a_branch_that_is_open_is_named(name, resources, tmp_path):
    written(normed, resources, tmp_path)
    with pytest.raises(ModelError, match="--set net/training=false"):
        load(tmp_path / name, outputs="out")


@RESOURCES
@pytest.mark.parametrize("name", ["net.meta", "saved"])
@pytest.mark.parametrize(
    "build", [read, read_behind_a_group, read_in_a_branch, lambda x: x * tf1.assign_add(variable("steps", 1), 1)]
)
def test_what_is_read_afterwards_is_an_error(build, name, resources, tmp_path):
    written(build, resources, tmp_path)
    with pytest.raises(ModelError, match="assigns a variable while it runs .Assign"):
        load(tmp_path / name, outputs="out")


def masked(x, factor=1.0, of_the_input=False):
    """Two layers whose weights are masked each time they are used, the second with what the first one has then."""
    for number in (1, 2):
        weights = variable(f"masked{number}", numbers(4, 4, seed=number))
        mask = np.float32(factor) * np.tri(4, dtype=np.float32)
        made = weights * mask * (tf.reduce_max(x) if of_the_input else 1)
        with tf.control_dependencies([tf1.assign(weights, made)]):
            x = tf.matmul(x, weights.read_value())
    return x


@pytest.mark.parametrize("name", ["net.meta", "saved"])
def test_weights_that_stay_as_they_are_once_assigned_are_that(name, tmp_path):
    expected = written(masked, True, tmp_path)
    np.testing.assert_array_equal(run_once(load(tmp_path / name, outputs="out"), {"x": X})[0], expected)


@pytest.mark.parametrize("how", [{"factor": 0.5}, {"of_the_input": True}])
def test_weights_that_change_with_each_run_are_an_error_with_one_hint(how, tmp_path):
    written(lambda x: masked(x, **how), True, tmp_path)
    with pytest.raises(ModelError, match="assigns a variable while it runs .Assign") as caught:
        load(tmp_path / "saved", outputs="out")
    assert len(caught.value.problems) == 2 and str(caught.value).count("hint: ") == 1


def masked_by_another(x):
    """Weights are multiplied by a mask that is made of them in the same run."""
    mask, weights = variable("mask", np.ones((4, 4))), variable("of_another", numbers(4, 4))
    with tf.control_dependencies([tf1.assign(mask, tf.cast(tf.abs(weights) > 0.7, tf.float32))]):
        kept = weights * mask.read_value()
    with tf.control_dependencies([tf1.assign(weights, kept)]):
        return tf.matmul(x, weights.read_value())


def test_weights_that_another_variable_changes_are_an_error(tmp_path):
    written(masked_by_another, True, tmp_path)
    with pytest.raises(ModelError, match="assigns a variable while it runs"):
        load(tmp_path / "saved", outputs="out")


@pytest.mark.parametrize("build", [read, read_behind_a_group])
def test_in_a_frozen_graph(build, tmp_path):
    written(build, False, tmp_path)  # TensorFlow's freezing keeps no resource variable that is assigned
    with pytest.raises(ModelError, match="assigns a variable while it runs .Assign"):
        load(tmp_path / "net.pb", outputs="out")


def test_what_a_branch_of_tensorflow_2_reads_afterwards(tmp_path):
    module = tf.Module()
    module.steps = tf.Variable(1.0)

    def call(x):
        module.steps.assign_add(1.0)
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x * module.steps, lambda: -x * module.steps)

    tf1.enable_control_flow_v2()
    function = tf.function(call, input_signature=[tf.TensorSpec([None, 4])])
    with pytest.raises(ModelError, match="assigns a variable while it runs .AssignAddVariableOp"):
        load(function)


ASSIGNING = {
    "ResourceScatterNdUpdate": lambda steps: steps.scatter_nd_update([[0]], [5.0]),
    "ResourceScatterNdAdd": lambda steps: steps.scatter_nd_add([[0]], [5.0]),
    "ResourceScatterUpdate": lambda steps: steps.scatter_update(tf.IndexedSlices([5.0], [0])),
    "ResourceStridedSliceAssign": lambda steps: steps[2:].assign([3.0, 4.0]),
    "ResourceApplyGradientDescent": lambda steps: tf.raw_ops.ResourceApplyGradientDescent(
        var=steps.handle, alpha=0.5, delta=tf.ones([4])
    ),
}


@pytest.fixture(params=["function", "saved"])
def given(request, tmp_path):
    """A function that assigns a variable before, or behind, what reads it."""

    def given(assign, before):
        module = tf.Module()
        module.steps = tf.Variable(tf.ones([4]))

        def call(x):
            if before:
                assign(module.steps)
            y = x * module.steps
            if not before:
                assign(module.steps)
            return y

        module.call = tf.function(call, input_signature=[tf.TensorSpec([None, 4], name="x")])
        if request.param == "function":
            return module.call
        tf.saved_model.save(module, str(tmp_path / "saved"))
        return tmp_path / "saved"

    return given


@pytest.mark.parametrize("op", ASSIGNING)
def test_every_operation_that_assigns_is_known(op, given):
    with pytest.raises(ModelError, match=f"assigns a variable while it runs .{op}"):
        load(given(ASSIGNING[op], True))


@pytest.mark.parametrize("op", ASSIGNING)
def test_what_any_of_them_assigns_afterwards_is_left_out(op, given):
    graph = load(given(ASSIGNING[op], False))
    x = numbers(3, 4)
    np.testing.assert_array_equal(run_once(graph, {graph.input_keys[0]: x})[0], x)


def test_the_switch_of_a_saved_model_is_named(tmp_path):
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        with tf1.variable_scope("net", use_resource=False):
            y = normed(x)
        session.run(tf1.global_variables_initializer())
        training = session.graph.get_tensor_by_name("net/training:0")
        tf1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": x, "training": training}, {"y": y})
    with pytest.raises(ModelError, match="--set net/training=false"):
        load(tmp_path / "saved")
    assert load(tmp_path / "saved", constants={"training": False}).input_keys == ("x",)
