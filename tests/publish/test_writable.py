"""Where nothing can be written is said before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibrant.errors import OutputError
from calibrant.publish.writable import check_writable, check_writable_file
from command_line import run


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A working directory that has been removed; its parent."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    return tmp_path


@pytest.mark.parametrize("check", [check_writable, check_writable_file])
def test_a_relative_path_in_a_working_directory_that_is_gone(nowhere, check):
    with pytest.raises(OutputError, match=r"out: the working directory has been removed\n(.*\n)*.*absolute path"):
        check(Path("out"))
    check(nowhere / "out")


def test_the_command_says_so(nowhere):
    (nowhere / "model.pb").write_bytes(b"")
    done = run("quantize", nowhere / "model.pb", "--data", nowhere / "x.npy", "--out", "out")
    assert done.code == 2 and "the working directory has been removed" in done.err
