"""What is said of a process that runs a file and does not answer."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from calibrant.emit.tflite import trial
from calibrant.emit.tflite.trial import TrialError, tried
from calibrant.errors import OutputError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_folder_for_temporary_files_is_named(monkeypatch):
    monkeypatch.setattr(trial, "tensors_of_run", lambda *_: [(0, np.zeros(10_000))])
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "w+b"))  # noqa: PTH123, SIM115
    monkeypatch.setattr(tempfile, "tempdir", "/small")
    with pytest.raises(OutputError, match=r"^/small: the folder for temporary files .*: No space left on device\n"):
        tried(b"", {}, (), True, "model.pb")


def test_tensors_come_back_one_by_one(monkeypatch):
    made = [(3, np.arange(6, dtype=np.int8).reshape(2, 3)), (1, np.zeros((0, 4), np.float32)), (2, np.float32(5))]
    monkeypatch.setattr(trial, "tensors_of_run", lambda *_: iter(made))
    found = tried(b"", {}, (), True, "model.pb")
    assert list(found) == [3, 1, 2]
    for index, values in made:
        np.testing.assert_array_equal(found[index], values)


def test_what_an_interpreter_says_in_the_end_counts(monkeypatch):
    def run(*_):
        yield 0, np.zeros(3)
        raise RuntimeError("such.cc:12 cannot be read.Node number 4 (ADD) failed to invoke.")

    monkeypatch.setattr(trial, "tensors_of_run", run)
    with pytest.raises(TrialError, match="does not run with XNNPACK: ADD: cannot be read"):
        tried(b"", {}, (), True, "model.pb")


def test_no_folder_for_temporary_files(monkeypatch):
    def refuse():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match=r"cannot be written to: No usable temporary directory found in \['/tmp'\]"):
        tried(b"", {}, (), True, "model.pb")


@pytest.mark.parametrize(
    ("end", "reason"), [(lambda *_: os._exit(3), "exit code 3"), (lambda *_: os.abort(), "SIGABRT")]
)
def test_how_the_process_ended(monkeypatch, end, reason):
    monkeypatch.setattr(trial, "tensors_of_run", end)
    with pytest.raises(TrialError, match=rf"ends the process with the built-in kernels \({reason}\)"):
        tried(b"", {}, (), False, "model.pb")


def killed_by_the_system(marks, times):
    def run(*_):
        marks.open("a").write("x")
        if len(marks.read_text()) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return iter([(0, np.ones(3))])

    return run


def test_a_process_that_is_killed_once_is_started_again(monkeypatch, tmp_path):
    """What the system kills for want of memory says nothing of the file: no operator is put into float for it."""
    monkeypatch.setattr(trial, "tensors_of_run", killed_by_the_system(tmp_path / "runs", 1))
    assert tried(b"", {}, [0], True, "m.pb")[0].sum() == 3


def test_a_process_that_is_killed_again_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(trial, "tensors_of_run", killed_by_the_system(tmp_path / "runs", 2))
    with pytest.raises(OutputError, match=r"m.pb: the process that runs the LiteRT file was killed(.|\n)*free memory"):
        tried(b"", {}, [0], True, "m.pb")


def test_a_process_that_takes_too_long_is_ended_once(monkeypatch, tmp_path):
    def run(*_):
        (tmp_path / "runs").open("a").write("x")
        time.sleep(60)

    monkeypatch.setattr(trial, "tensors_of_run", run)
    monkeypatch.setattr(trial, "SECONDS", 0.5)
    with pytest.raises(TrialError, match="does not end in 0.5 s"):
        tried(b"", {}, [0], True, "m.pb")
    assert (tmp_path / "runs").read_text() == "x"
