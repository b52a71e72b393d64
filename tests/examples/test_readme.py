"""What the README says works, line by line."""

import re
import shlex

import numpy as np
import pytest

from calibrant.cli.main import main

STAND_IN = "--config quant.cfg --data calibration.npz --out elsewhere"


@pytest.fixture(scope="module")
def blocks(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```(console|python)\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory):
    folder, digits = tmp_path_factory.mktemp("readme"), repository / "examples/digits"
    (folder / "model.pb").write_bytes((digits / "digits.pb").read_bytes())
    (folder / "test.npz").write_bytes((digits / "test.npz").read_bytes())
    text = (digits / "quant.cfg").read_text(encoding="utf-8")
    (folder / "quant.cfg").write_text(text.replace("batch_num : 4", "batch_num : 16"), encoding="utf-8")
    with np.load(digits / "calibration.npz") as archive:
        arrays = {name: np.resize(array, (256, *array.shape[1:])) for name, array in archive.items()}
    np.savez(folder / "calibration.npz", **arrays)
    np.savez(folder / "a.npz", **arrays)
    return folder


def commands(blocks):
    lines = [line for kind, block in blocks if kind == "console" for line in block.splitlines()]
    return [line.replace("...", STAND_IN) for line in lines if line.startswith("calibrant ")]


def test_every_command(blocks, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    lines = commands(blocks)
    assert {line.split()[1] for line in lines} >= {
        "inspect",
        "check",
        "quantize",
        "evaluate",
        "verify",
        "tune",
        "merge",
    }
    for line in lines:
        with pytest.raises(SystemExit) as end:
            main(shlex.split(line, comments=True)[1:])
        assert not end.value.code, f"{line}\n{capsys.readouterr()}"


def test_python(blocks, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, "README.md", "exec"), {})
    assert "Quantizer(scale=" in capsys.readouterr().out
