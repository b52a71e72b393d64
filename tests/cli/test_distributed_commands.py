"""``observe``, ``merge``, ``quantize --workers --resume``: the library's results through the command line."""

import json
import shlex

import numpy as np
import pytest

from calibrant.cli.merge import merge
from calibrant.cli.observe import FOR_MERGE, observe
from calibrant.report.option_words import ABOUT_MODEL
from command_line import run
from graphs import graph_def, numbers, save, small_network
from reports import reproducible


@pytest.fixture(scope="module")
def digits(repository):
    folder = repository / "examples" / "digits"
    return {
        name: folder / file
        for name, file in (("model", "digits.pb"), ("config", "quant.cfg"), ("data", "calibration.npz"))
    }


def test_parts_are_the_whole(digits, tmp_path):
    model, rest = digits["model"], ("--config", digits["config"], "--data", digits["data"])
    whole = run("-q", "quantize", model, *rest, "--out", tmp_path / "whole", "--resume", tmp_path / "state")
    assert whole.code == 0
    assert (tmp_path / "state").exists()
    for name, batches in (("a", "0:3"), ("b", "3:4")):
        part = run("observe", model, *rest, "--state", tmp_path / name, "--batches", batches)
        assert (part.code, part.out.splitlines()[-2]) == (0, f"written to {tmp_path / name}")
    parts = (tmp_path / "b", tmp_path / "a")
    merged = run("merge", *parts, "--model", model, "--config", digits["config"], "--out", tmp_path / "merged")
    assert merged.code == 0
    assert "4 batches" in merged.out
    assert reproducible(tmp_path / "merged", page=False) == reproducible(tmp_path / "whole", page=False)


def test_mistakes_are_told_without_a_traceback(digits, tmp_path):
    model, rest = digits["model"], ("--config", digits["config"], "--data", digits["data"])
    assert run("observe", model, *rest, "--state", tmp_path / "a", "--batches", "3").code == 2
    (tmp_path / "state").write_text("nothing")
    damaged = run("quantize", model, *rest, "--out", tmp_path / "out", "--resume", tmp_path / "state")
    assert damaged.code == 2
    assert "is not a whole calibration state" in damaged.err
    assert run("merge", tmp_path / "absent", "--model", model, "--out", tmp_path / "out").code == 2
    assert run("quantize", model, *rest, "--out", tmp_path / "out", "--workers", "0").code == 2
    assert not (tmp_path / "out").exists()


def test_parts_that_were_observed_for_other_files_are_told_with_the_option(digits, tmp_path):
    model = digits["model"]
    assert run("observe", model, "--data", digits["data"], "--state", tmp_path / "a").code == 0
    merged = run("merge", tmp_path / "a", "--model", model, "--out", tmp_path / "out", "--export", "tflite")
    assert merged.code == 2 and "such as --export" in merged.err


def test_merge_ends_as_quantize_does(tmp_path):
    model, data, state = tmp_path / "m.pb", tmp_path / "x.npy", tmp_path / "s.npz"
    save(graph_def(small_network), model)
    x = numbers(64, 6, 6, 2)
    x[0] *= 1e4  # one value decides the range, of which the report warns
    np.save(data, x)
    assert run("observe", model, "--data", data, "--state", state).code == 0
    whole = run("quantize", model, "--data", data, "--out", tmp_path / "whole", "--no-refine")
    merged = run("merge", state, "--model", model, "--out", tmp_path / "out", "--no-page")
    about_layers = [
        [line for line in done.err.splitlines() if line.startswith("warning: '")] for done in (whole, merged)
    ]
    assert about_layers[0] and about_layers[1] == about_layers[0]
    said = [[line for line in done.out.splitlines() if line.startswith("next: ")] for done in (whole, merged)]
    expected = [line.replace("/whole", "/out").replace(f"--data {data}", "--data DATA") for line in said[0]]
    assert said[0] and said[1] == expected
    assert not (tmp_path / "out" / "report.html").exists()


def test_the_command_after_observe_can_be_typed_as_it_is(tmp_path):
    model, data, config = tmp_path / "m.pb", tmp_path / "x.npy", tmp_path / "a config.cfg"
    save(graph_def(small_network), model)
    np.save(data, numbers(64, 6, 6, 2))
    config.write_text("batch_num : 4")
    given = shlex.split(
        "--inputs x --outputs out --no-bias-correction --round-weights --export tflite --export ascend "
        "--tflite-shape x=1,6,6,2 --tflite-ops layers --samples 32 --batch-size 8 --workers 1 --threads 1"
    )
    done = run("observe", model, "--config", config, "--data", data, "--state", tmp_path / "s.npz", *given)
    [said] = [line.removeprefix("next: ") for line in done.out.splitlines() if line.startswith("next: ")]
    words = [word for word in shlex.split(said) if word != "..."]
    assert words[0] == "calibrant"
    merged = run(*(tmp_path / "out" if word == "OUT" else word for word in words[1:]))
    assert merged.code == 0, merged.err
    options = json.loads((tmp_path / "out" / "report.json").read_text())["run"]["options"]
    assert (options["bias_correction"], options["round_weights"], options["tflite_ops"]) == (False, True, "layers")
    assert (options["export"], options["tflite_shape"]) == (["tflite", "ascend"], {"x": [1, 6, 6, 2]})


def test_the_command_after_observe_has_all_options_of_both():
    both = {option.name for option in observe.params} & {option.name for option in merge.params}
    assert both == {"model", "config", *ABOUT_MODEL, "trust_model", *FOR_MERGE, "as_json", "quiet", "verbose"}
