"""``verify`` reads the float model as the run did."""

from __future__ import annotations

import json
import logging

import pytest

import calibrant
from calibrant.evaluation.recorded_options import as_in_the_run
from calibrant.options import ModelOptions
from graphs import dense, graph_def, numbers, placeholder, tf

DATA = numbers(16, 4)


def network():
    """Texts in front, which are cut off, and an output beside, which is not asked for."""
    text = placeholder([None, 4], "text", tf.string)
    scale = placeholder([], "scale")
    y = dense(scale * tf.strings.to_number(text, name="number"), 3)
    tf.argmax(tf.identity(y, name="scores"), 1, name="best")


def test_verify_takes_inputs_outputs_and_constants_of_the_run(tmp_path, caplog):
    model = tmp_path / "model.pb"
    model.write_bytes(graph_def(network).SerializeToString())
    cut = {"inputs": ["number"], "outputs": ["scores"], "constants": {"scale": 2.0}}
    calibrant.quantize(model, data=DATA, out=tmp_path / "out", refine=False, **cut)
    with caplog.at_level(logging.INFO):
        assert calibrant.verify(tmp_path / "out", DATA, model=model).pairs[0].first == "float"
    said = "the float model is read as in the run: --inputs number --outputs scores --set scale=2"
    assert said in caplog.messages


def test_a_merged_result_tells_its_options_as_one_of_a_single_run(tmp_path):
    model, state, out = tmp_path / "model.pb", tmp_path / "state.npz", tmp_path / "out"
    model.write_bytes(graph_def(network).SerializeToString())
    cut = {"inputs": ["number"], "outputs": ["scores"], "constants": {"scale": 2.0}}
    calibrant.observe(model, data=DATA, state=state, **cut)
    merged = calibrant.merge([state], model, out=out, **cut)
    assert merged.options == calibrant.quantize(model, data=DATA, refine=False, **cut).options
    assert calibrant.verify(out, DATA, model=model).pairs[0].first == "float"


def test_what_is_given_now_counts():
    given = ModelOptions(outputs=["other"])
    assert as_in_the_run(given, {"run": {"options": {"inputs": ["number"]}}}) is given


@pytest.mark.parametrize(
    "report",
    [
        None,
        [],
        {"run": 3},
        {"run": {"options": {"inputs": [1]}}},
        {"run": {"options": {"inputs": 5}}},
        {"run": {"options": {"signature": ["a"]}}},
        {"run": {"options": {"constants": {"scale": "array of [100]"}, "inputs": ["number"]}}},
    ],
    ids=json.dumps,
)
def test_a_report_that_does_not_tell(report):
    assert as_in_the_run(ModelOptions(), report) == ModelOptions()


def test_trust_is_not_taken_from_a_report():
    made = as_in_the_run(ModelOptions(), {"run": {"options": {"inputs": ["number"], "trust_model": True}}})
    assert (made.inputs, made.trust_model) == (["number"], False)
