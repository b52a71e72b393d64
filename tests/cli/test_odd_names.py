"""Names that are no text, too long, or hold characters that no path may have."""

import os

import numpy as np
import pytest

import calibrant
from calibrant.errors import CalibrantError
from command_line import run
from graphs import graph_def, numbers, save, small_network

NOT_UTF8 = os.fsdecode(b"\x80")
ODD = ["a\0b", "x" * 5000, "a/" * 3000, NOT_UTF8, "..", "-", "\n"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.pb"
    save(graph_def(small_network), path)
    return path


@pytest.fixture
def data():
    return numbers(4, 6, 6, 2)


@pytest.mark.parametrize("odd", ODD, ids=["NUL", "long", "deep", "not UTF-8", "above", "dash", "line break"])
@pytest.mark.parametrize("command", ["inspect {}", "compare {} {}", "convert --model {} --outputs y --save_path x"])
def test_commands(command, odd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*(word.replace("{}", odd) for word in command.split()))
    assert done.code == 2 and "rror" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("odd", ODD)
def test_python(odd, model, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: calibrant.quantize(odd, data=data),
        lambda: calibrant.quantize(model, data=odd),
        lambda: calibrant.merge([odd], model),
        lambda: calibrant.verify(odd, data),
        lambda: calibrant.golden(odd, data),
        lambda: calibrant.evaluate([odd], data),
        lambda: calibrant.evaluate([model], data, odd),
        lambda: calibrant.quantize(model, data=odd, shuffle=1),
        lambda: calibrant.quantize(model, data=calibrant.TFRecords(odd, str)),
    ):
        with pytest.raises(CalibrantError):
            call()


def test_files_are_not_named_after_a_model_whose_name_is_not_utf8(model, data, tmp_path):
    path = tmp_path / f"{NOT_UTF8}.pb"
    path.write_bytes(model.read_bytes())
    np.save(tmp_path / f"{NOT_UTF8}.npy", data)
    out = tmp_path / f"{NOT_UTF8}out"
    arguments = ("quantize", path, "--data", tmp_path / f"{NOT_UTF8}.npy", "--out", out)
    done = run(*arguments)
    assert done.code == 2 and "--name" in done.err and not out.exists()
    assert run(*arguments, "--name", NOT_UTF8).code == 2
    assert run(*arguments, "--name", "net").code == 0
    assert (out / "net_fakequant.pb").exists() and (out / "report.html").read_text()
    assert run("compare", out, out, "--page", tmp_path / "page.html").code == 0
    assert run("init", path, "--out", tmp_path / "new.cfg").code == 0


def test_batches_and_shapes_that_are_none(model, data):
    with pytest.raises(CalibrantError, match="two whole numbers"):
        calibrant.observe(model, data=data, batches="01:2")
    with pytest.raises(CalibrantError, match="sizes by input name"):
        calibrant.quantize(model, data=data, tflite_shape={"x": "abc"})
    with pytest.raises(CalibrantError, match="','"):
        calibrant.quantize(model, data=data, dtypes={"x": ","})
