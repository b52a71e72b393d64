"""NNCF post-training quantization of the ONNX model: ``nncf_onnx.py JOB`` writes ``JOB/outputs.npy``."""

import sys
from pathlib import Path

import nncf
import numpy as np
import onnx
from tf_to_onnx import onnx_model, run


def main(folder):
    """Quantize and run."""
    model = onnx.load(onnx_model(folder))
    name = model.graph.input[0].name
    samples = np.load(folder / "calibration.npy")
    dataset = nncf.Dataset(samples, lambda sample: {name: sample[np.newaxis]})
    quantized = nncf.quantize(model, dataset, subset_size=len(samples))
    onnx.save(quantized, folder / "nncf.onnx")
    np.save(folder / "outputs.npy", run(folder / "nncf.onnx", np.load(folder / "test.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
