"""Seconds of each step of ``quantize``, and of starting the command line.

    python bench/steps.py [--repetitions 3] [--only matmul]

ResNet-50 with random weights from a frozen graph, a SavedModel and a Keras file, the same with all weights non-uniform
(NUQ) and with all layers balanced (DMQ), and a network of MatMul layers with 100 million weights. Each run is a process
of its own that has imported TensorFlow, and Keras for its file, before. The rest is everything but calibrating and
balancing, which run the data.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import apart
from results import store

from calibrant.cli.show import table
from calibrant.graph.reading.load import load
from calibrant.graph.tensorflow import tensorflow

BATCHES = 4
WIDTH, DEPTH = 4096, 6
SHAPES = {"resnet50": (8, 224, 224, 3), "matmul": (8, WIDTH)}
NUQ = "common_config { nuq_quantize { num_steps : 32 } }"
DMQ = "common_config { dmq_balancer { migration_strength : 0.5 } }"
CASES = {
    "ResNet-50 .pb": ("resnet50.pb", ""),
    "ResNet-50 SavedModel": ("resnet50", ""),
    "ResNet-50 .keras": ("resnet50.keras", ""),
    "ResNet-50 .pb, NUQ 32": ("resnet50.pb", NUQ),
    "ResNet-50 .pb, DMQ": ("resnet50.pb", DMQ),
    f"MatMul, {DEPTH} x {WIDTH} x {WIDTH} .pb": ("matmul.pb", ""),
}
STEPS = ("load", "fold", "balance", "weights", "calibrate", "search", "emit", "write")
RUNNING = ("balance", "calibrate")
STARTS = {
    "--help": ("--help",),
    "check": ("check", "examples/digits/quant.cfg"),
}


def make_models(folder: Path) -> None:
    """The model files, all with random weights."""
    import keras

    tf = tensorflow()
    keras.utils.set_random_seed(1)
    model = keras.applications.ResNet50(weights=None)
    model.save(folder / "resnet50.keras")
    model.export(folder / "resnet50", verbose=False)
    (folder / "resnet50.pb").write_bytes(load(model).serialized())
    generator = np.random.default_rng(1)
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, WIDTH], "x")
        for _ in range(DEPTH):
            weights = generator.standard_normal((WIDTH, WIDTH), np.float32) * np.float32((2 / WIDTH) ** 0.5)
            x = tf.nn.relu(tf.matmul(x, weights))
        tf.identity(x, "y")
    (folder / "matmul.pb").write_bytes(graph.as_graph_def().SerializeToString())


def steps_of(model: Path, config: str, out: Path) -> dict[str, float]:
    """Seconds of every step of one ``quantize``."""
    from calibrant.quantization import quantize

    tensorflow()
    if model.suffix == ".keras":
        import keras  # noqa: F401
    shape = SHAPES[model.stem]
    batches = list(np.random.default_rng(2).normal(size=(BATCHES, *shape)).astype(np.float32))
    start = time.perf_counter()
    result = quantize(str(model), f"batch_num : {BATCHES} {config}", batches, out)
    whole = time.perf_counter() - start
    seconds = dict(result.seconds)
    rest = whole - sum(seconds.get(step, 0.0) for step in RUNNING)
    return {**{step: seconds.get(step, 0.0) for step in STEPS}, "rest": rest}


def start_seconds(arguments: tuple[str, ...]) -> float:
    """Seconds from starting a command to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "calibrant", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    arguments = parser.parse_args()
    starts = {
        name: statistics.median(start_seconds(given) for _ in range(2 * arguments.repetitions + 1))
        for name, given in STARTS.items()
    }
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        apart(make_models, folder)
        for name, (file, config) in CASES.items():
            if arguments.only.lower() not in name.lower():
                continue
            runs = [apart(steps_of, folder / file, config, folder / "out") for _ in range(arguments.repetitions)]
            found[name] = {step: statistics.median(run[step] for run in runs) for step in (*STEPS, "rest")}
    rows = [(name, *(f"{row[step]:.2f}" for step in (*STEPS, "rest"))) for name, row in found.items()]
    table(f"seconds of each step, medians of {arguments.repetitions}", ("model", *STEPS, "rest"), rows)
    table(
        "seconds from start to end of a command, medians",
        ("command", "seconds"),
        [(f"calibrant {name}", f"{seconds:.2f}") for name, seconds in starts.items()],
    )
    store({"steps": {"quantize": found, "start": starts}})


if __name__ == "__main__":
    main()
