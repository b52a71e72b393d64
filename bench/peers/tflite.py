"""TFLite converter, full integer with a representative data set: ``tflite.py JOB`` writes ``JOB/outputs.npy``."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def run(content, samples):
    """Outputs [N, ...] of a .tflite model, float in and out whatever it is fed with."""
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    batch = int(into["shape"][0])
    interpreter.allocate_tensors()
    results = []
    for start in range(0, len(samples), batch):
        piece = samples[start : start + batch]
        piece = np.concatenate([piece, np.repeat(piece[-1:], batch - len(piece), axis=0)])
        scale, zero = into["quantization"]
        if into["dtype"] != np.float32:
            limits = np.iinfo(into["dtype"])
            piece = np.clip(np.rint(piece / scale) + zero, limits.min, limits.max)
        interpreter.set_tensor(into["index"], piece.astype(into["dtype"]).reshape(into["shape"]))
        interpreter.invoke()
        found = interpreter.get_tensor(out["index"])
        if out["dtype"] != np.float32:
            scale, zero = out["quantization"]
            found = (found.astype(np.float32) - zero) * scale
        results.append(np.array(found, np.float32)[: len(samples) - start])
    return np.concatenate(results)


def main(folder):
    """Convert and run."""
    job = json.loads((folder / "job.json").read_text())
    calibration = np.load(folder / "calibration.npy")
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
        str(folder / "model.pb"), [job["input"]], [job["output"]], {job["input"]: [1, *calibration.shape[1:]]}
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    content = converter.convert()
    (folder / "tflite.tflite").write_bytes(content)
    np.save(folder / "outputs.npy", run(content, np.load(folder / "test.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
