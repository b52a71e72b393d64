"""What the TFLite converter costs, full integer: ``speed_tflite.py JOB`` writes ``JOB/speed.json``."""

import json
import sys
from pathlib import Path

from stages import Stages, batches


def main(folder):
    """Convert, calibrate and quantize, which is one call."""
    stages = Stages()
    with stages.stage("imports"):
        import tensorflow as tf
    job = json.loads((folder / "job.json").read_text())
    with stages.stage("data"):
        data = batches(folder, 1)
    with stages.stage("model"):
        converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
            str(folder / "model.pb"), [job["input"]], [job["output"]], {job["input"]: list(data[0].shape)}
        )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([batch] for batch in data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with stages.stage("quantize"):
        converter.convert()
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
