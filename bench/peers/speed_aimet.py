"""What AIMET costs on the ONNX model: ``speed_aimet.py JOB min_max|tf_enhanced BATCH`` writes ``JOB/speed.json``."""

import sys
from pathlib import Path

from stages import Stages, batches
from tf_to_onnx import onnx_model


def main(folder, scheme, size):
    """Make the simulation and compute its encodings."""
    path = onnx_model(folder)
    stages = Stages()
    with stages.stage("imports"):
        import onnx
        from aimet_onnx.quantsim import QuantizationSimModel
    with stages.stage("model"):
        model = onnx.load(path)
    with stages.stage("data"):
        name = model.graph.input[0].name
        data = [{name: batch} for batch in batches(folder, size)]
    with stages.stage("quantize"):
        simulation = QuantizationSimModel(
            model, quant_scheme=scheme, dummy_input=data[0], providers=["CPUExecutionProvider"]
        )
        with stages.stage("calibrate"):
            simulation.compute_encodings(data)
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
