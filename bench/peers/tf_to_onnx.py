"""The frozen graph of a job as ONNX, made once by tf2onnx, and running it."""

import json
import os
import subprocess
import sys

import numpy as np


def onnx_model(folder):
    """Path of ``JOB/model.onnx``; made where it is missing."""
    path = folder / "model.onnx"
    if not path.exists():
        job = json.loads((folder / "job.json").read_text())
        command = [sys.executable, "-m", "tf2onnx.convert", "--graphdef", str(folder / "model.pb")]
        command += ["--inputs", f"{job['input']}:0", "--outputs", f"{job['output']}:0", "--opset", "17"]
        done = subprocess.run(
            [*command, "--output", str(path)],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        if done.returncode:
            sys.exit("tf2onnx: " + (done.stderr.strip().splitlines() or ["failed"])[-1])
    return path


def run(path, samples):
    """Outputs [N, ...] of an ONNX model, in batches of its own size."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Without VNNI the kernels for uint8 x int8 saturate in int16; this keeps the comparison fair.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    pieces = (samples[start : start + batch] for start in range(0, len(samples) - len(samples) % batch, batch))
    return np.concatenate([session.run(None, {entry.name: piece})[0] for piece in pieces]).astype(np.float32)
