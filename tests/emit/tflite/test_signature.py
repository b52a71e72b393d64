"""The signature of a LiteRT file: names as the model has them, and it runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.interpreter import new_interpreter
from graphs import dense, graph_def, numbers, placeholder, tf
from tflite_networks import contents

FIRST, SECOND = numbers(8, 4, seed=1), numbers(8, 4, seed=2)


class TwoInputs(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="near"), tf.TensorSpec([None, 4], name="far")])
    def run(self, near, far):
        weights = tf.constant(numbers(4, 3, seed=5))
        together = tf.matmul(near, weights) + 2 * tf.matmul(far, weights)
        return {"zeta": together, "alpha": tf.nn.relu(tf.matmul(far, weights[:, ::-1]))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "two"
    module = TwoInputs()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.run})
    return folder


@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_saved_model_keeps_the_names_of_its_signature(saved, io):
    batches = [{"near": FIRST, "far": SECOND}]
    result = calibrant.quantize(saved, "batch_num: 1", batches, export="tflite", tflite_io=io)
    content = contents(result, result.export_notes["tflite"]["simulation_outputs"])[0]
    interpreter = new_interpreter(content)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["far", "near"], "outputs": ["alpha", "zeta"]}
    }
    if io == "float32":
        run = interpreter.get_signature_runner()
        found, expected = run(near=FIRST[:1], far=SECOND[:1]), TwoInputs().run(FIRST[:1], SECOND[:1])
        for name in expected:
            assert np.abs(found[name] - expected[name]).max() <= 0.1 * np.abs(expected[name]).max()


class Waves(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="near")])
    def run(self, near):
        return {"wave": tf.sin(tf.matmul(near, tf.constant(numbers(4, 3, seed=5)))), "plain": near + 1.0}


def test_ends_that_cannot_be_codes_are_called_as_the_user_calls_them(tmp_path):
    module = Waves()
    tf.saved_model.save(module, str(tmp_path / "waves"), signatures={"serving_default": module.run})
    with pytest.raises(calibrant.ModelError) as refused:
        calibrant.quantize(tmp_path / "waves", "batch_num: 1", [FIRST], export="tflite", tflite_io="int8")
    assert [problem.message.split(" is float")[0] for problem in refused.value.problems] == ["the output wave"]


def test_an_input_that_a_layer_reads_behind_an_identity_has_its_own_name(tmp_path):
    def build():
        tf.identity(dense(tf.identity(placeholder([None, 4], name="feed"), name="inner/_11")), name="out")

    result = calibrant.quantize(graph_def(build), "batch_num: 1", [FIRST], tmp_path / "out", export="tflite")
    assert [tensor.name for tensor in File(contents(result)[0]).inputs()] == ["feed"]
    calibrant.golden(tmp_path / "out", FIRST)
    assert calibrant.verify(tmp_path / "out", FIRST).passed


def test_a_frozen_graph_has_the_names_of_its_nodes():
    result = calibrant.quantize(
        graph_def(lambda: dense(placeholder([None, 4]))), "batch_num: 1", [numbers(8, 4)], export="tflite"
    )
    content, _ = contents(result)
    listed = new_interpreter(content).get_signature_list()["serving_default"]
    assert listed == {"inputs": list(result.original.input_keys), "outputs": list(result.original.output_keys)}
    assert [tensor.name for tensor in File(content).outputs()] == list(result.original.output_keys)


def test_the_metadata_name_version_and_configuration():
    result = calibrant.quantize(
        graph_def(lambda: dense(placeholder([None, 4]))), "batch_num: 1", [numbers(8, 4)], export="tflite"
    )
    about = json.loads(File(contents(result)[0]).metadata("calibrant"))
    assert about == {"calibrant": calibrant.__version__, **result.signature}
