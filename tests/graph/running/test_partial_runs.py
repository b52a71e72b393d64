"""Short runs with one tensor exchanged against whole runs of a graph that has the exchange built in."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import calibrant
from calibrant.emit.fakequant import fake_quantized
from calibrant.graph.reading.load import load
from calibrant.graph.running.partial_runs import PartialRuns
from calibrant.graph.running.run import run_once

layers = tf.keras.layers
DATA = np.random.default_rng(0).normal(0, 1, (6, 5, 4)).astype(np.float32)
DATA[1::2, 3:] = 0  # masked


@pytest.fixture(scope="module", params=[False, True], ids=["While", "Enter and Exit"])
def recurrent(request):
    """A recurrent network whose mask is a list of tensors that the loop reads beside a layer's output."""
    tf.keras.utils.set_random_seed(0)
    x = tf.keras.Input((5, 4))
    hidden = layers.Dense(4, activation="relu")(layers.Masking()(x))
    model = tf.keras.Model(x, layers.Dense(2)(layers.GRU(3)(hidden)))
    spec = tf.TensorSpec((None, 5, 4), tf.float32, name="x")
    concrete = tf.function(model).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=request.param)
    return load(frozen.graph.as_graph_def())


def test_the_short_runs_are_the_whole_ones(recurrent):
    read = [node.name for node in recurrent.nodes.values() if node.op == "Relu"]
    assert len(read) == 1
    edit = recurrent.edit()
    doubled = edit.add("AddV2", "doubled", [f"{read[0]}:0"] * 2, T=tf.float32)
    beside = edit.finish(outputs=(*recurrent.outputs, doubled))
    for reader, index in recurrent.consumers(f"{read[0]}:0"):
        edit.set_input(reader.name, index, doubled)
    whole = edit.finish(outputs=recurrent.outputs)
    batch = {recurrent.input_keys[0]: DATA}
    with PartialRuns(beside, {f"{read[0]}:0": doubled}, recurrent.outputs) as runs:
        np.testing.assert_array_equal(runs.start(batch), run_once(recurrent, batch))
        exchanged = runs.exchanged(f"{read[0]}:0")
    np.testing.assert_array_equal(exchanged, run_once(whole, batch))
    assert np.abs(exchanged[0] - run_once(recurrent, batch)[0]).max() > 1e-3


def test_layers_before_a_loop_are_refined_and_ranked(recurrent):
    result = calibrant.quantize(recurrent, data=DATA, refine=True, sensitivity=True)
    names = {entry.layer.name for entry in result.network.layers}
    assert {row.layer for row in result.sensitivity} == names
    assert all(row.only_db > 20 for row in result.sensitivity)
    outputs = run_once(fake_quantized(result.network), {recurrent.input_keys[0]: DATA})[0]
    np.testing.assert_allclose(outputs, run_once(recurrent, {recurrent.input_keys[0]: DATA})[0], atol=0.05)
