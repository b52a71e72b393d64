"""What the README says works, line by line."""

import json
import re
import shlex

import pytest

from calibrant.cli.main import main

STAND_IN = "--config quant.cfg --data calibration.npz --out elsewhere"


@pytest.fixture(scope="module")
def blocks(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```(console|python|textproto)\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory):
    folder, digits = tmp_path_factory.mktemp("readme"), repository / "examples/digits"
    (folder / "model.pb").write_bytes((digits / "digits.pb").read_bytes())
    (folder / "test.npz").write_bytes((digits / "test.npz").read_bytes())
    (folder / "quant.cfg").write_bytes((digits / "quant.cfg").read_bytes())
    for name in ("calibration.npz", "a.npz"):
        (folder / name).write_bytes((digits / "calibration.npz").read_bytes())
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


def test_the_configuration(blocks, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (text,) = [block for kind, block in blocks if kind == "textproto"]
    (folder / "shown.cfg").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["check", "shown.cfg", "--model", "model.pb", "--json"])
    shown = capsys.readouterr()
    assert not end.value.code, shown
    entries = {row["entry"] for row in json.loads(shown.out)["plan"]}
    assert entries == {"override_layer_configs[0]", "override_layer_types[0]", "common_config"}
