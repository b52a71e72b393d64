"""Forks of a process in which TensorFlow ran: an error, as they would wait without an end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphs import graph_def, small_network

FORKED = """
import multiprocessing, sys
import calibrant

def quantized(queue):
    import numpy
    try:
        queue.put(repr(calibrant.quantize(sys.argv[1], None, numpy.ones((2, 6, 6, 2), numpy.float32))))
    except calibrant.CalibrantError as error:
        queue.put(str(error))

{use}
context = multiprocessing.get_context("fork")
queue = context.Queue()
context.Process(target=quantized, args=(queue,), daemon=True).start()
print(queue.get(timeout=100))
"""
USES = {
    "calibrant": "from calibrant.graph.reading.load import load; "
    "from calibrant.graph.running.session import open_session; open_session(load(sys.argv[1]))",
    "operations": "import tensorflow as tf; tf.matmul(tf.ones([9, 9]), tf.ones([9, 9]))",
    "a session": "import tensorflow as tf; tf.compat.v1.disable_eager_execution(); "
    "tf.compat.v1.Session().run(tf.ones([9, 9]) @ tf.ones([9, 9]))",
}


def said(use, tmp_path):
    path = tmp_path / "m.pb"
    path.write_bytes(graph_def(small_network).SerializeToString())
    command = [sys.executable, "-c", FORKED.format(use=use), path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads on this system")
@pytest.mark.parametrize("use", USES)
def test_a_fork_after_tensorflow_ran_is_an_error(use, tmp_path):
    found = said(USES[use], tmp_path)
    assert "TensorFlow was in use when this process was forked" in found and "spawn" in found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_a_fork_before_that_quantizes(tmp_path):
    assert "3 layers quantized" in said("import tensorflow", tmp_path)
