"""What Sony's Model Compression Toolkit costs on the Keras application: ``speed_mct.py JOB BATCH``.

It wants a Keras 2 model, so the network is made here, with weights of its own.
"""

import json
import sys
from pathlib import Path

from stages import Stages, batches


def main(folder, size):
    """Search thresholds by squared error and quantize, which is one call."""
    stages = Stages()
    with stages.stage("imports"):
        import model_compression_toolkit as mct
        import tensorflow as tf
    with stages.stage("model"):
        tf.keras.utils.set_random_seed(1)
        application = json.loads((folder / "job.json").read_text())["application"]
        model = getattr(tf.keras.applications, application)(weights=None)
    with stages.stage("data"):
        data = batches(folder, size)
    with stages.stage("quantize"):
        mct.ptq.keras_post_training_quantization(model, lambda: ([batch] for batch in data))
    stages.write(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
