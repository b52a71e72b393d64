"""LiteRT's ai-edge-quantizer on the float .tflite model: ``litert.py JOB`` writes ``JOB/outputs.npy``."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import quantizer, recipe
from tflite import run


def saved_model(folder, job, shape):
    """The frozen graph with a signature, which the quantizer asks for; batch 1."""
    definition = tf.compat.v1.GraphDef.FromString((folder / "model.pb").read_bytes())
    path = str(folder / "saved_model")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [1, *shape], "fed")
        (y,) = tf.graph_util.import_graph_def(definition, {job["input"]: x}, [f"{job['output']}:0"], name="")
        shutil.rmtree(path, ignore_errors=True)
        tf.compat.v1.saved_model.simple_save(session, path, {"x": x}, {"y": y})
    return path


def main(folder):
    """Convert to float .tflite, quantize and run."""
    job = json.loads((folder / "job.json").read_text())
    calibration = np.load(folder / "calibration.npy")
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model(folder, job, calibration.shape[1:]))
    path = folder / "float.tflite"
    path.write_bytes(converter.convert())
    work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    signature, key = "serving_default", "x"
    found = work.calibrate({signature: [{key: sample[np.newaxis]} for sample in calibration]})
    result = work.quantize(found)
    np.save(folder / "outputs.npy", run(bytes(result.quantized_model), np.load(folder / "test.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
