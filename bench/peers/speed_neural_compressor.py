"""What Neural Compressor costs on the frozen graph: ``speed_neural_compressor.py JOB minmax|kl BATCH``."""

import os
import sys
from pathlib import Path

from stages import Stages, batches


def main(folder, algorithm, size):
    """Quantize, which is one call."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    stages = Stages()
    with stages.stage("imports"):
        import numpy as np
        from neural_compressor.tensorflow import StaticQuantConfig, quantize_model
    with stages.stage("data"):
        data = batches(folder, size)

    class Loader:
        batch_size = size

        def __iter__(self):
            return iter([(batch, np.zeros(len(batch), np.int32)) for batch in data])

        def __len__(self):
            return len(data)

    config = StaticQuantConfig(weight_granularity="per_channel", act_sym=False, act_algorithm=algorithm)
    with stages.stage("quantize"):
        quantize_model(str(folder / "model.pb"), config, Loader(), len(data))
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
