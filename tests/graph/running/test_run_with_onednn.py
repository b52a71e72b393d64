"""TensorFlow decides with its import whether oneDNN's kernels are used, so this is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import numpy as np
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from graphs import conv, graph_def, numbers, placeholder, tf

def build():
    y = conv(placeholder([None, 8, 8, 4]), name="one")
    tf.multiply(y, tf.sigmoid(y, name="gate"), name="out")

graph = load(graph_def(build))
x = numbers(2, 8, 8, 4, seed=3)
gate, layer, out = run_once(graph, {"x": x}, ["gate:0", "one:0", "out:0"])
np.testing.assert_allclose(out, layer * gate, rtol=1e-5, atol=1e-5)
"""


def test_a_gate_can_be_fetched_beside_the_product_that_it_is_fused_into():
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
