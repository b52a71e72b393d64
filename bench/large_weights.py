"""What the LiteRT file of a network with large weights costs, beside TensorFlow's own full-integer conversion.

    python bench/large_weights.py [--kinds dense,tables] [--megabytes 50,200]

``dense`` is a chain of dense layers of 1,024 × 1,024 over 32 positions, ``tables`` two embedding tables of width 64 and
three dense layers. Each side runs in a process of its own: ``calibrant.quantize`` with ``export="tflite"``, which
writes the other files too, and the converter with the same eight samples. Seconds are of all processors; the peak is
that of the process, TensorFlow's 600 MB among it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from memory import apart, resident

from calibrant.cli.show import table

SAMPLES, POSITIONS, WIDTH, ROW = 8, 32, 1024, 64
COLUMNS = ("weights", "MB", "s", "stock", "peak MB", "stock", "file MB", "stock")


def make_model(path: Path, kind: str, megabytes: int) -> None:
    """A frozen graph with so many megabytes of float32 weights, and samples for it."""
    from calibrant.graph.tensorflow import tensorflow

    tf = tensorflow()
    random = np.random.default_rng(1)

    def weights(*shape: int) -> Any:
        return tf.constant(random.standard_normal(shape, np.float32) * np.float32((2 / shape[0]) ** 0.5))

    with tf.Graph().as_default() as graph:
        if kind == "dense":
            x = tf.compat.v1.placeholder(tf.float32, [None, POSITIONS, WIDTH], "x")
            for _ in range(max(megabytes * 2**20 // (4 * WIDTH**2), 1)):
                y = tf.matmul(tf.reshape(x, [-1, WIDTH]), weights(WIDTH, WIDTH))
                x = tf.nn.relu(tf.reshape(y, [-1, POSITIONS, WIDTH]))
            data = random.standard_normal((SAMPLES, POSITIONS, WIDTH), np.float32)
        else:
            rows = megabytes * 2**20 // (8 * ROW)
            ids = tf.compat.v1.placeholder(tf.int32, [None, 2], "x")
            x = tf.concat([tf.gather(weights(rows, ROW), ids[:, side]) for side in range(2)], -1)
            for _ in range(3):
                x = tf.nn.relu(tf.matmul(x, weights(2 * ROW, 2 * ROW)))
            data = random.integers(0, rows, (SAMPLES, 2)).astype(np.int32)
        tf.identity(x, "y")
    (path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    np.save(path / "x.npy", data)


def ours(path: Path) -> tuple[float, float, int]:
    """CPU seconds, peak in megabytes and bytes of the file."""
    import calibrant

    begun = time.process_time()
    calibrant.quantize(str(path / "net.pb"), data=str(path / "x.npy"), out=str(path / "out"), export="tflite")
    return time.process_time() - begun, resident() or 0, (path / "out" / "net_int8.tflite").stat().st_size


def stock(path: Path) -> tuple[float, float, int]:
    """The same of TensorFlow's converter."""
    from calibrant.graph.tensorflow import tensorflow

    tf = tensorflow()
    data = np.load(path / "x.npy")
    begun = time.process_time()
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
        str(path / "net.pb"), ["x"], ["y"], {"x": [1, *data.shape[1:]]}
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    content = converter.convert()
    return time.process_time() - begun, resident() or 0, len(content)


def row(kind: str, megabytes: int) -> tuple[str, ...]:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        apart(make_model, Path(folder), kind, megabytes)
        (seconds, peak, size), (other_seconds, other_peak, other_size) = (
            apart(side, Path(folder)) for side in (ours, stock)
        )
    cells = (seconds, other_seconds, peak, other_peak, size / 1e6, other_size / 1e6)
    return kind, str(megabytes), *(f"{value:.0f}" for value in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default="dense,tables")
    parser.add_argument("--megabytes", default="50,200")
    options = parser.parse_args()
    sizes = [int(size) for size in options.megabytes.split(",")]
    rows = [row(kind, size) for kind in options.kinds.split(",") for size in sizes]
    table("full-integer LiteRT files, TensorFlow's converter beside", COLUMNS, rows)


if __name__ == "__main__":
    main()
