"""CPU seconds that reading ResNet-50 takes from a frozen graph, a SavedModel and a Keras file.

    python bench/load.py [--against CHECKOUT] [--pairs 8]

Weights are random. With ``--against``, the code of another checkout reads the same files, in turn with this one. Each
reading has a process of its own that has imported TensorFlow, and Keras for its file, before, and has read a small
graph; the best of all pairs counts, because other programs on the machine only make it slower.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
FORMS = {".pb": "resnet50.pb", "SavedModel": "resnet50", ".keras": "resnet50.keras"}
TIMES = 3  # in one process
ONE = f"""
import sys, time
import tensorflow as tf, keras
from calibrant.graph.reading.load import load
with tf.Graph().as_default() as graph:
    tf.nn.relu(tf.compat.v1.placeholder(tf.float32, [None, 3]), name="y")
load(graph)
taken = []
for _ in range({TIMES}):
    start = time.process_time()
    load(sys.argv[1])
    taken.append(time.process_time() - start)
print(min(taken))
"""


def make_models(folder: Path) -> None:
    """ResNet-50 in the three forms."""
    import keras

    from calibrant.graph.reading.load import load

    keras.utils.set_random_seed(1)
    model = keras.applications.ResNet50(weights=None)
    model.save(folder / FORMS[".keras"])
    model.export(folder / FORMS["SavedModel"], verbose=False)
    (folder / FORMS[".pb"]).write_bytes(load(model).serialized())


def seconds(checkout: Path, model: Path) -> float:
    """CPU seconds of one reading by the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", ONE, str(model)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print a line for each form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of calibrant")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--only", choices=list(FORMS), help="one form")
    chosen = parser.parse_args()
    checkouts = [HERE] if chosen.against is None else [chosen.against, HERE]
    with tempfile.TemporaryDirectory() as folder:
        make_models(Path(folder))
        for form in [chosen.only] if chosen.only else FORMS:
            taken: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
            for _ in range(chosen.pairs):
                for checkout in checkouts:
                    taken[checkout].append(seconds(checkout, Path(folder) / FORMS[form]))
            best = [min(taken[checkout]) for checkout in checkouts]
            compared = f", {best[1] / best[0]:.2f} times as long" if len(best) == 2 else ""
            print(f"{form:<10} {' → '.join(f'{value:.3f} s' for value in best)}{compared}", flush=True)


if __name__ == "__main__":
    main()
