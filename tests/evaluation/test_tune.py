"""Tuning a small trained network: the file that comes out reproduces what was found."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest

import calibrant
from calibrant.cli.tune import tune as tune_command
from calibrant.config import load_config
from calibrant.config.text_write import write_config
from calibrant.errors import DataError
from calibrant.evaluation.candidate import MUTATIONS, Candidate, configuration_for
from calibrant.evaluation.concise import concise
from calibrant.evaluation.trials import TrialPool, TrialSetup
from calibrant.evaluation.tune import tune
from calibrant.fold import fold
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.steps.graph_info import graph_info
from calibrant.steps.plan import make_plan
from graphs import conv, dense, graph_def, numbers, placeholder, tf

ROUGH = """batch_num : 2
common_config { arq_quantize { channel_wise : false } ifmr_quantize { max_percentile : 0.9 min_percentile : 0.9 } }
"""


@pytest.fixture(scope="module")
def digits(repository):
    return load(repository / "examples/digits/digits.pb")


@pytest.fixture(scope="module")
def data(repository):
    with np.load(repository / "examples/digits/calibration.npz") as calibration:
        inputs = calibration[calibration.files[0]]
    with np.load(repository / "examples/digits/test.npz") as test:
        return inputs, test["x"][:200], test["y"][:200]


def plan_of(model, text):
    configuration = load_config(text)
    folded = fold(model)
    return configuration, make_plan(configuration, graph_info(model, folded.graph)[0], folded.graph)


@pytest.fixture(scope="module")
def tuned(digits, data):
    calibration, test, labels = data
    return tune(digits, ROUGH, calibration, tolerance=0.005, test_data=test, labels=labels)


def test_the_tolerance_is_met_where_the_given_configuration_misses_it(tuned):
    assert tuned.tried[0].outcome.loss > 0.005
    assert tuned.met and tuned.outcome.loss <= 0.005


def test_the_file_reproduces_the_result(tuned, digits, data):
    calibration, test, labels = data
    result = calibrant.quantize(digits, tuned.text, calibration)
    first, second = calibrant.evaluate([digits, result.fakequant], test, labels)
    assert first.top1 - second.top1 == pytest.approx(tuned.outcome.loss)
    assert tuned.text.startswith("# found by calibrant tune; meets")


def test_with_refined_ranges_the_file_says_so_and_reproduces_the_result(digits, data):
    calibration, test, labels = data
    given = {"tolerance": 0, "repairs": (), "layers_in_float": False}
    found = tune(digits, ROUGH, calibration, test_data=test, labels=labels, refine=True, **given)
    plain = tune(digits, ROUGH, calibration, test_data=test, labels=labels, **given)
    assert "for quantize --refine" in found.text and "--refine" not in plain.text
    assert found.outcome.sqnr_db > plain.outcome.sqnr_db
    result = calibrant.quantize(digits, found.text, calibration, refine=True)
    first, second = calibrant.evaluate([digits, result.fakequant], test, labels)
    assert first.top1 - second.top1 == pytest.approx(found.outcome.loss)


def test_without_labels_predictions_are_compared(digits, data):
    calibration, test, _ = data
    found = tune(digits, ROUGH, calibration, tolerance=0.0, test_data=test, repairs=())
    result = calibrant.quantize(digits, found.text, calibration)
    _, second = calibrant.evaluate([digits, result.fakequant], test)
    assert 1 - second.agreement == pytest.approx(found.outcome.loss)
    assert set(found.in_float).isdisjoint(layer.layer.name for layer in result.network.layers)


def test_a_tolerance_outside_of_what_shares_can_be(digits, data):
    with pytest.raises(DataError, match="tolerance"):
        tune(digits, ROUGH, data[0], tolerance=1.5)


def test_a_large_tolerance_is_told_in_points(digits, data, caplog):
    with pytest.raises(DataError):
        tune(digits, ROUGH, iter(()), tolerance=0.5, samples=1)
    assert "50 percentage points" in caplog.text


def test_the_tolerance_by_default_is_that_of_the_command():
    by_default = inspect.signature(tune).parameters["tolerance"].default
    [option] = [entry for entry in tune_command.params if entry.name == "tolerance"]
    assert 100 * by_default == option.default


def test_processes_give_what_one_process_gives_and_nothing_runs_twice(digits, data):
    configuration, plan = plan_of(digits, ROUGH)
    start = Candidate(plan.layers)
    choices = [start, start.repaired(MUTATIONS[0]), start.with_float({plan.layers[0].name}), start]
    pairs = [(configuration_for(configuration, plan, choice), False) for choice in choices]
    setup = TrialSetup(digits, data[0], data[1], {0: data[2]})
    with TrialPool(setup) as one, TrialPool(setup, workers=2) as several:
        expected = one.run(pairs)
        assert several.run(pairs) == expected and expected[0] == expected[3]
        assert one.runs == several.runs == 3
        one.run(pairs)
        assert one.runs == 3
        assert one.run([(pairs[0][0], True)])[0].ranking
        assert one.runs == 4


@pytest.mark.parametrize("repair", MUTATIONS, ids=lambda repair: repair.name)
def test_a_configuration_resolves_to_the_choice_that_was_written_into_it(digits, repair):
    given = ROUGH.replace("common_config {", "common_config { dmq_balancer { migration_strength : 0.3 }")
    configuration, plan = plan_of(digits, given)
    for choice in (
        Candidate(plan.layers).repaired(repair),
        Candidate(plan.layers).repaired(repair, {plan.layers[1].name}),
    ):
        choice = choice.with_float({plan.layers[0].name})
        resolved = plan_of(digits, configuration_for(configuration, plan, choice))[1]
        assert resolved.layers == tuple(entry for entry in choice.settings if entry.name not in choice.in_float)


def test_settings_that_most_layers_have_are_one_common_config(digits):
    configuration, plan = plan_of(digits, ROUGH)
    for choice in (
        Candidate(plan.layers).repaired(MUTATIONS[5]).repaired(MUTATIONS[0]),
        Candidate(plan.layers).repaired(MUTATIONS[3]).repaired(MUTATIONS[4], {plan.layers[1].name}),
    ):
        found = concise(configuration_for(configuration, plan, choice), lambda each: plan_of(digits, each)[1])
        changed = {entry.name for entry in choice.settings} - {
            block.layer_name for block in found.override_layer_configs
        }
        assert len(found.override_layer_configs) <= 1 < len(changed)
        assert plan_of(digits, write_config(found))[1].layers == choice.settings


def test_a_dataset_that_is_shuffled_anew_is_refused(digits, data):
    pairs = tf.data.Dataset.from_tensor_slices((data[1], data[2])).shuffle(200)
    with pytest.raises(DataError, match="not the same when they are read again(.|\n)*reshuffle_each_iteration=False"):
        tune(digits, ROUGH, data[0], tolerance=0.5, test_data=pairs)
    same = tf.data.Dataset.from_tensor_slices((data[1], data[2])).batch(50)
    with_pairs = tune(digits, ROUGH, data[0], tolerance=0.5, test_data=same)
    with_arrays = tune(digits, ROUGH, data[0], tolerance=0.5, test_data=data[1], labels=data[2])
    assert with_pairs.outcome.loss == with_arrays.outcome.loss > 0


def test_one_of_several_outputs_is_judged_and_numbers_to_be_predicted_lose_explained_variance():
    def build():
        x = placeholder([None, 6, 6, 2])
        features = tf.reshape(conv(x), [-1, 144])
        tf.identity(dense(features, name="b_dense"), name="z_classes")
        tf.identity(dense(features, 1, name="a_dense"), name="a_number")

    model = load(graph_def(build), outputs=["z_classes", "a_number"])
    inputs = numbers(32, 6, 6, 2)
    targets = run_once(model, {"x": inputs})[1]
    found = tune(model, data=inputs, tolerance=1.0, labels=targets, output="a_number")
    result = calibrant.quantize(model, None, inputs)
    rows = calibrant.evaluate([model, result.fakequant], inputs, targets, output="a_number")
    assert rows[2].r2 == 1 and found.outcome.loss == pytest.approx(1 - rows[3].r2)
    assert 0 < found.outcome.loss < 0.02
    with pytest.raises(DataError, match="the model has 2(.|\n)*--output NAME"):
        tune(model, data=inputs, tolerance=1.0, labels=targets)
    with pytest.raises(DataError, match="do not vary"):
        tune(model, data=inputs, tolerance=1.0, labels=np.full(32, 0.5), output="a_number")


def test_a_config_json_that_does_not_list_all_layers_becomes_a_file_that_skips_them(digits):
    listed = {"digits_1/conv1_1/convolution": {"quant_enable": False}, "digits_1/dense_1/MatMul": {}}
    configuration, plan = plan_of(digits, json.dumps(listed))
    text = write_config(configuration_for(configuration, plan, Candidate(plan.layers)))
    _, again = plan_of(digits, text)
    assert again == replace(plan, skipped=again.skipped, warnings=again.warnings)
    assert {name for name, *_ in again.skipped} == {name for name, *_ in plan.skipped}


def test_another_number_of_labels_names_their_file(digits, data, tmp_path):
    calibration, test, labels = data
    np.save(tmp_path / "labels.npy", labels[:-1])
    with pytest.raises(DataError, match=r"labels\.npy: 199 labels for 200 samples"):
        tune(digits, ROUGH, calibration, test_data=test, labels=tmp_path / "labels.npy")
