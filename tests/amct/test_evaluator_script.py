"""What goes wrong in an evaluator's script is one error that names the script and its line."""

from __future__ import annotations

import contextlib

import pytest

from calibrant.amct import evaluator_script
from calibrant.config import Configuration
from calibrant.errors import CalibrantError, ConfigError, DataError
from command_line import run
from graphs import graph_def, save, small_network

BODY = "class E:\n    def calibration(self, graph, outputs):\n        {}\ne = E()\n"
RUNS = "import numpy as np, tensorflow as tf\n" + BODY.format(
    "tf.compat.v1.Session(graph=graph).run(outputs, {'x:0': np.full((2, 6, 6, 2), np.nan, 'f')})"
)
WRONG = {
    b"import nothere_xyz\n": (1, "cannot be run: ModuleNotFoundError: No module named 'nothere_xyz'"),
    b"x = 1\ndef f(:\n": (2, "cannot be run: SyntaxError: "),
    b"import sys\nsys.exit(5)\n": (2, "cannot be run: SystemExit: 5"),
    b"\n\0\xff\xfe": (None, "cannot be run: "),
    b"x = 1\nassert x == 2\n": (2, "cannot be run: AssertionError"),
    BODY.format("raise RuntimeError('bug\\nof the user')").encode(): (3, "calibration failed: RuntimeError: bug"),
    BODY.replace(", outputs", "").format("pass").encode(): (None, "calibration failed: TypeError: E.calibration()"),
    BODY.format("exit(0)").encode(): (3, "calibration failed: SystemExit: 0"),
    b"open('no.npy')\n": (1, "cannot be run: FileNotFoundError: "),
}


@pytest.fixture
def calibrate(tmp_path, monkeypatch):
    """Calibrates with a script of this text; eager execution stays on for the other tests."""
    monkeypatch.setattr(evaluator_script, "scripts_environment", contextlib.nullcontext)
    from calibrant.amct.shell import calibrate

    save(graph_def(small_network), tmp_path / "net.pb")
    script = tmp_path / "evaluator.py"

    def with_script(text: bytes) -> None:
        script.write_bytes(text)
        config = Configuration(batch_num=1)
        calibrate(str(tmp_path / "net.pb"), ["out:0"], str(tmp_path / "out" / "net"), config, str(script), {})

    return with_script


@pytest.mark.parametrize("text", WRONG)
def test_an_error_of_a_script_is_one_error_with_its_line(calibrate, tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        calibrate(text)
    (problem,), (line, message) = caught.value.problems, WRONG[text]
    assert problem.message.startswith(message) and "\n" not in problem.message
    assert (problem.file, problem.line) == (str(tmp_path / "evaluator.py"), line)
    assert not (tmp_path / "out").exists()


def test_values_that_are_no_numbers_are_said_to_be_so(calibrate):
    with pytest.raises(DataError, match="in batch 0 at"):
        calibrate(RUNS.encode())


@pytest.mark.parametrize("session", ["Session()", "Session(config=tf.compat.v1.ConfigProto())"])
def test_a_session_without_a_graph_runs_the_given_one(calibrate, tmp_path, session):
    calibrate(RUNS.replace("np.nan", "1").replace("Session(graph=graph)", session).encode())
    assert (tmp_path / "out" / "net_quantized.pb").is_file()


def test_an_interrupt_stays_one(calibrate):
    with pytest.raises(KeyboardInterrupt):
        calibrate(BODY.format("raise KeyboardInterrupt").encode())


def test_the_command_exits_with_2(calibrate, tmp_path):
    with pytest.raises(CalibrantError):
        calibrate(b"1 / 0\n")
    given = ("--model", tmp_path / "net.pb", "--outputs", "out:0", "--save_path", tmp_path / "net")
    outcome = run("-v", "calibration", *given, "--evaluator", tmp_path / "evaluator.py")
    assert outcome.code == 2 and "evaluator.py:1: cannot be run: ZeroDivisionError" in outcome.err
    assert "Traceback" in outcome.err
    assert "Traceback" not in run("calibration", *given, "--evaluator", tmp_path / "evaluator.py").err
