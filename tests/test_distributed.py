"""The digits network calibrated in parts, by several processes, and after a stop: always the same files."""

import dataclasses

import numpy as np
import pytest

import calibrant
import calibrant.on_dask
from calibrant.errors import ConfigError, DataError, OutputError
from reports import reproducible

FILES = ("record.txt", "config.json", "digits_fakequant.pb", "digits_quant.json", "report.json")


@pytest.fixture(scope="module")
def digits(repository):
    folder = repository / "examples" / "digits"
    return {"model": folder / "digits.pb", "config": folder / "quant.cfg"}


@pytest.fixture(scope="module")
def data(repository):
    return np.load(repository / "examples" / "digits" / "calibration.npz")["image"]


@pytest.fixture(scope="module")
def expected(digits, data, tmp_path_factory):
    return files(calibrant.quantize(**digits, data=data, out=tmp_path_factory.mktemp("whole"), threads=1))


def files(result):
    return reproducible({path.name: path.read_bytes() for path in result.files if path.name in FILES}, page=False)


def test_the_files_are_complete(expected):
    assert sorted(expected) == sorted(FILES)


@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes(digits, data, expected, tmp_path, workers):
    assert files(calibrant.quantize(**digits, data=data, out=tmp_path, workers=workers, threads=1)) == expected


def test_batches_in_another_order(digits, data, expected, tmp_path):
    turned = np.concatenate(np.split(data, 4)[::-1])
    assert files(calibrant.quantize(**digits, data=turned, out=tmp_path, threads=1)) == expected


def test_parts_merged_in_any_order(digits, data, expected, tmp_path):
    for name, batches in (("a", (0, 1)), ("b", (1, 3)), ("c", (3, 4))):
        calibrant.observe(**digits, data=data, state=tmp_path / name, batches=batches, threads=1)
    states = [tmp_path / name for name in "cab"]
    assert files(calibrant.merge(states, **digits, out=tmp_path / "out")) == expected
    with pytest.raises(DataError, match="3 batches were observed, batch_num is 4"):
        calibrant.merge(states[1:], **digits)
    with pytest.raises(DataError, match="batch 0 of 4 is in none of the files(.|\n)*say batch_num : 3"):
        calibrant.merge([tmp_path / "b", tmp_path / "c"], digits["model"], without_number(digits))
    with pytest.raises(DataError, match="batch 3 of 4 is in none of the files"):
        calibrant.merge([tmp_path / "b", tmp_path / "a"], digits["model"], without_number(digits))
    assert files(calibrant.merge(states, digits["model"], without_number(digits), tmp_path / "silent")) == expected
    with pytest.raises(DataError, match="batch 3 is in this file and in another"):
        calibrant.merge([*states, states[0]], **digits)
    with pytest.raises(DataError, match="no state is named"):
        calibrant.merge([], **digits)


def without_number(digits):
    return digits["config"].read_text().replace("batch_num : 4", "")


def test_data_in_different_places(digits, data, expected, tmp_path, caplog):
    halves = {"a": data[:32], "b": data[32:]}
    with pytest.raises(DataError, match=r"batch_num is 4(.|\n)*hint: .*samples='all'.*then merge"):
        calibrant.observe(**digits, data=halves["a"], state=tmp_path / "a")
    for name, half in halves.items():
        calibrant.observe(**digits, data=half, state=tmp_path / name, samples="all", threads=1)
    merged = calibrant.merge([tmp_path / "a", tmp_path / "b"], **digits, out=tmp_path)
    assert files(merged)["record.txt"] == expected["record.txt"]


def test_a_part_says_which_batches_it_takes(digits, data, tmp_path, caplog):
    with caplog.at_level("INFO", "calibrant"):
        calibrant.observe(**digits, data=data, state=tmp_path / "state", batches=(0, 2))
    assert "using batches 0:2 of the 4 that hold 64 samples" in caplog.messages
    assert not any(message.startswith("using all") for message in caplog.messages)


def test_more_batches_than_the_configuration_says_all_count(digits, data, tmp_path, caplog):
    calibrant.observe(**digits, data=data, state=tmp_path / "state")
    fewer = digits["config"].read_text().replace("batch_num : 4", "batch_num : 2")
    with caplog.at_level("WARNING", "calibrant"):
        merged = calibrant.merge([tmp_path / "state"], digits["model"], fewer)
    assert merged.plan.batch_num == 4
    assert "4 batches were observed, batch_num is 2: all of them count" in caplog.text


def test_each_range_has_a_file_of_its_own(digits, data, tmp_path):
    calibrant.observe(**digits, data=data, state=tmp_path / "state", batches=(0, 2))
    before = (tmp_path / "state").read_bytes()
    with pytest.raises(DataError, match="holds batch 0, 1, which --batches leaves out(.|\n)*hint: .*--state"):
        calibrant.observe(**digits, data=data, state=tmp_path / "state", batches=(2, 4))
    assert (tmp_path / "state").read_bytes() == before


def test_parts_of_data_that_lie_in_different_places(digits, data, expected, tmp_path):
    text = digits["config"].read_text().replace("batch_num : 4", "batch_num : 2")
    for name, part in (("a", data[:32]), ("b", data[32:])):
        calibrant.observe(digits["model"], text, part, tmp_path / name, threads=1)
    result = calibrant.merge([tmp_path / "b", tmp_path / "a"], **digits, out=tmp_path / "out")
    assert files(result) == expected


