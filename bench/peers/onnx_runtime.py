"""ONNX Runtime static quantization behind tf2onnx: ``onnx_runtime.py JOB MinMax|Entropy|Percentile``."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tf_to_onnx import onnx_model, run


class Samples(CalibrationDataReader):
    """The calibration data, sample by sample."""

    def __init__(self, name, samples):
        self._left = iter([{name: sample[np.newaxis]} for sample in samples])

    def get_next(self):
        """The next feed, or None."""
        return next(self._left, None)


def main(folder, method):
    """Quantize and run."""
    prepared, result = folder / "prepared.onnx", folder / "quantized.onnx"
    quant_pre_process(str(onnx_model(folder)), str(prepared), skip_symbolic_shape=True)
    name = onnx.load(prepared).graph.input[0].name
    quantize_static(
        str(prepared),
        str(result),
        Samples(name, np.load(folder / "calibration.npy")),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod[method],
    )
    np.save(folder / "outputs.npy", run(result, np.load(folder / "test.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
