"""How the files of a result are called."""

import os
import subprocess
import sys

import pytest

from calibrant.emit.prefix import file_prefix
from calibrant.errors import ModelError, OutputError


@pytest.mark.parametrize("name", ["", " ", "a/b", "../a", "/a", "a/", "..", ".", "x" * 300, "a\0b"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(OutputError, match="--name"):
        file_prefix(name, "model.pb")


def test_a_model_that_cannot_be_a_path():
    with pytest.raises(ModelError, match="no such model"):
        file_prefix(None, "a\0b")


@pytest.mark.parametrize("name", ["model", "my model 2", "résumé", ".hidden", "v1.2"])
def test_other_names_are_taken_as_they_are(name):
    assert file_prefix(name, "other.pb") == name


def test_the_model_gives_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "resnet.v1"
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    monkeypatch.chdir(folder)
    assert file_prefix(None, "some/where/resnet8.pb") == "resnet8"
    assert file_prefix(None, tmp_path / "model.v2.keras") == "model.v2"
    for saved_model in (folder, f"{folder}/", folder / "saved_model.pb", ".", "saved_model.pb"):
        assert file_prefix(None, saved_model) == "resnet.v1"
    assert file_prefix(None, object()) == "model"


def test_a_model_with_a_name_that_leaves_no_room_is_refused_at_once():
    """Its files would be called NAME_fakequant.pb, which a file system does not take after all the work is done."""
    assert file_prefix(None, f"{'x' * 200}.pb") == "x" * 200
    with pytest.raises(OutputError, match="--name"):
        file_prefix(None, f"{'x' * 201}.pb")
    assert file_prefix("short", f"{'x' * 201}.pb") == "short"


def test_names_of_utf8_are_such_in_a_locale_that_is_not():
    """There, Python gives the bytes of a name as surrogates."""
    code = "import os, sys; from calibrant.emit.prefix import file_prefix as of; "
    code += "print(*(os.fsencode(name).hex() for name in (of(None, sys.argv[1]), of(sys.argv[2], 'x.pb'))))"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, "ünï/mödel.pb", "hä"]
    done = subprocess.run(command, env={**os.environ, **plain}, capture_output=True, text=True)
    assert done.stdout.split() == ["mödel".encode().hex(), "hä".encode().hex()], done.stderr
