"""The commands that are proposed are typed into a shell as they are, whatever the files are called."""

from __future__ import annotations

import json
import shlex

import click
import numpy as np
import pytest
from PIL import Image

import calibrant
from calibrant.cli.data_options import ABOUT_FILES, data_options
from calibrant.cli.next_step import place
from calibrant.cli.verify import after
from calibrant.evaluation.verification import PairScore
from command_line import run
from graphs import conv, graph_def, numbers, placeholder, save, small_network, tf

ODD = "my $(touch evil) it's"


def switched_network():
    """A layer whose result depends on a placeholder."""
    y, train = conv(placeholder([None, 6, 6, 2])), placeholder([], "train", tf.bool)
    tf.where(train, 2 * y, y, name="out")


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
    verify = proposed(quantized).index("verify")
    assert proposed(quantized)[verify : verify + 6] == ["verify", out, "--data", "DATA", "--labels", "LABELS"]
    assert proposed(run("verify", out, "--data", data))[-8:-5] == ["golden", out, "--data"]
    assert proposed(run("golden", out, "--data", data))[1] == f"{out}/golden"
    page = str(odd / "a page.html")
    assert proposed(run("compare", out, out, "--page", page)) == ["open", page]
    lowered = str(odd / "lowered.pb")
    done = run("lower", f"{out}/{ODD}_quantized.pb", "--out", lowered)
    assert proposed(done) == ["calibrant", "evaluate", lowered, "--data", "DATA"]
    done = run("observe", model, "--data", data, "--state", state)
    assert proposed(done)[2:6] == [state, "...", "--model", model]


