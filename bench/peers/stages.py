"""What a run of a peer costs: seconds of its stages, memory before its work and at the most."""

import json
import time
from contextlib import contextmanager
from pathlib import Path


class Stages:
    """Seconds of named stages, from the start of the script on.

    Stages of every peer: ``imports``; ``model``, reading it; ``data``; and then ``quantize``, from a float model and
    data in memory to a quantized model. Where the tool lets it be seen, ``calibrate`` is the part of that which runs
    the data and finds the ranges.
    """

    def __init__(self):
        self.seconds = {}
        self._before = None

    @contextmanager
    def stage(self, name):
        """Time a block."""
        if name == "quantize":
            self._before = memory("VmRSS")
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def write(self, folder):
        """``JOB/speed.json``."""
        found = {"seconds": self.seconds, "before_mb": self._before, "peak_mb": memory("VmHWM")}
        (folder / "speed.json").write_text(json.dumps(found))


def memory(entry):
    """Megabytes that this process holds (``VmRSS``) or has held at the most (``VmHWM``); None where that is unknown."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) / 1024


def batches(folder, size):
    """The calibration samples in batches."""
    import numpy as np

    samples = np.load(folder / "calibration.npy")
    return [samples[start : start + size] for start in range(0, len(samples), size)]
