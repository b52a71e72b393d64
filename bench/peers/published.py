"""The INT8 model that the network's authors published: ``published.py JOB`` writes ``JOB/outputs.npy``."""

import json
import sys
from pathlib import Path

import numpy as np
from tflite import run


def main(folder):
    """Run it."""
    published = json.loads((folder / "job.json").read_text())["published"]
    if published is None:
        sys.exit("none was published")
    np.save(folder / "outputs.npy", run(Path(published).read_bytes(), np.load(folder / "test.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
