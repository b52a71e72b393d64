"""With --json, errors are JSON as well, whatever the command."""

import json

import numpy as np
import pytest

import calibrant
from calibrant.cli.main import COMMANDS, main
from graphs import graph_def, numbers, save, small_network

ARGUMENTS = {
    "check": ["missing.cfg"],
    "evaluate": ["missing.pb", "--data", "x.npy"],
    "inspect": ["missing.pb"],
    "lower": ["missing.pb", "--out", "o.pb"],
    "merge": ["missing.npz", "--model", "missing.pb", "--out", "o"],
    "observe": ["missing.pb", "--data", "x.npy", "--state", "s.npz"],
    "quantize": ["missing.pb", "--data", "x.npy", "--out", "o"],
    "tune": ["missing.pb", "--data", "x.npy", "--out", "t.cfg"],
    "verify": ["missing", "--data", "x.npy"],
    "golden": ["missing", "--data", "x.npy"],
}


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    return end.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", sorted(ARGUMENTS))
def test_missing_files(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, found = run(capsys, command, *ARGUMENTS[command], "--json")
    assert code == 2 and "missing" in json.dumps(found["problems"])


def test_usage_errors(capsys):
    code, found = run(capsys, "quantize", "--json")
    assert code == 2 and "MODEL" in found["problems"][0]["message"]


def test_every_command_that_reads_something_is_here():
    assert set(ARGUMENTS) <= set(COMMANDS)


def test_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = save(graph_def(small_network), tmp_path / "model.pb")
    np.save("x.npy", numbers(64, 6, 6, 2))
    code, found = run(capsys, "quantize", model, "--data", "x.npy", "--out", "o", "--json")
    assert not code and found["totals"]["quantized_layers"] == 3
    run_row = found["run"]
    assert run_row["samples"] == 64 and len(run_row["model_sha256"]) == len(run_row["data_fingerprint"]) == 64
    assert run_row["options"]["bias_correction"] is True and run_row["peak_memory_bytes"] > 1e6
    code, found = run(capsys, "inspect", model, "--json")
    assert found["inputs and outputs"][0]["shape"] == [None, 6, 6, 2]
    assert found["quantizable layers"][0]["weights"] == [3, 3, 2, 4]
    code, found = run(capsys, "tune", model, "--data", "x.npy", "--out", "t.cfg", "--tolerance", "20", "--json")
    assert not code and found["met"] and found["tried"][0]["what"] == "as given"


def test_a_result_in_one_line_and_in_a_notebook():
    result = calibrant.quantize(graph_def(small_network), data=numbers(1000, 6, 6, 2))
    assert repr(result) == "<Result model: 3 layers quantized, 0 left in float, 64 of 1,000 samples>"
    html = result._repr_html_()
    assert html.count("<tr>") == 4 and len(html) < 2000


def test_reporting_leaves_the_given_graph_alone():
    definition = graph_def(small_network)
    before = definition.SerializeToString(deterministic=True)
    result = calibrant.quantize(definition, data=numbers(32, 6, 6, 2))
    assert result.report and result.run and repr(result)
    assert definition.SerializeToString(deterministic=True) == before


def test_the_package_lists_what_there_is():
    assert [name for name in dir(calibrant) if not name.startswith("_")] == sorted(
        set(calibrant.__all__) - {"__version__"}
    )


def test_a_defect_is_not_exit_code_1(tmp_path, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise RuntimeError("boom")

    monkeypatch.setattr("calibrant.evaluation.verify.verify", broken)
    code, found = run(capsys, "verify", tmp_path, "--data", "x.npy", "--json")
    assert code == 70 and "boom" in found["problems"][0]["message"]
