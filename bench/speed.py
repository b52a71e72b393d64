"""What calibration costs against plain inference of the same folded graph, side by side in one run.

    python bench/speed.py [--repetitions 5] [--batches 8] [--only mobilenet_v2]

Keras applications with random weights. Each repetition runs the same batches plainly and observed, one after the other,
so that both see the same machine; medians are compared. Peaks of memory are those of processes of their own, which do
one thing only, from the first batch on (Linux only). The table goes to the terminal, the numbers to ``bench.json``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path

import numpy as np

from calibrant.algorithms.hfmg import HfmgSettings
from calibrant.algorithms.hfmg import search as hfmg
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import IfmrSettings
from calibrant.algorithms.ifmr import search as ifmr
from calibrant.calibration.observe import Observer
from calibrant.cli.show import table
from calibrant.fold import fold
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import find_layers
from calibrant.graph.load import load
from calibrant.graph.run import Runner

MODELS = {"resnet50": ("ResNet50", 8), "mobilenet_v2": ("MobileNetV2", 16)}


def measure(name: str, repetitions: int, count: int) -> dict[str, float | None]:
    """Medians in seconds over ``count`` batches, and peaks in megabytes."""
    graph, tensors, batches = prepared(name, count)
    observe(graph, tensors, batches)
    plain_times, observed_times = [], []
    with Runner(graph) as runner:
        runner(batches[0])
        for _ in range(repetitions):
            start = time.perf_counter()
            for batch in batches:
                runner(batch)
            plain_times.append(time.perf_counter() - start)
            seconds, histograms = observe(graph, tensors, batches)
            observed_times.append(seconds)
    plain, observed = statistics.median(plain_times), statistics.median(observed_times)
    searches = [statistics.median(_timed(search, histograms) for _ in range(3)) for search in (_ifmr, _hfmg)]
    peaks = [_apart(peak, name, count, observed) for observed in (False, True)]
    return {
        "batches": count,
        "batch_size": MODELS[name][1],
        "tensors": len(tensors),
        "plain_s": plain,
        "observe_s": observed,
        "ratio": observed / plain,
        "ifmr_s": observed + searches[0],
        "hfmg_s": observed + searches[1],
        "ifmr_ratio": (observed + searches[0]) / plain,
        "hfmg_ratio": (observed + searches[1]) / plain,
        "peak_plain_mb": peaks[0],
        "peak_ifmr_mb": peaks[1],
    }


def prepared(name: str, count: int) -> tuple[Graph, dict[str, None], list[dict[str, np.ndarray]]]:
    """The folded graph, the tensors that its layers read, and batches of random values."""
    import keras

    application, size = MODELS[name]
    keras.utils.set_random_seed(1)
    graph = fold(load(getattr(keras.applications, application)(weights=None))).graph
    layers, _ = find_layers(graph)
    tensors = dict.fromkeys(nd.data_inputs(graph.nodes[layer.name])[layer.data_inputs[0]] for layer in layers)
    shape = (size, *graph.shape(graph.inputs[0])[1:])
    generator = np.random.default_rng(1)
    batches = [{graph.input_keys[0]: generator.normal(size=shape).astype(np.float32)} for _ in range(count)]
    return graph, tensors, batches


def peak(name: str, count: int, observed: bool) -> float | None:
    """The most memory in megabytes that this process holds during the batches and, if observed, the search."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    graph, tensors, batches = prepared(name, count)
    if not reset.exists():
        return None
    reset.write_text("5")
    if observed:
        _timed(_ifmr, observe(graph, tensors, batches)[1])
    else:
        with Runner(graph) as runner:
            for batch in batches:
                runner(batch)
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _apart(function, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def observe(graph: Graph, tensors: dict[str, None], batches: list) -> tuple[float, list[Histogram]]:
    """Seconds that the batches take with every tensor observed, and what was observed."""
    histograms = {tensor: Histogram() for tensor in tensors}
    with Observer(graph, {tensor: [found] for tensor, found in histograms.items()}) as observer:
        start = time.perf_counter()
        for number, batch in enumerate(batches):
            observer.update(batch, number)
        return time.perf_counter() - start, list(histograms.values())


def _ifmr(histogram: Histogram) -> None:
    ifmr(histogram, IfmrSettings())


def _hfmg(histogram: Histogram) -> None:
    hfmg(histogram, HfmgSettings())


def _timed(search, histograms: list[Histogram]) -> float:
    start = time.perf_counter()
    for histogram in histograms:
        search(histogram)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    parser.add_argument("--batches", type=int, default=8)
    arguments = parser.parse_args()
    found = {name: measure(name, arguments.repetitions, arguments.batches) for name in MODELS if arguments.only in name}
    Path("bench.json").write_text(json.dumps(found, indent=2) + "\n")
    columns = ("model", *next(iter(found.values())))
    rows = [(name, *(value and round(value, 3) for value in row.values())) for name, row in found.items()]
    table("calibration beside plain inference, medians", columns, rows)


if __name__ == "__main__":
    main()
