"""The four commands: what they print, as text and as JSON, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import calibrant
from calibrant.cli import show
from command_line import run, tree
from graphs import graph_def, numbers, save, small_network, two_layers_in_float, weights_in_a_loop
from reports import reproducible

CONFIG = """# a comment
batch_num : 2
skip_layers : "pool"
override_layer_configs {
    layer_name : "conv"
    calibration_config { arq_quantize { quant_bits : 6 } hfmg_quantize { num_of_bins : 1024 } }
}
"""


@pytest.fixture
def files(tmp_path):
    """Model, configuration, data and labels."""
    save(graph_def(small_network), tmp_path / "model.pb")
    (tmp_path / "quant.cfg").write_text(CONFIG)
    np.savez(tmp_path / "data.npz", x=numbers(40, 6, 6, 2), y=np.arange(40) % 3)
    return tmp_path


def arguments(files, *options):
    return [
        "quantize",
        files / "model.pb",
        "--config",
        files / "quant.cfg",
        "--data",
        f"{files / 'data.npz'}:x",
        "--out",
        files / "out",
        *options,
    ]


def environment(repository, **more):
    """That of a user: without what this suite sets."""
    usual = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return {**usual, "PYTHONPATH": str(repository / "src"), **more}


def process(repository, *words, **more):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "calibrant", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment(repository, **more),
        timeout=120,
    )


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["quantize", "--help"], ["check", "-h"], ["inspect", "-h"]])
def test_help(words):
    outcome = run(*words)
    assert outcome.code == 0 and outcome.out.startswith("Usage: calibrant") and outcome.err == ""


@pytest.mark.parametrize("words", [[], ["quantise"], ["quantize"], ["check"], ["--bogus"], ["evaluate", "m.pb"]])
def test_wrong_words(words):
    outcome = run(*words)
    assert (outcome.code, outcome.out) == (2, "") and "Usage" in outcome.err


def test_help_imports_nothing_heavy(repository):
    code = "import sys; sys.argv[1:] = ['--help']; import calibrant.cli\n"
    code += "try: calibrant.cli.main()\nexcept SystemExit: pass\n"
    code += "sys.exit(any(name in sys.modules for name in ('tensorflow', 'numpy', 'rich')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(repository))
    assert done.returncode == 0 and "quantize" in done.stdout, done.stderr


def test_version():
    outcome = run("--version")
    assert outcome.code == 0 and outcome.out.startswith("calibrant")


def test_check_without_a_model(files):
    outcome = run("check", files / "quant.cfg")
    assert (outcome.code, outcome.out, outcome.err) == (
        0,
        f"{files / 'quant.cfg'}: no problems\nnext: calibrant check {files / 'quant.cfg'} --model MODEL "
        "shows what it does to a model\n",
        "",
    )
    assert json.loads(run("check", files / "quant.cfg", "--json").out) == {"problems": []}


def test_check_shows_every_problem_with_its_place(files):
    (files / "bad.cfg").write_text("batch_num : 0\nactivation_ofset : true\nskip_layer_types : 'Conv2'\n")
    outcome = run("check", files / "bad.cfg")
    assert (outcome.code, outcome.out) == (2, "")
    assert "3 problems" in outcome.err
    for place in ("bad.cfg:1:13", "bad.cfg:2:1", "bad.cfg:3:20"):
        assert place in outcome.err
    assert "            ^" in outcome.err and "activation_offset" in outcome.err and "'Conv2D'" in outcome.err
    machine = run("check", files / "bad.cfg", "--json")
    problems = json.loads(machine.out)["problems"]
    assert machine.code == 2 and machine.err == ""
    assert [(problem["line"], problem["column"]) for problem in problems] == [(1, 13), (2, 1), (3, 20)]
    assert all(problem["message"] and problem["file"] for problem in problems)


def test_check_with_a_model(files):
    outcome = run("check", files / "quant.cfg", "--model", files / "model.pb")
    assert outcome.code == 0
    (conv,) = [line.split() for line in outcome.out.splitlines() if line.startswith("conv")]
    assert conv[:3] == ["conv", "Conv2D", "6"] and "hfmg" in " ".join(conv).lower()
    assert "override_layer_configs" in " ".join(conv)
    assert "skip_layers" in next(line for line in outcome.out.splitlines() if line.startswith("pool"))
    rows = {
        row["layer"]: row
        for row in json.loads(run("check", files / "quant.cfg", "--model", files / "model.pb", "--json").out)["plan"]
    }
    assert rows["conv"]["weight_bits"] == 6 and rows["dense"]["weight_bits"] == 8


def test_check_says_where_defaults_apply_and_reads_config_json(files, tmp_path):
    (files / "whole.cfg").write_text(
        "batch_num : 1\nbatch_num : 2\ncommon_config { arq_quantize { quant_bits : 7 } }\n"
        'override_layer_configs { layer_name : "conv" calibration_config { hfmg_quantize { } } }'
    )
    outcome = run("check", files / "whole.cfg", "--model", files / "model.pb")
    line = "conv: override_layer_configs[0] is taken whole; defaults apply instead of common_config's arq_quantize"
    assert outcome.code == 0 and line in outcome.out.splitlines()
    assert "whole.cfg:2:1: 'batch_num' is written twice, first in line 1, column 13" in outcome.err
    data = files / "data.npz"
    first = run(
        "quantize", files / "model.pb", "--config", files / "whole.cfg", "--data", f"{data}:x", "--out", tmp_path / "a"
    )
    again = run(
        "quantize",
        files / "model.pb",
        "--config",
        tmp_path / "a" / "config.json",
        "--data",
        f"{data}:x",
        "--out",
        tmp_path / "b",
    )
    assert (first.code, again.code) == (0, 0), again.err
    for name in ("config.json", "record.txt", "model_fakequant.pb"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert run("check", tmp_path / "a" / "config.json", "--model", files / "model.pb").code == 0


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_check_with_a_model_that_does_not_fit(files, form):
    (files / "bad.cfg").write_text('skip_layers : "conw"\nbatch_num : 0')
    outcome = run("check", files / "bad.cfg", "--model", files / "model.pb", *form)
    assert outcome.code == 2
    text = outcome.out if form else outcome.err
    assert "conw" in text and "'conv'" in text
    missing = run("check", files / "quant.cfg", "--model", files / "absent.pb", *form)
    assert missing.code == 2 and "absent.pb" in (missing.out if form else missing.err)


def test_inspect(files):
    outcome = run("inspect", files / "model.pb")
    assert outcome.code == 0 and outcome.err == ""
    for text in ("[?, 6, 6, 2]", "quantizable layers (3)", "[3, 3, 2, 4]", "conv/bias"):
        assert text in outcome.out
    content = json.loads(run("inspect", files / "model.pb", "--json").out)
    assert [row["layer"] for row in content["quantizable layers"]] == ["conv", "pool", "dense"]
    assert content["inputs and outputs"][0] == {
        "role": "input",
        "key": "x",
        "tensor": "x",
        "shape": [None, 6, 6, 2],
        "type": "float32",
    }
    cut = json.loads(run("inspect", files / "model.pb", "--inputs", "relu", "--json").out)
    assert [row["layer"] for row in cut["quantizable layers"]] == ["pool", "dense"]


def test_inspect_says_why_not(tmp_path):
    save(graph_def(two_layers_in_float), tmp_path / "model.pb")
    content = json.loads(run("inspect", tmp_path / "model.pb", "--json").out)
    reasons = {row["node"]: row["reason"] for row in content["not quantizable"]}
    assert "transpose_a" in reasons["transposed"] and "constant" in reasons["dynamic"]


def test_quantize_prints_tables_and_writes_files(files):
    outcome = run(*arguments(files))
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    for layer in ("conv", "dense"):
        assert any(line.startswith(f"{layer} ") for line in lines)
    assert any(line.startswith("pool") and "skip_layers" in line for line in lines)
    assert "2 layers and 0 tensors quantized, 1 left in float" in outcome.out
    assert "time: load" in outcome.out and "record.txt" in outcome.out
    assert max(len(line) for line in lines if not line.startswith("next: ")) < 240 and "\x1b" not in outcome.out
    assert sorted(tree(files / "out")) == [
        "config.json",
        "model_fakequant.pb",
        "model_quant.json",
        "record.txt",
        "report.html",
        "report.json",
    ]
    report = json.loads((files / "out" / "report.json").read_text())
    conv = next(line.split() for line in lines if line.startswith("conv "))
    assert float(conv[3]) == pytest.approx(report["layers"][0]["inputs"][0]["scale"], rel=1e-3)
    assert report["layers"][0]["weights"]["bits"] == 6 == int(conv[-2])


def test_refine_is_a_step_of_its_own(files):
    assert " refine " not in run(*arguments(files, "--no-refine")).out
    for option in ((), ("--refine",)):
        outcome = run(*arguments(files, *option))
        assert outcome.code == 0 and ", refine 0." in outcome.out


def test_what_is_left_to_refine_is_told(files, monkeypatch):
    monkeypatch.setattr("calibrant.report.output_sqnr.REFINE_BELOW_DB", 99)
    hint = "--refine chooses ranges by the outputs' error"
    assert hint in run(*arguments(files, "--no-refine")).out
    assert hint not in run(*arguments(files, "--refine")).out
    for layers, told in (("", False), ("common_config { arq_quantize { } ifmr_quantize { } }", True)):
        (files / "quant.cfg").write_text(f"batch_num : 2 {layers}")
        assert (hint in run(*arguments(files)).out) == told


def test_no_layer_to_rank(tmp_path):
    model = save(graph_def(weights_in_a_loop), tmp_path / "loop.pb")
    np.save(tmp_path / "data.npy", numbers(8, 3))
    options = ("--data", tmp_path / "data.npy", "--out", tmp_path / "out", "--outputs", "out")
    done = run("quantize", model, *options, "--sensitivity")
    assert done.code == 0 and "no layer to rank" in done.out and "settings of the first" not in done.out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["sensitivity"] == []


def test_progress_is_a_plain_line_where_there_is_no_terminal(files, monkeypatch):
    outcome = run(*arguments(files))
    (line,) = [line for line in outcome.err.splitlines() if "calibrating" in line]
    assert "2/2 batches" in line and "/s" in line and "\r" not in outcome.err
    monkeypatch.setattr(show, "PLAIN_EVERY_SECONDS", 0.0)
    several = run(*arguments(files, "--no-refine")).err.splitlines()
    assert several.pop(0) == "using 32 of 40 samples; --samples / batch_num for more"
    assert "1/2 batches" in several[0] and "s left" in several[0] and "2/2 batches" in several[-1]
    assert len(several) == len(set(several)) == 2


def test_quiet_prints_nothing(files):
    with (files / "quant.cfg").open("a") as stream:
        stream.write('skip_approximation_layers : "conv"\n')
    outcome = run("-q", *arguments(files))
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert (files / "out" / "report.json").is_file()
    loud = run(*arguments(files))
    assert "warning: skip_approximation_layers has no effect" in loud.err
    (files / "quant.cfg").write_text("batch_num : 0")
    assert "quant.cfg:1:13" in run("-q", *arguments(files)).err


def test_quiet_does_not_say_what_to_do_next(files):
    assert run(*arguments(files, "--export", "tflite")).code == 0
    out, model, data = files / "out", files / "model.pb", f"{files / 'data.npz'}:x"
    commands = [
        ("check", files / "quant.cfg"),
        ("check", files / "quant.cfg", "--model", model),
        ("init", model, "--out", files / "new.cfg", "--force"),
        ("inspect", model),
        ("verify", out, "--data", data),
        ("golden", out, "--data", data, "--out", files / "golden"),
        ("compare", out, out),
    ]
    for words in commands:
        loud, quiet = run(*words), run("-q", *words)
        assert (loud.code, quiet.code) == (0, 0), (words, loud.err, quiet.err)
        assert "next: " in loud.out and "next: " not in quiet.out, words


def test_without_a_litert_file_nothing_is_checked_on_a_device(files):
    run(*arguments(files, "--export", "ascend"))
    told = run("verify", files / "out", "--data", f"{files / 'data.npz'}:x").out
    assert "the files can be deployed" in told and "golden" not in told


def test_what_is_observed_is_merged_with_the_same_options(files):
    paths = ["--config", files / "quant.cfg", "--data", f"{files / 'data.npz'}:x", "--state", files / "part.npz"]
    told = run("observe", files / "model.pb", *paths, "--export", "tflite").out
    assert f"--config {files / 'quant.cfg'} --export tflite" in told
    words = told.partition("next: calibrant ")[2].partition(",")[0].replace(" ...", "").split()
    assert run(*[files / "merged" if word == "OUT" else word for word in words]).code == 0


def test_what_to_do_next_reads_the_model_in_the_same_way(files):
    options = ("--outputs", "pool", "--inputs", "x:0")
    told = run("inspect", files / "model.pb", *options).out
    assert f"next: calibrant init {files / 'model.pb'} --inputs x:0 --outputs pool writes" in told
    told = run("init", files / "model.pb", *options, "--out", files / "new.cfg").out
    assert f"next: calibrant quantize {files / 'model.pb'} --inputs x:0 --outputs pool --config" in told


def test_verbose_speaks_of_this_run_alone(files):
    outcome = run("-v", *arguments(files))
    assert outcome.code == 0 and len(outcome.err.splitlines()) < 25, outcome.err[:3000]
    for told in ("nodes, inputs x:0", "layers to be quantized", "data ", "calibrate: ", "written: "):
        assert told in outcome.err, told
    assert "written: " not in run(*arguments(files)).err


def test_verbosity_may_stand_behind_the_command(files):
    command, *rest = arguments(files)
    assert run(command, "--quiet", *rest).out == ""
    assert "written: " in run(command, *rest, "-v").err
    assert "written: " not in run("-q", command, *rest, "-v").err


def test_defaults_without_a_configuration_and_another_name(files):
    words = [
        "quantize",
        files / "model.pb",
        "--data",
        f"{files / 'data.npz'}:x",
        "--out",
        files / "out",
        "--name",
        "mine",
    ]
    assert run(*words).code == 0
    assert (files / "out" / "mine_fakequant.pb").is_file()


def test_a_second_run_replaces_and_a_failing_one_does_not(files):
    assert run(*arguments(files)).code == 0
    first = reproducible(files / "out")
    assert run(*arguments(files)).code == 0
    assert reproducible(files / "out") == first
    (files / "quant.cfg").write_text("batch_num : 77")
    before = tree(files)
    assert run(*arguments(files)).code == 2
    assert tree(files) == before


def test_evaluate_with_labels(files):
    assert run("-q", *arguments(files)).code == 0
    models = [files / "model.pb", files / "out" / "model_fakequant.pb"]
    data = ["--data", f"{files / 'data.npz'}:x", "--labels", f"{files / 'data.npz'}:y"]
    outcome = run("evaluate", *models, *data)
    assert outcome.code == 0
    rows = [line for line in outcome.out.splitlines() if line.startswith(str(files))]
    assert len(rows) == 2 and all("%" in row for row in rows)
    scores = json.loads(run("evaluate", *models, *data, "--json").out)
    assert [score["samples"] for score in scores] == [40, 40]
    assert 0 <= scores[0]["top1"] <= 1 and scores[0]["agreement"] is None and scores[1]["agreement"] > 0.9
    assert f"{100 * scores[0]['top1']:.2f} %" in rows[0]
    few = json.loads(run("evaluate", models[0], *data, "--ignore-label", "0", "--json").out)
    assert few[0]["samples"] == 26 and few[0]["top1"] != scores[0]["top1"]


def test_evaluate_without_labels(files):
    assert run("-q", *arguments(files)).code == 0
    models = [files / "model.pb", files / "out" / "model_fakequant.pb", files / "model.pb"]
    outcome = run("evaluate", *models, "--data", f"{files / 'data.npz'}:x", "--json")

    def no_constants(text):
        raise AssertionError(f"{text} is not JSON")

    scores = json.loads(outcome.out, parse_constant=no_constants)
    assert scores[0]["mse"] is None and scores[1]["mse"] > 0 == scores[2]["mse"] and scores[2]["sqnr_db"] is None
    assert 10 < scores[1]["sqnr_db"] < 80
    text = run("evaluate", *models, "--data", f"{files / 'data.npz'}:x").out
    assert "top-1" not in text and "SQNR dB" in text
    assert "SQNR: of the outputs as they are, all samples together" in text


@pytest.mark.parametrize(
    "words, text",
    [
        (["--labels", "{}/absent.npy"], "absent.npy"),
        (["--labels", "{}/model.pb"], "model.pb"),
        (["--outputs", "nowhere"], "nowhere"),
        (["--inputs", "nowhere"], "nowhere"),
    ],
)
def test_evaluate_with_what_does_not_fit(files, words, text):
    words = [word.format(files) for word in words]
    outcome = run("evaluate", files / "model.pb", "--data", f"{files / 'data.npz'}:x", *words)
    assert (outcome.code, outcome.out) == (2, "") and text in outcome.err


def test_interrupted(files, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrant, "quantize", interrupt)
    outcome = run(*arguments(files))
    assert outcome.code == 130 and "interrupted" in outcome.err and "Traceback" not in outcome.err


def test_a_reader_that_stops_reading(tmp_path, repository):
    (tmp_path / "bad.cfg").write_text("nonsense : 1\n" * 2000)
    words = f"{sys.executable} -m calibrant check {tmp_path / 'bad.cfg'} --json"
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -n 2; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        env=environment(repository),
        timeout=60,
    )
    assert done.stdout.splitlines() == ["{", '  "problems": ['] and done.stderr == ""
    assert done.returncode == 2


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from calibrant.cli import main
main(sys.argv[1:])
"""


