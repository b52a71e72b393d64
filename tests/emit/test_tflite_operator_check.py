"""What the converter puts on integers by itself, or leaves in float, is an error that names the operator."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_networks import NETWORKS, contents, definition, exported, image, steps_apart

import calibrant
from calibrant.emit.tflite import converter_graph as converter_graph_module
from calibrant.emit.tflite import model
from calibrant.emit.tflite.converter_graph import tensor_factors
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.layer_check import check_layers
from calibrant.emit.tflite.operator_check import check_operators
from calibrant.graph.load import load
from graphs import conv, dense, graph_def, numbers, tf


def in_float(operation):
    """An operation in float between two layers."""
    return conv(operation(conv(image(), name="one")), name="two", seed=4)


def large_layers_in_float():
    """More weights than the converter leaves alone, each with what is fused behind it."""
    y = tf.nn.relu(conv(image(8, 8, 4), 32, name="one"))
    y = tf.nn.relu(conv(y, 32, name="skipped_conv", seed=4))
    y = tf.reshape(conv(y, 4, name="three", seed=5), [-1, 256])
    return dense(dense(y, 64, "skipped_dense"), 10, "five", seed=8)


FAULTS = {
    "SOFTMAX": lambda: in_float(tf.nn.softmax),
    "TANH": lambda: in_float(tf.tanh),
    "MEAN": lambda: in_float(lambda t: tf.reduce_mean(t, -1, keepdims=True) * tf.ones([8, 8, 4])),
    "LOGISTIC": lambda: in_float(tf.sigmoid),
}


def write(build, tmp_path, config="batch_num: 4"):
    graph = load(graph_def(lambda: tf.identity(build(), name="out")))
    data = [{graph.input_keys[0]: numbers(16, *graph.shape(graph.inputs[0])[1:], seed=seed)} for seed in range(4)]
    return calibrant.quantize(graph, config, data, tmp_path / "out", export="tflite", name="net")


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_converter_quantizes_by_itself_is_refused_and_nothing_is_written(name, tmp_path, monkeypatch):
    monkeypatch.setattr(converter_graph_module, "keep_in_float", lambda *arguments: None)
    with pytest.raises(calibrant.ModelError, match=f"{name} (runs on integers|has factors)"):
        write(FAULTS[name], tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_without_the_fault_it_is_written(name, tmp_path):
    write(FAULTS[name], tmp_path)
    operators = File((tmp_path / "out" / "net_int8.tflite").read_bytes()).operators()
    assert not any(operator.is_integer for operator in operators if operator.name == name)


def test_a_large_layer_left_in_float_keeps_its_float_weights():
    config = 'batch_num: 4 skip_layers: "skipped_conv" skip_layers: "skipped_dense"'
    result, x = exported(graph_def(lambda: tf.identity(large_layers_in_float(), name="out")), config, count=128)
    apart, file = steps_apart(result, x)
    sizes = {
        entry.inputs[1].values.size: entry.inputs[1].dtype
        for entry in file.operators()
        if entry.name in {"CONV_2D", "FULLY_CONNECTED"}
    }
    assert sizes[9 * 32 * 32] == sizes[256 * 64] == np.float32
    assert np.mean(apart <= 1.001) >= 0.99


def test_a_large_layer_whose_weights_became_int8_is_refused(monkeypatch):
    monkeypatch.setattr(converter_graph_module, "keep_in_float", lambda *arguments: None)
    config = 'batch_num: 4 skip_layers: "skipped_conv" skip_layers: "skipped_dense"'
    with pytest.raises(calibrant.ModelError) as caught:
        exported(graph_def(lambda: tf.identity(large_layers_in_float(), name="out")), config)
    assert "CONV_2D runs on integers" in str(caught.value)
    assert "FULLY_CONNECTED runs on integers" in str(caught.value)


def checked(name, change, config="batch_num: 4"):
    """Check a good file again after a change to it; ``change`` takes the file and its operators by name."""
    result, _ = exported(definition(name), config)
    file, network = File(contents(result)[0]), result.network
    layers = check_layers(file, network)
    part = model.part_of(network)
    change(file, {operator.name: operator for operator in file.operators()})
    check_operators(file, network, part, tensor_factors(network, part), layers)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"conv3d"}))
def test_good_files_pass(name):
    checked(name, lambda file, operators: None)


def other_scale(kind):
    return lambda file, operators: operators[kind].outputs[0].set_scale(operators[kind].outputs[0].scale * 1.01)


@pytest.mark.parametrize(
    "name, kind",
    [("residual", "ADD"), ("residual", "CONV_2D"), ("concatenated", "PAD"), ("global mean", "MEAN")],
)
def test_factors_that_are_not_ours_are_found(name, kind):
    with pytest.raises(calibrant.ModelError, match=f"{kind} (has|rounds its result to) factors that are not ours"):
        checked(name, other_scale(kind))


def test_our_factors_in_the_wrong_place_are_found():
    def swap(file, operators):
        """Let the addition read the input of the first layer instead of its result."""
        position = [operator.name for operator in file.operators()].index("ADD")
        file.read_instead(position, 0, operators["QUANTIZE"].outputs[0])

    with pytest.raises(calibrant.ModelError, match="ADD runs on integers, where it was meant to be in float"):
        checked("residual", swap)


def test_an_operator_that_was_meant_to_run_on_integers_and_is_gone_is_found():
    def drop(file, operators):
        graph = file.model.subgraphs[0]
        graph.operators = [
            raw for raw, operator in zip(graph.operators, file.operators(), strict=True) if operator.name != "ADD"
        ]

    with pytest.raises(calibrant.ModelError, match=r"add.*AddV2 was meant to run on integers"):
        checked("residual", drop)


def test_float_operators_with_int8_weights_are_found():
    with pytest.raises(calibrant.ModelError, match="ADD in float has operands that were rounded to int8"):
        checked("residual", lambda file, operators: _float_result(operators["ADD"]))


def _float_result(operator):
    operator.outputs[0]._raw.type = 0


def test_an_activation_behind_pooling_shares_the_range_of_its_reader():
    def build():
        pooled = tf.nn.max_pool2d(conv(image(), name="one"), 2, 2, "SAME")
        tf.identity(conv(tf.nn.relu(pooled), name="two", seed=5), name="out")

    apart, _ = steps_apart(*exported(graph_def(build), count=128))
    assert apart.max() < 0.1
