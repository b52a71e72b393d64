"""Why an input or output of a LiteRT file cannot be int8, and that the hint helps."""

from dataclasses import replace

import pytest

import calibrant
from calibrant.emit.tflite.planning.plan import TOO_COARSE, PlanInputs, plan_file
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from graphs import dense, graph_def, numbers, placeholder, tf
from tflite_networks import definition, exported, open_volume


def refused(build, config="batch_num: 4", **options):
    with pytest.raises(ModelError) as error:
        exported(graph_def(lambda: tf.identity(build(), name="out")), config, tflite_io="int8", **options)
    return error.value.problems


def far_apart_parts():
    y = dense(placeholder([None, 8]), 4)
    return tf.concat([y, tf.nn.sigmoid(y) * 1e-3], 1)


def moved_in_front():
    x = tf.reshape(placeholder([None, 144]), [1, -1, 6, 6, 1])
    return tf.nn.conv3d(x, tf.constant(numbers(2, 3, 3, 1, 3, seed=3)), [1, 1, 1, 1, 1], "SAME", name="c3")


REASONS = {
    "a layer without a kernel": (
        open_volume,
        "the input x is float, as CONV_3D, which reads it, is in float: LiteRT has no",
    ),
    "past a reshape": (moved_in_front, "the input x is float, as CONV_3D, behind it, is in float: LiteRT has no"),
    "parts": (
        far_apart_parts,
        "the output out is float, as CONCATENATION, which makes it, is in float: its parts have",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_that_of_the_operator(name):
    build, wanted = REASONS[name]
    problems = refused(build, tflite_ops="layers" if build is moved_in_front else "all")
    assert any(problem.message.startswith(wanted) for problem in problems), problems
    assert {problem.hint for problem in problems} == {"leave inputs and outputs in float with --tflite-io float32"}


def test_where_all_operators_help_the_hint_says_so():
    [problem] = refused(lambda: tf.nn.softmax(dense(placeholder([None, 8]))), tflite_ops="layers")
    assert "(--tflite-ops layers)" in problem.message and "--tflite-ops all" in problem.hint
    result, _ = exported(definition("softmax"), tflite_io="int8", tflite_ops="all")
    assert any(name.endswith(".tflite") for name in result.exported)


@pytest.mark.parametrize("build", [far_apart_parts, open_volume])
def test_where_all_operators_may_not_help_the_hint_does_not_say_so(build):
    assert not any("--tflite-ops all" in problem.hint for problem in refused(build, tflite_ops="layers"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Its input and output have other names than the tensors within."""

    class Net(tf.Module):
        def __init__(self):
            self.first, self.last = tf.Variable(numbers(8, 16)), tf.Variable(numbers(16, 4, seed=2))

        @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
        def __call__(self, x):
            return {"y": tf.matmul(tf.nn.relu(tf.matmul(x, self.first)), self.last)}

    path = tmp_path_factory.mktemp("model") / "saved"
    net = Net()
    tf.saved_model.save(net, str(path), signatures={"serving_default": net.__call__})
    return path


DATA = {"x": numbers(32, 8, seed=5)}


def test_an_input_of_a_saved_model_that_is_read_with_16_bits(saved):
    config = "common_config { ifmr_quantize { dst_type: INT16 } }"
    with pytest.raises(ModelError, match="the input x is float, as it is read with 16 bits"):
        calibrant.quantize(saved, config, DATA, export="tflite", tflite_io="int8")


def test_the_last_layer_of_a_saved_model_that_is_skipped(saved):
    last = find_layers(load(saved))[0][-1].name
    result = calibrant.quantize(saved, f'skip_layers: "{last}"', DATA, export="tflite")
    [row] = result.report["exports"]["tflite"]["operators_in_float"]
    assert row["reason"] == "the layer is left in float by the configuration"


def test_what_has_no_scale_is_said_to_be_too_coarse_or_not_observed():
    result, _ = exported(graph_def(lambda: tf.identity(tf.nn.elu(dense(placeholder([None, 8]))), name="out")))
    layers = [layer.layer for layer in result.network.layers]
    places = [entry.place for entry in result.network.every_input()]
    observed = set(result.network.intermediate)
    made = {tensor for tensor in observed if result.lite.graph.producer(tensor).op in ("Elu", "Identity")}
    given = PlanInputs(result.lite, result.network.graph, layers, places, known=observed - made)
    why = "no finite range was observed for its result, so that it has no scale"
    assert list(plan_file(given).floats.values()) == [why]
    assert list(plan_file(replace(given, too_coarse=made)).floats.values()) == [TOO_COARSE]


def test_an_input_that_nothing_reads_is_no_obstacle():
    def build():
        placeholder([None, 3], "unread")
        tf.identity(dense(placeholder([None, 8])), name="out")

    data = {"x": numbers(16, 8), "unread": numbers(16, 3)}
    result = calibrant.quantize(
        graph_def(build), data=data, inputs=["x", "unread"], export="tflite", tflite_io="int8", refine=False
    )
    assert any(name.endswith(".tflite") for name in result.exported)
