"""Time and memory of calibration against batches, tensor size and number of layers, beside plain inference.

    python bench/scaling.py [--out docs/benchmarks]

Every point is a process of its own, one for plain inference and one for calibration with IFMR, which reads a frozen
graph, gives freed memory back, and only then runs batches, made one at a time. Seconds are a batch's share of all
after the first. Memory is the peak above what the process held before the first batch (Linux only).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from memory import apart, resident, start_watching
from results import store
from speed import IFMR, searched

from calibrant.algorithms.histogram import Histogram
from calibrant.calibration.observer import Observer
from calibrant.cli.show import table
from calibrant.fold import fold
from calibrant.graph import nodes as nd
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner
from calibrant.graph.tensorflow import tensorflow

BATCHES = (4, 40, 400)
SIDES = (32, 96, 256, 512)
LAYERS = (4, 32, 256)
CHANNELS = 64
ROUNDS = 10


def make_models(folder: Path) -> None:
    """ResNet-50, a depthwise convolution for images of any size, and chains of convolutions; random weights."""
    import keras

    tf = tensorflow()
    keras.utils.set_random_seed(1)
    (folder / "resnet50.pb").write_bytes(load(keras.applications.ResNet50(weights=None)).serialized())
    random = np.random.default_rng(1)
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, None, None, CHANNELS], "x")
        weights = random.standard_normal((3, 3, CHANNELS, 1), np.float32)
        tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME", name="y")
    (folder / "size.pb").write_bytes(graph.as_graph_def().SerializeToString())
    for depth in LAYERS:
        with tf.Graph().as_default() as graph:
            x = tf.compat.v1.placeholder(tf.float32, [None, 28, 28, CHANNELS], "x")
            for _ in range(depth):
                weights = random.standard_normal((1, 1, CHANNELS, CHANNELS), np.float32) / np.float32(CHANNELS**0.5)
                x = tf.nn.relu(tf.nn.conv2d(x, weights, 1, "SAME"))
            tf.identity(x, "y")
        (folder / f"layers{depth}.pb").write_bytes(graph.as_graph_def().SerializeToString())


def points() -> Iterator[tuple[str, int, str, tuple[int, ...], int]]:
    """(plot, place on its axis, model file, shape of a batch, number of batches)."""
    for count in BATCHES:
        yield "batches", count, "resnet50.pb", (1, 224, 224, 3), count
    for side in SIDES:
        yield "values", side * side * CHANNELS, "size.pb", (1, side, side, CHANNELS), ROUNDS
    for depth in LAYERS:
        yield "layers", depth, f"layers{depth}.pb", (8, 28, 28, CHANNELS), ROUNDS


def point(model: Path, shape: tuple[int, ...], count: int, observed: bool) -> dict[str, float | None]:
    """Seconds of a batch after the first, all seconds, and megabytes added."""
    graph = fold(load(str(model))).graph
    tensors = dict.fromkeys(
        nd.data_inputs(graph.nodes[layer.name])[layer.data_inputs[0]] for layer in find_layers(graph)[0]
    )
    random, (key,) = np.random.default_rng(2), graph.input_keys
    batches = [{key: random.standard_normal(shape, np.float32)} for _ in range(2)]
    before = start_watching()
    begin = time.perf_counter()
    histograms = {tensor: Histogram() for tensor in tensors}
    with (
        Observer(graph, {tensor: [found] for tensor, found in histograms.items()}) if observed else Runner(graph) as run
    ):
        for number in range(count):
            batch = batches[number % 2]
            run.update(batch, number) if observed else run(batch)
            if observed and number in (0, count - 1):
                run.settle()
            if number == 0:
                start = time.perf_counter()
        seconds = time.perf_counter() - start
    if observed:
        searched(graph, histograms, IFMR)
    return {
        "batch_s": seconds / (count - 1),
        "whole_s": time.perf_counter() - begin,
        "added_mb": None if before is None else resident() - before,
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Two rows of plots, seconds and megabytes; the same numbers give the same file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "calibrant", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    titles = {
        "batches": "batches of ResNet-50, one image each",
        "values": "values of one tensor",
        "layers": "layers of 8 x 28 x 28 x 64 values",
    }
    figure, axes = pyplot.subplots(2, len(titles), figsize=(11, 6), layout="constrained")
    for column, (plot, title) in enumerate(titles.items()):
        rows = [row for row in found if row["plot"] == plot]
        for line, quantity, label in ((0, "batch_s", "seconds a batch"), (1, "added_mb", "peak, MB above the start")):
            axis = axes[line][column]
            for kind in ("plain", "ifmr"):
                shown = [(row["at"], row[f"{kind}_{quantity}"]) for row in rows]
                style = {"marker": "o", "label": "plain inference" if kind == "plain" else "calibration with IFMR"}
                axis.plot(*zip(*shown, strict=True), **style)
            axis.set(xscale="log", xlabel=title, ylabel=label, ylim=(0, None))
            axis.grid(alpha=0.3)
    axes[0][0].legend()
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Print the numbers and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder for scaling.svg")
    parser.add_argument("--only", default="", help="only the plot of this name: batches, values or layers")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        apart(make_models, folder)
        for plot, at, model, shape, count in points():
            if arguments.only in plot:
                row: dict[str, Any] = {"plot": plot, "at": at}
                for kind in ("plain", "ifmr"):
                    measured = apart(point, folder / model, shape, count, kind == "ifmr")
                    row |= {f"{kind}_{quantity}": value for quantity, value in measured.items()}
                found.append(row)
    columns = (
        "plot",
        "at",
        *(f"{kind}_{quantity}" for quantity in ("batch_s", "added_mb") for kind in ("plain", "ifmr")),
    )
    table("what grows, and what does not", (*columns, "more MB"), [shown(row, columns) for row in found])
    store({"scaling": found})
    if not arguments.only:
        arguments.out.mkdir(parents=True, exist_ok=True)
        draw(found, arguments.out / "scaling.svg")


def shown(row: dict[str, Any], columns: tuple[str, ...]) -> list[Any]:
    """A row of the table; the last column is what calibration holds more than plain inference."""
    values = [row[column] for column in columns]
    known = row["ifmr_added_mb"] is not None
    more = f"{row['ifmr_added_mb'] - row['plain_added_mb']:.0f}" if known else None
    return [*(f"{value:.4f}" if isinstance(value, float) and value < 10 else value for value in values), more]


if __name__ == "__main__":
    main()
