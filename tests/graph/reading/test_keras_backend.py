"""Models are read by a Keras on TensorFlow; another backend is an error that says how to change it."""

import json
import os
import re
import subprocess
import sys

import pytest

from calibrant.errors import DependencyError
from calibrant.graph.reading.load import load
from graphs import tf

COMMAND = "import sys; sys.argv[0] = 'calibrant'; from calibrant.cli.main import main; main()"
PYTHON = """
import sys
from calibrant.errors import DependencyError
from calibrant.graph.reading.load import load
try:
    load(sys.argv[1])
except DependencyError as error:
    print(error)
"""


@pytest.fixture
def model(tmp_path):
    made = tf.keras.Sequential([tf.keras.layers.Input([4], name="x"), tf.keras.layers.Dense(3, name="d")])
    made.save(tmp_path / "m.keras")
    return made


def run(code, *arguments, **environment):
    """What a process prints in this environment."""
    plain = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**plain, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("where", ["environment", "file"])
def test_the_command_reads_a_file_whatever_the_environment_says(where, model, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    said = {"KERAS_BACKEND": "jax"} if where == "environment" else {"KERAS_HOME": str(tmp_path)}
    done = run(COMMAND, "inspect", tmp_path / "m.keras", **said)
    assert done.returncode == 0 and "MatMul" in done.stdout, done.stderr


def test_in_python_another_backend_is_an_error_that_names_the_variable(model, tmp_path):
    done = run(PYTHON, tmp_path / "m.keras", KERAS_BACKEND="jax")
    assert re.match(r".*/m\.keras: Keras (cannot be imported: |runs on jax)", done.stdout), done.stderr
    assert "KERAS_BACKEND=tensorflow" in done.stdout and "keras.json" in done.stdout


def test_a_keras_that_runs_on_another_backend_is_an_error(model, tmp_path, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    for each in (tmp_path / "m.keras", model):
        with pytest.raises(DependencyError, match=r"Keras runs on jax.*(?s:.*)KERAS_BACKEND=tensorflow"):
            load(each)
