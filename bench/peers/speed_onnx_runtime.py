"""What ONNX Runtime costs: ``speed_onnx_runtime.py JOB MinMax|Entropy|Percentile BATCH`` writes ``JOB/speed.json``."""

import sys
from pathlib import Path

from stages import Stages, batches
from tf_to_onnx import onnx_model


def main(folder, method, size):
    """Quantize from the pre-processed model to the written one."""
    path = onnx_model(folder)
    stages = Stages()
    with stages.stage("imports"):
        import importlib

        import onnx
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, feeds):
            self._left = iter(feeds)

        def get_next(self):
            """The next feed, or None."""
            return next(self._left, None)

    with stages.stage("model"):
        prepared = folder / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        name = onnx.load(prepared).graph.input[0].name
    with stages.stage("data"):
        reader = Reader([{name: batch} for batch in batches(folder, size)])
    whole = importlib.import_module("onnxruntime.quantization.quantize")
    make, calibrating = whole.create_calibrator, stages.stage("calibrate")

    def create_calibrator(*arguments, **options):
        calibrating.__enter__()
        calibrator = make(*arguments, **options)
        compute = calibrator.compute_data

        def compute_data():
            ranges = compute()
            calibrating.__exit__(None, None, None)
            return ranges

        calibrator.compute_data = compute_data
        return calibrator

    whole.create_calibrator = create_calibrator
    with stages.stage("quantize"):
        quantize_static(
            str(prepared),
            str(folder / "quantized.onnx"),
            reader,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod[method],
        )
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