def test_without_tensorflow(files, repository):
    def command(*words):
        return subprocess.run(
            [sys.executable, "-c", BLOCK, *map(str, words)],
            capture_output=True,
            text=True,
            env=environment(repository),
            timeout=120,
        )

    checked = command("check", files / "quant.cfg")
    assert (checked.returncode, checked.stderr) == (0, "")
    for words in (arguments(files), ["inspect", files / "model.pb"]):
        done = command(*words)
        assert done.returncode == 2 and "TensorFlow is not installed" in done.stderr
        assert "pip install" in done.stderr and "Traceback" not in done.stderr
    assert not (files / "out").exists()


@pytest.mark.parametrize("options", [(), ("--workers", 2)])
def test_the_real_command_is_quiet_about_itself(files, repository, options):
    """Nothing of TensorFlow's start-up messages, in a process of its own and those that it starts."""
    done = process(repository, *arguments(files, *options))
    assert done.returncode == 0
    assert [
        line for line in done.stderr.splitlines() if not line.startswith(("calibrating", "refining", "using "))
    ] == []


def test_the_real_command_says_what_is_wrong(files, repository):
    done = process(repository, *arguments(files, "--out", "/proc/out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: /proc: cannot be written to")
    assert "hint: choose another place (--out" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_killed_while_it_works(files, repository, number):
    """The previous result stays; data that never end keep the run busy until the signal comes."""
    assert run(*arguments(files)).code == 0
    before = tree(files)
    code = """
import sys, time, calibrant, numpy as np
def batches():
    print("reading", flush=True)
    while True:
        time.sleep(0.02)
        yield np.zeros((4, 6, 6, 2), np.float32)
from calibrant.cli import quantize, main
real = calibrant.quantize
calibrant.quantize = lambda *a, **k: real(*a, **{**k, "data": batches, "config": "batch_num : 100000"})
main(sys.argv[1:])
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments(files))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(repository),
    )
    assert child.stdout.readline() == "reading\n"
    time.sleep(0.3)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == (130 if number == signal.SIGINT else -number), err
    assert "Traceback" not in err
    assert tree(files) == before


def test_a_damaged_report_is_not_compared(files):
    assert run(*arguments(files)).code == 0
    report = files / "out" / "report.json"
    content = json.loads(report.read_text())
    shutil.copytree(files / "out", files / "other")
    report.write_text(json.dumps({**content, "layers": None}))
    found = run("compare", files / "out", files / "other")
    assert found.code == 2 and "reports is damaged" in found.err
