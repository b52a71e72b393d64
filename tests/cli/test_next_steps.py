"""The commands that are proposed are typed into a shell as they are, whatever the files are called."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from calibrant.cli.next_step import place
from command_line import run
from graphs import graph_def, numbers, save, small_network

ODD = "my $(touch evil) it's"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder with an odd name, a model, data, and a result of an odd name."""
    folder = tmp_path_factory.mktemp("odd") / ODD
    folder.mkdir()
    save(graph_def(small_network), folder / "a model.pb")
    np.save(folder / "x.npy", numbers(8, 6, 6, 2))
    return folder


def proposed(done):
    """The words of the command that is proposed, as a shell takes them."""
    assert done.code == 0, done.err
    [said] = [line.removeprefix("next: ") for line in done.out.splitlines() if line.startswith("next: ")]
    return shlex.split(said.replace(";", " ; ")) if "; " in said else shlex.split(said)


def test_each_command(odd):
    model, data, out = str(odd / "a model.pb"), str(odd / "x.npy"), str(odd / "out put")
    config, tuned, state = str(odd / "a.cfg"), str(odd / "b.cfg"), str(odd / "s.npz")
    given = ("--inputs", "x", "--outputs", "out")
    assert proposed(run("inspect", model, *given))[:7] == ["calibrant", "init", model, *given]
    wanted = ["calibrant", "quantize", model, "--config", config]
    assert proposed(run("init", model, "--out", config))[:5] == wanted
    assert proposed(run("check", config, "--model", model))[:5] == wanted
    assert proposed(run("check", config))[:3] == ["calibrant", "check", config]
    done = run("tune", model, "--data", f"{data}[:4]", "--tolerance", 50, "--out", tuned)
    assert proposed(done)[2:7] == [model, "--config", tuned, "--data", f"{data}[:4]"]
    quantized = run(
        *("quantize", model, "--data", data, "--out", out, "--name", ODD, "--no-refine", "--export", "tflite,ascend")
    )
    assert proposed(quantized)[2:4] == [model, f"{out}/{ODD}_fakequant.pb"]
    assert proposed(run("verify", out, "--data", data))[-8:-5] == ["golden", out, "--data"]
    assert proposed(run("golden", out, "--data", data))[1] == f"{out}/golden"
    page = str(odd / "a page.html")
    assert proposed(run("compare", out, out, "--page", page)) == ["open", page]
    lowered = str(odd / "lowered.pb")
    done = run("lower", f"{out}/{ODD}_quantized.pb", "--out", lowered)
    assert proposed(done) == ["calibrant", "evaluate", lowered, "--data", "DATA"]
    done = run("observe", model, "--data", data, "--state", state)
    assert proposed(done)[2:6] == [state, "...", "--model", model]


def test_a_path_is_no_option():
    assert place("-x.pb") == "./-x.pb"
    assert place("a b") == "'a b'"
