"""What LiteRT's ai-edge-quantizer costs: ``speed_litert.py JOB`` writes ``JOB/speed.json``."""

import json
import subprocess
import sys
from pathlib import Path

from stages import Stages, batches


def convert(folder):
    """``JOB/float.tflite``, which the quantizer starts from."""
    import numpy as np
    import tensorflow as tf
    from litert import saved_model

    job = json.loads((folder / "job.json").read_text())
    shape = np.load(folder / "calibration.npy", mmap_mode="r").shape[1:]
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model(folder, job, shape))
    (folder / "float.tflite").write_bytes(converter.convert())


def main(folder):
    """Calibrate and quantize."""
    path = folder / "float.tflite"
    if not path.exists():
        subprocess.run([sys.executable, __file__, str(folder), "--convert"], check=True)
    stages = Stages()
    with stages.stage("imports"):
        from ai_edge_quantizer import quantizer, recipe
    with stages.stage("model"):
        work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    with stages.stage("data"):
        data = {"serving_default": [{"x": batch} for batch in batches(folder, 1)]}
    with stages.stage("quantize"):
        with stages.stage("calibrate"):
            ranges = work.calibrate(data)
        work.quantize(ranges)
    stages.write(folder)


if __name__ == "__main__":
    (convert if "--convert" in sys.argv else main)(Path(sys.argv[1]))