def test_tune_proposes_what_it_has_measured(tmp_path):
    model, folder, config, out = tmp_path / "m.pb", tmp_path / "pictures", tmp_path / "t.cfg", tmp_path / "out"
    save(graph_def(lambda: conv(placeholder([None, 8, 8, 3]))), model)
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (24, 12, 12, 3)).astype(np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    given = shlex.split(
        "--image-size 8,8 --crop 0.75 --scale 1/255 --mean 0.5,0.4,0.3 --std 0.25 --colour BGR "
        "--batch-size 4 --shuffle 3 --no-bias-correction --samples 16"
    )
    tune = ("tune", model, "--data", folder, "--tolerance", 100, "--no-repair", "--out", config)
    words = proposed(run(*tune, *given))
    assert words[-4:] == ["--out", "OUT", "--no-refine", "--no-bias-correction"]
    assert run(*[out if word == "OUT" else word for word in words[1:]]).code == 0
    images = {"size": (8, 8), "crop": 0.75, "scale": 1 / 255, "mean": (0.5, 0.4, 0.3), "std": 0.25, "colour": "BGR"}
    measured = calibrant.quantize(
        model, config, folder, batch_size=4, shuffle=3, bias_correction=False, image_options=images
    )
    assert (out / "record.txt").read_text() == measured.record
    assert json.loads((out / "report.json").read_text())["totals"]["batches"] == 4
    again = shlex.split(config.read_text().splitlines()[0].partition("; for quantize ")[2])
    assert run("quantize", model, "--config", config, "--data", folder, "--out", tmp_path / "b", *again).code == 0
    assert (tmp_path / "b" / "record.txt").read_text() == measured.record


@pytest.mark.parametrize("how", [["--refine"], ["--no-refine"]])
def test_the_search_that_is_proposed_judges_the_model_that_was_made(odd, tmp_path, how):
    data = odd / "x.npy"
    read = ["--data", f"{data}[:6]", "--batch-size", 2, "--samples", 4]
    done = run("quantize", odd / "a model.pb", *read, "--out", tmp_path / "o", *how)
    words = proposed(done)
    words = words[words.index("tune") :]
    assert ("--refine" in words) == (how == ["--refine"])
    assert [words[words.index(name) + 1] for name in ("--batch-size", "--samples")] == ["2", "4"]
    words = [word for word in words if word not in ("--labels", "LABELS")]
    tuned = run(*[tmp_path / "t.cfg" if word == "TUNED" else word for word in words], "--tolerance", 100)
    assert tuned.code == 0 and f"tried, each as quantize {how[0]} makes it" in tuned.out


def test_what_judges_the_files_reads_data_of_the_same_kind(tmp_path):
    def build():
        x = placeholder([None, 6, 6, 2])
        tf.reshape(conv(tf.reshape(x, [4, 6, 6, 2])), [tf.shape(x)[0], -1], name="out")

    save(graph_def(build), tmp_path / "m.pb")
    data, labels, out = (str(tmp_path / name) for name in ("x.npy", "labels.npy", "out"))
    np.save(data, numbers(8, 6, 6, 2))
    np.save(labels, np.zeros(8, np.int64))
    how = ("--batch-size", 4, "--scale", "1/2")
    given = {"DATA": data, "LABELS": labels}

    def judge(first, *words):
        at = words.index(first)
        end = next((n for n, word in enumerate(words[at:], at) if word in (";", "checks")), len(words))
        return run(*(given.get(word, word) for word in words[at:end]))

    quantize = ("quantize", tmp_path / "m.pb", "--data", data, "--out", out, "--no-refine", "--export", "tflite")
    words = proposed(run(*quantize, "--tflite-batch", 4, *how))
    assert judge("evaluate", *words).code == 0
    verified = judge("verify", *words)
    assert judge("golden", *proposed(verified)).code == 0


def test_no_order_is_proposed_beside_labels(tmp_path):
    save(graph_def(lambda: conv(placeholder([None, 8, 8, 3]))), tmp_path / "m.pb")
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(np.random.default_rng(1).integers(0, 256, (8, 8, 8, 3)).astype(np.uint8)):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{number}.png")
    given = shlex.split("--scale 1/255 --shuffle 3 --batch-size 4 --no-refine")
    words = proposed(run("quantize", tmp_path / "m.pb", "--data", tmp_path / "pictures", "--out", tmp_path, *given))
    evaluate, tune = words[: words.index("tune")], words[words.index("tune") :]
    assert "--shuffle" in tune and "--shuffle" not in evaluate
    assert [evaluate[evaluate.index(name) + 1] for name in ("--scale", "--batch-size")] == ["1/255", "4"]


def test_no_option_of_the_data_is_left_out():
    names = {option.name for option in data_options(click.Command("any")).params}
    assert names == {"batch_size", "shuffle", *ABOUT_FILES}


def test_a_model_with_a_bound_placeholder_is_judged_by_verify(tmp_path):
    graph = graph_def(switched_network)
    model, data, out = save(graph, tmp_path / "m.pb"), tmp_path / "x.npy", tmp_path / "out"
    np.save(data, numbers(8, 6, 6, 2))
    words = proposed(run("quantize", model, "--data", data, "--out", out, "--no-refine", "--set", "train=false"))
    command = words[1 : words.index("--labels")]
    assert command[0] == "verify"
    assert run(*[data if word == "DATA" else word for word in command], "--least-agreement", "0").code == 0


def test_the_findings_are_pointed_to(odd, tmp_path):
    config, out = tmp_path / "six.cfg", tmp_path / "out"
    config.write_text("common_config { arq_quantize { quant_bits: 6 } }")
    words = ("quantize", odd / "a model.pb", "--config", config, "--data", odd / "x.npy", "--out", out, "--no-refine")
    done, quiet = run(*words), run("-q", *words)
    [line] = [line for line in done.out.splitlines() if "finding: " in line or "findings, " in line]
    found = json.loads((out / "report.json").read_text())["findings"]
    assert line.startswith(f"{len(found)} findings, the worst: {found[0]['what']} {found[0]['advice']}")
    assert line.endswith(f"{out}/report.html")
    assert "finding" not in quiet.out


def test_a_model_without_layers_is_told_so(tmp_path):
    model = save(graph_def(lambda: tf.nn.relu(placeholder([None, 4]), name="out")), tmp_path / "m.pb")
    done = run("inspect", model)
    assert not done.code and "next: " not in done.out and "there is no layer to quantize" in done.err


def test_a_path_is_no_option():
    assert place("-x.pb") == "./-x.pb"
    assert place("a b") == "'a b'"


def test_a_lowered_model_of_two_outputs_is_judged_by_their_names(tmp_path):
    def build():
        y = conv(placeholder([None, 6, 6, 2]))
        tf.identity(y, name="one")
        tf.identity(tf.nn.relu(y), name="two")

    save(graph_def(build), tmp_path / "m.pb")
    np.save(tmp_path / "x.npy", numbers(8, 6, 6, 2))
    out, lowered, data = (str(tmp_path / name) for name in ("out", "lowered.pb", "x.npy"))
    given = ("--data", data, "--outputs", "one,two", "--export", "ascend", "--name", "m", "--no-refine")
    run("quantize", str(tmp_path / "m.pb"), *given, "--out", out)
    words = proposed(run("lower", f"{out}/m_quantized.pb", "--out", lowered))
    assert run(*(data if word == "DATA" else word for word in words[1:])).code == 0


def test_what_failed_is_what_the_advice_is_about():
    numbers_of = dict.fromkeys(("step", "share_within", "share_equal", "largest_steps"))
    file, lowered = (
        PairScore("fake-quantized", name, **numbers_of, relative=0.1, agreement=1.0, passed=False)
        for name in ("TFLite", "lowered")
    )
    assert "--tflite-ops layers" in after(file)
    assert "--tflite" not in after(lowered) and "lowered" in after(lowered)
