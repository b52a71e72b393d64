"""Time the observing of activations and the searches: python bench/histogram.py [millions of values]."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rich.console import Console
from rich.table import Table

from calibrant.algorithms import hfmg, ifmr, kernels
from calibrant.algorithms.histogram import Histogram

THREADS = 2
ROUNDS = 9


def milliseconds(work: Callable[[], object]) -> float:
    """The median over the rounds, after one that is not counted."""
    taken = []
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(taken[1:])


def activations(count: int) -> dict[str, np.ndarray]:
    """Arrays of count values with the shapes of distributions that layers see."""
    normal = np.random.default_rng(0).standard_normal(count, dtype=np.float32)
    return {
        "gaussian": normal,
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(3 * normal + 2, 0, 6),
        "lognormal": np.exp(normal),
    }


def times_of(values: np.ndarray, executor: ThreadPoolExecutor) -> dict[str, float]:
    """Milliseconds of each way to look at the values."""
    halves = np.array_split(values, THREADS)
    going, going_on_threads = Histogram(), [Histogram() for _ in halves]
    for _ in range(3):
        going.update(values)
        list(executor.map(Histogram.update, going_on_threads, halves))
    return {
        "np min, max": milliseconds(lambda: (values.min(), values.max())),
        "np.histogram": milliseconds(lambda: np.histogram(values, 4096)),
        "first update": milliseconds(lambda: Histogram().update(values)),
        "later update": milliseconds(lambda: going.update(values)),
        f"later, {THREADS} threads": milliseconds(
            lambda: list(executor.map(Histogram.update, going_on_threads, halves))
        ),
        "merge": milliseconds(lambda: going.merge(going_on_threads[0])),
        "IFMR": milliseconds(lambda: ifmr.search(going)),
        "HFMG": milliseconds(lambda: hfmg.search(going)),
    }


def main() -> None:
    """Print one table, a row per distribution."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    form = kernels.kernels().__name__.rpartition("_")[2]
    table = Table(title=f"{millions:g} million float32, median milliseconds, {form} loops")
    with ThreadPoolExecutor(THREADS) as executor:
        for name, values in activations(int(millions * 1e6)).items():
            times = times_of(values, executor)
            if not table.columns:
                table.add_column("values")
                for column in times:
                    table.add_column(column, justify="right")
            table.add_row(name, *(f"{taken:.1f}" for taken in times.values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
