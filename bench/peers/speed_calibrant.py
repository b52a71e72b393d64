"""What calibrant costs: ``speed_calibrant.py JOB CONFIG`` writes ``JOB/speed.json``."""

import sys
from pathlib import Path

from stages import Stages, batches

BATCH = 16


def main(folder, config):
    """Quantize and write every file."""
    stages = Stages()
    with stages.stage("imports"):
        from calibrant.graph.reading.load import load
        from calibrant.graph.tensorflow import tensorflow
        from calibrant.quantization import quantize

        tensorflow()
    with stages.stage("model"):
        model = load(str(folder / "model.pb"))
    with stages.stage("data"):
        data = batches(folder, BATCH)
    with stages.stage("quantize"):
        result = quantize(model, f"batch_num : {len(data)} {config}", data, folder / "out")
    stages.seconds["calibrate"] = result.seconds["calibrate"] + result.seconds["search"]
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
