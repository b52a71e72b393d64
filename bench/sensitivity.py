"""What ranking layers and refining ranges cost in plain passes over the same data, and whether the ranking is right.

    python bench/sensitivity.py [--shared ../shared/real] [--only resnet8]

A plain pass is one run of the original float model over the calibration batches in a session that has run before.
"first" is the whole step as ``quantize --sensitivity`` does it, sessions built and started; "warm" is the time of its
runs when all of them have been done once. The slow way quantizes one layer at a time and runs the whole network.
"channels" and "refine" are the two whole steps of ``quantize --refine``: what is done to channels, and the ranges;
"by default" is both of them together as the command takes them without an option.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from real_models import CASES, Case, batch_count, batches_of, data_of

import calibrant
import calibrant.graph.reading.load
from calibrant.cli.show import table
from calibrant.data.open_data import Batches
from calibrant.emit.fakequant import fake_quantized
from calibrant.graph.graph import Graph
from calibrant.graph.logits import before_softmax
from calibrant.graph.running.run import Runner
from calibrant.progress import no_progress
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.refining.sensitivity import LayerExchanges, sensitivities

HERE = Path(__file__).resolve().parent
REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    """The fastest of some runs."""
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def run_all(graph: Graph, batches: Batches) -> np.ndarray:
    """The outputs in front of a final Softmax."""
    with Runner(graph, [before_softmax(graph, graph.outputs[0])]) as runner:
        return np.concatenate([np.array(runner(batch)[0], np.float64) for batch in batches])


def slowly(network: QuantizedNetwork, batches: Batches) -> tuple[list[float], list[float]]:
    """Noise at the outputs with only one layer quantized, and with all but one, in the order of the network."""
    plain = replace(network, output_tensors=())
    reference = run_all(network.graph, batches)

    def noise(layers: list) -> float:
        return float(
            np.square(run_all(fake_quantized(replace(plain, layers=tuple(layers))), batches) - reference).sum()
        )

    return (
        [noise([layer]) for layer in network.layers],
        [noise([other for other in network.layers if other is not layer]) for layer in network.layers],
    )


def rank_correlation(first: list[float], second: list[float]) -> float:
    """Spearman's, for values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def measure(case: Case, shared: Path) -> tuple[object, ...]:
    """One row."""
    data = data_of(shared, case.calibration)
    original = calibrant.graph.reading.load.load(str(shared / case.model), case.inputs)
    config = f"batch_num : {batch_count(case, shared, data)}"
    result = calibrant.quantize(original, config, data, refine=True, **case.options)
    unasked = calibrant.quantize(original, config, data, refine=None, **case.options).seconds
    batches = batches_of(original, data, case.options)
    kept = list(batches)
    with Runner(original) as runner:

        def one_pass() -> None:
            for batch in kept:
                runner(batch)

        one_pass()
        plain = seconds(one_pass)
    start = time.perf_counter()
    found = {entry.layer: entry for entry in sensitivities(result.network, batches, no_progress)}
    first = time.perf_counter() - start
    with LayerExchanges(result.network) as exchanges:
        exchanges.measure(batches, no_progress)
        warm = seconds(lambda: exchanges.measure(batches, no_progress))
    only, without = slowly(result.network, batches)
    order = [found[layer.layer.name] for layer in result.network.layers]
    return (
        case.name,
        len(order),
        f"{1000 * plain:.0f}",
        f"{first / plain:.1f}",
        f"{warm / plain:.1f}",
        f"{result.seconds['channels'] / plain:.0f}",
        f"{result.seconds['refine'] / plain:.0f}",
        f"{(unasked['channels'] + unasked['refine']) / plain:.0f}",
        f"{rank_correlation(only, [-entry.only_db for entry in order]):.3f}",
        f"{rank_correlation(without, [-entry.without_db for entry in order]):.3f}",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=HERE.parents[1] / "shared" / "real")
    parser.add_argument("--only", default="resnet8 .pb", help="only the models whose name contains this")
    arguments = parser.parse_args()
    if not arguments.shared.is_dir():
        raise SystemExit(f"{arguments.shared}: there are no real models; give their folder with --shared")
    rows = [measure(case, arguments.shared) for case in CASES if arguments.only in case.name]
    columns = (
        "model",
        "layers",
        "plain pass ms",
        "first",
        "warm",
        "channels",
        "refine",
        "by default",
        "ranks, only",
        "ranks, all but",
    )
    table("sensitivity and refining, in plain passes", columns, rows)


if __name__ == "__main__":
    main()
