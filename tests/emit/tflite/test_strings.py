"""Outputs that are strings: names of classes, all of them or those that the scores choose."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.interpreter import new_interpreter
from graphs import dense, graph_def, numbers, placeholder, tf

NAMES = [b"dog", b"", b"a cat", b"\xff\x01"]
CALLED = {
    "the best": lambda y, names: tf.gather(names, tf.argmax(y, 1)),
    "the best two": lambda y, names: tf.gather(names, tf.math.top_k(y, 2).indices)[:, ::-1],
    "in a column": lambda y, names: tf.expand_dims(tf.gather_nd(names, tf.argmax(y, 1)[:, None]), 1),
    "all": lambda y, names: tf.identity(names),
    "all of each": lambda y, names: tf.tile(names[None], [tf.shape(y)[0], 1]),
}


def network(called):
    def build():
        y = dense(tf.nn.relu(dense(placeholder([None, 8]), 8, "one")), 4, seed=5)
        tf.identity(y, name="scores")
        tf.identity(called(y, tf.constant(NAMES)), name="called")

    return graph_def(build)


def exported(folder, called="the best", **options):
    chosen = {"outputs": ["called", "scores"], "export": "tflite", "name": "net", **options}
    return calibrant.quantize(network(CALLED[called]), None, numbers(64, 8, seed=3), folder, **chosen)


def content(result):
    return next(value for name, value in result.exported.items() if name.endswith(".tflite"))


@pytest.mark.parametrize("called", CALLED)
def test_names_of_classes_are_results_of_the_file(tmp_path, called):
    result = exported(tmp_path, called)
    file = content(result)
    operators = {each.name: each for each in File(file).operators()}
    assert operators["FULLY_CONNECTED"].is_integer
    assert calibrant.verify(tmp_path, numbers(64, 8, seed=4), model=network(CALLED[called])).passed
    made = new_interpreter(file, keep=False).get_signature_runner()(x=numbers(16, 8, seed=4))
    np.testing.assert_array_equal(made["called"], CALLED[called](made["scores"], tf.constant(NAMES)).numpy())


def test_int8_results_beside_names(tmp_path):
    exported(tmp_path, tflite_io="int8", tflite_batch=4)
    assert calibrant.verify(tmp_path, numbers(64, 8, seed=4)).passed


def test_the_checker_compares_names(tmp_path):
    exported(tmp_path)
    calibrant.golden(tmp_path, numbers(16, 8, seed=4), out=tmp_path / "golden", samples=16)
    command = [sys.executable, tmp_path / "golden" / "check_golden.py"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert "nothing differs" in run.stdout, run.stderr
    with np.load(tmp_path / "golden" / "golden.npz") as arrays:
        changed = {
            key: np.full_like(found, b"?") if found.dtype.kind == "S" else found for key, found in arrays.items()
        }
    np.savez(tmp_path / "golden" / "golden.npz", **changed)
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "called (GATHER" in run.stdout


def test_strings_that_are_made_of_numbers_are_refused():
    with pytest.raises(calibrant.ModelError, match=r"the output called holds strings.*\n.*--outputs scores"):
        calibrant.quantize(
            *(network(lambda y, names: tf.strings.as_string(y)), None, numbers(64, 8, seed=3)),
            outputs=["called", "scores"],
            export="tflite",
        )


def test_names_alone_are_refused():
    with pytest.raises(calibrant.ModelError, match="the output called holds strings"):
        exported(None, outputs=["called"])