def test_a_state_is_good_for_other_searches(digits, data, tmp_path):
    text = digits["config"].read_text()
    calibrant.observe(**digits, data=data, state=tmp_path / "state", threads=1)
    other = text.replace("search_step : 0.01", "search_step : 0.02")
    merged = calibrant.merge([tmp_path / "state"], digits["model"], other, tmp_path / "merged")
    assert files(merged) == files(
        calibrant.quantize(digits["model"], other, data, tmp_path / "whole", name="digits", threads=1)
    )


def test_resuming(digits, data, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("calibrant.calibration.runner.SAVE_EVERY", 0.0)

    def stop_after_two(items, description, total):
        for number, item in enumerate(items):
            if number == 2:
                raise KeyboardInterrupt
            yield item

    resumed = {"data": data, "resume": tmp_path / "state", "threads": 1}
    with pytest.raises(KeyboardInterrupt):
        calibrant.quantize(**digits, **resumed, out=tmp_path / "out", track=stop_after_two)
    assert not (tmp_path / "out").exists()
    assert len(np.load(tmp_path / "state")["batch_numbers"]) == 2
    assert files(calibrant.quantize(**digits, **resumed, out=tmp_path / "out")) == expected


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("out", "is where the results are written"),
        ("out/record.txt", "would be replaced by a result"),
        ("out/../out/digits_saved_model/state", "would be replaced by a result"),
        ("link/report.json", "would be replaced by a result"),
    ],
)
def test_a_state_that_results_would_replace_is_refused_before_the_run(state, said, digits, data, tmp_path):
    (tmp_path / "link").symlink_to("out")
    with pytest.raises(OutputError, match=said):
        calibrant.quantize(**digits, data=iter([]), out=tmp_path / "out", resume=tmp_path / state, export="saved_model")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_state_beside_the_results(digits, data, expected, tmp_path):
    state = tmp_path / "out" / "state.npz"
    assert files(calibrant.quantize(**digits, data=data, out=tmp_path / "out", resume=state, threads=1)) == expected
    assert state.is_file()


def test_states_of_another_configuration_are_refused(digits, data, tmp_path):
    calibrant.observe(**digits, data=data, state=tmp_path / "state")
    skipping = digits["config"].read_text() + '\nskip_layer_types : "AvgPool"'
    with pytest.raises(DataError, match="another model, or a configuration"):
        calibrant.merge([tmp_path / "state"], digits["model"], skipping)
    with pytest.raises(DataError, match="another model, or a configuration"):
        calibrant.merge([tmp_path / "state"], **digits, bias_correction=False)


def test_balancing_is_spread_over_processes_but_not_over_parts(digits, data, tmp_path):
    config = "batch_num : 4 common_config { dmq_balancer { migration_strength : 0.5 } }"
    results = [
        calibrant.quantize(digits["model"], config, data, tmp_path / str(workers), workers=workers, threads=1)
        for workers in (1, 2)
    ]
    assert files(results[0]) == files(results[1])
    with pytest.raises(ConfigError, match="dmq_balancer needs a pass over all data"):
        calibrant.observe(digits["model"], config, data, tmp_path / "state")


CALLS = {
    "observe": lambda **given: calibrant.observe("no.pb", data="no.npy", **given),
    "merge": lambda **given: calibrant.merge(["no.npz"], "no.pb", **given),
    "on_dask": lambda **given: calibrant.on_dask.quantize(None, "no.pb", data="no.npy", **given),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_needs_all_data_at_once_is_refused_and_the_way_is_named(call):
    if call == "on_dask":
        pytest.importorskip("distributed", reason="pip install 'calibrant[dask]'")
    with pytest.raises(ConfigError) as refused:
        CALLS[call](equalize=True, budget=0.3)
    assert [problem.allowed for problem in refused.value.problems] == ["equalize=False", "budget=None"]
    assert "NAME_budget.cfg" in str(refused.value)


def test_what_a_budget_chose_is_a_configuration_for_parts(digits, data, tmp_path):
    calibrant.quantize(digits["model"], None, data, tmp_path / "first", budget=0.3, threads=1)
    chosen, merged = tmp_path / "first" / "digits_budget.cfg", tmp_path / "merged"
    calibrant.observe(digits["model"], chosen, data, tmp_path / "state", threads=1)
    calibrant.merge([tmp_path / "state"], digits["model"], chosen, merged)
    assert (merged / "record.txt").read_text() == (tmp_path / "first" / "record.txt").read_text()


EFFECTS = {"bias_correction": False, "round_weights": True}
"""Options of a calibration whose results differ, after merging too."""
REFUSED = {"equalize", "budget"}
ABOUT_READING = {"samples", "workers", "threads"}


def test_no_option_of_a_calibration_is_without_effect(digits, data, tmp_path):
    names = {field.name for field in dataclasses.fields(calibrant.CalibrationOptions)}
    assert names == {*EFFECTS, *REFUSED, *ABOUT_READING}
    plain = calibrant.quantize(**digits, data=data, out=tmp_path / "plain", threads=1)
    for name, value in EFFECTS.items():
        given = {name: value}
        calibrant.observe(**digits, data=data, state=tmp_path / name, threads=1, **given)
        merged = files(calibrant.merge([tmp_path / name], **digits, out=tmp_path / f"{name}_merged", **given))
        assert merged == files(
            calibrant.quantize(**digits, data=data, out=tmp_path / f"{name}_whole", threads=1, **given)
        )
        assert merged["digits_fakequant.pb"] != files(plain)["digits_fakequant.pb"]


@pytest.mark.parametrize("batches", [(2, 2), (-1, 3), (3, 5)])
def test_impossible_ranges_are_refused(digits, data, tmp_path, batches):
    with pytest.raises(DataError, match="a range within 0:4"):
        calibrant.observe(**digits, data=data, state=tmp_path / "state", batches=batches)
