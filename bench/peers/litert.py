"""LiteRT's ai-edge-quantizer on the float .tflite model: ``litert.py JOB`` writes ``JOB/outputs.npy``."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import quantizer, recipe
from tflite import run


def main(folder):
    """Convert to float .tflite, quantize and run."""
    job = json.loads((folder / "job.json").read_text())
    calibration = np.load(folder / "calibration.npy")
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
        str(folder / "model.pb"), [job["input"]], [job["output"]], {job["input"]: [1, *calibration.shape[1:]]}
    )
    path = folder / "float.tflite"
    path.write_bytes(converter.convert())
    work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    interpreter = tf.lite.Interpreter(model_path=str(path))
    (signature,) = interpreter.get_signature_list() or {"serving_default": None}
    runner = interpreter.get_signature_runner(signature)
    (key,) = runner.get_input_details()
    found = work.calibrate({signature: [{key: sample[np.newaxis]} for sample in calibration]})
    result = work.quantize(found)
    np.save(folder / "outputs.npy", run(bytes(result.quantized_model), np.load(folder / "test.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
