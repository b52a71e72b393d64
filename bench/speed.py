"""What calibration costs against plain inference of the same folded graph, side by side in one run.

    python bench/speed.py [--repetitions 5] [--batches 8] [--only mobilenet_v2]

Keras applications with random weights. Each repetition runs the same batches plainly and observed, one after the other,
so that both see the same machine, in sessions that have run one batch before; medians are compared. Peaks of memory are
those of processes of their own, which do one thing only, from the first batch on (Linux only). The table goes to the
terminal, the numbers to ``bench.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from memory import RESET, apart, resident
from results import store

from calibrant.algorithms.histogram import Histogram
from calibrant.calibration.observer import Observer
from calibrant.cli.show import table
from calibrant.config.plan import ActivationPlan
from calibrant.fold import fold
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner
from calibrant.steps.ranges.activations import search_all

IFMR = ActivationPlan(
    search_range_start=0.7, search_range_end=1.3, search_step=0.01, max_percentile=0.999999, min_percentile=0.999999
)
HFMG = ActivationPlan("hfmg", num_of_bins=4096)
MODELS = {"resnet50": ("ResNet50", 8), "mobilenet_v2": ("MobileNetV2", 16)}


def measure(name: str, repetitions: int, count: int) -> dict[str, float | None]:
    """What `beside_plain` gives for ``count`` batches, and peaks in megabytes."""
    found = beside_plain(*prepared(name, count), repetitions)
    peaks = [apart(peak, name, count, observing) for observing in (False, True)]
    return {**found, "peak_plain_mb": peaks[0], "peak_ifmr_mb": peaks[1]}


def beside_plain(
    graph: Graph, tensors: dict[str, None], batches: list[dict[str, np.ndarray]], repetitions: int
) -> dict[str, float]:
    """Medians in seconds of running all batches plainly, with every tensor observed, and with a search after that."""
    plain, seen, with_ifmr, with_hfmg = [], [], [], []
    with Runner(graph) as runner, observer_of(graph, tensors) as observer:
        runner(batches[0])
        observed(observer, batches[:1])
        for _ in range(repetitions):
            start = time.perf_counter()
            for batch in batches:
                runner(batch)
            plain.append(time.perf_counter() - start)
            seconds, histograms = observed(observer, batches)
            seen.append(seconds)
            with_ifmr.append(seconds + searched(graph, histograms, IFMR))
            with_hfmg.append(seconds + searched(graph, histograms, HFMG))
    found = {
        "plain_s": statistics.median(plain),
        "observe_s": statistics.median(seen),
        "ifmr_s": statistics.median(with_ifmr),
        "hfmg_s": statistics.median(with_hfmg),
    }
    ratios = {f"{name}_ratio": found[f"{name}_s"] / found["plain_s"] for name in ("observe", "ifmr", "hfmg")}
    size = len(next(iter(batches[0].values())))
    return {"batches": len(batches), "batch_size": size, "tensors": len(tensors), **found, **ratios}


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


def peak(name: str, count: int, observing: bool) -> float | None:
    """The most memory in megabytes that this process holds during the batches and, if observing, the search."""
    graph, tensors, batches = prepared(name, count)
    if not RESET.exists():
        return None
    RESET.write_text("5")
    if observing:
        with observer_of(graph, tensors) as observer:
            searched(graph, observed(observer, batches)[1], IFMR)
    else:
        with Runner(graph) as runner:
            for batch in batches:
                runner(batch)
    return resident()


def observer_of(graph: Graph, tensors: dict[str, None]) -> Observer:
    """The graph ready to be observed at the tensors."""
    return Observer(graph, {tensor: [Histogram()] for tensor in tensors})


def observed(observer: Observer, batches: list) -> tuple[float, dict[str, Histogram]]:
    """Seconds that the batches take with every tensor observed, and what was observed."""
    start = time.perf_counter()
    histograms = {tensor: Histogram() for tensor in observer.statistics}
    observer.statistics = {tensor: [histogram] for tensor, histogram in histograms.items()}
    for number, batch in enumerate(batches):
        observer.update(batch, number)
    observer.settle()
    return time.perf_counter() - start, histograms


def searched(graph: Graph, histograms: dict[str, Histogram], plan: ActivationPlan) -> float:
    """Seconds for the factors of all of them, each where it is read first."""
    readers = (next(iter(graph.consumers(tensor))) for tensor in histograms)
    places = {(node.name, index): plan for node, index in readers}
    start = time.perf_counter()
    search_all(graph, places, histograms, ())
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    parser.add_argument("--batches", type=int, default=8)
    arguments = parser.parse_args()
    found = {name: measure(name, arguments.repetitions, arguments.batches) for name in MODELS if arguments.only in name}
    store(found)
    columns = ("model", *next(iter(found.values())))
    rows = [(name, *(value and round(value, 3) for value in row.values())) for name, row in found.items()]
    table("calibration beside plain inference, medians", columns, rows)


if __name__ == "__main__":
    main()
