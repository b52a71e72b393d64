"""What NNCF costs on the ONNX model: ``speed_nncf.py JOB`` writes ``JOB/speed.json``."""

import sys
from pathlib import Path

from stages import Stages, batches
from tf_to_onnx import onnx_model


def main(folder):
    """Quantize; its fast bias correction runs the data as well."""
    path = onnx_model(folder)
    stages = Stages()
    with stages.stage("imports"):
        import nncf
        import onnx
    with stages.stage("model"):
        model = onnx.load(path)
    with stages.stage("data"):
        name = model.graph.input[0].name
        data = batches(folder, 1)
        dataset = nncf.Dataset(data, lambda batch: {name: batch})
    with stages.stage("quantize"):
        nncf.quantize(model, dataset, subset_size=len(data))
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
