"""The compiled loops and the numpy ones give the same bits; numba is loaded on first use only."""

import subprocess
import sys

import numpy as np
import pytest

from calibrant.algorithms import hfmg, ifmr, kernels, kernels_numpy
from calibrant.algorithms.histogram import Histogram

numba = pytest.importorskip("numba", reason="without numba there is nothing to compare")
USERS = ("histogram", "ifmr", "hfmg")


def samples():
    generator = np.random.default_rng(5)
    normal = generator.standard_normal(300_000)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "heavy": generator.standard_t(2, 300_001),
        "whole numbers": generator.integers(0, 256, 20_000),
        "negative": -np.abs(normal[:5000]),
        "constant": np.full(200_000, 3.7),
        "zeros": np.zeros(300),
        "outliers": np.append(normal[:9000], [1e4, -1e30]),
        "one": [1e-40],
    }


def everything(values):
    """The state, and whatever is found from it."""
    histogram = Histogram()
    for part in np.array_split(np.asarray(values, np.float32), 2):
        histogram.update(part)
    found = [
        algorithm.search(histogram, settings(asymmetric=asymmetric))
        for algorithm, settings in ((ifmr, ifmr.IfmrSettings), (hfmg, hfmg.HfmgSettings))
        for asymmetric in (True, False)
    ]
    return histogram, found


@pytest.mark.parametrize("name", samples())
def test_both_forms_agree_bit_for_bit(name, monkeypatch):
    values = samples()[name]
    results = []
    for form in (kernels.compiled_kernels(), kernels_numpy):
        for user in USERS:
            monkeypatch.setattr(f"calibrant.algorithms.{user}.kernels", lambda work, form=form: form)
        results.append(everything(values))
    assert kernels.compiled_kernels().__name__.endswith("numba")
    assert results[0] == results[1]


@pytest.mark.parametrize("shape", [(1, 1), (16, 5000), (70_000, 3), (3, 0), (0, 4), (5, 1), (2, 1_100_000)])
def test_both_forms_add_rows_alike_one_after_the_other(shape):
    rows = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    rows[rows > 2] *= 1e6
    sums = [np.full(shape[1], 0.1) for _ in range(3)]
    kernels.compiled_kernels().add_rows(rows, sums[0])
    kernels_numpy.add_rows(rows, sums[1])
    for row in rows:
        sums[2] += row
    assert sums[0].tobytes() == sums[1].tobytes() == sums[2].tobytes()


def test_without_numba_numpy_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "calibrant.algorithms.kernels_numba", raising=False)
    monkeypatch.delattr("calibrant.algorithms.kernels_numba", raising=False)
    assert kernels.compiled_kernels.__wrapped__() is kernels_numpy


def test_numba_is_not_loaded_before_it_is_needed():
    lines = "import sys, calibrant.algorithms.ifmr, calibrant.algorithms.hfmg; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", lines], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})


def kernels_used(amounts, environment=None):
    """The forms that a fresh process takes for these amounts of work, one after the other."""
    lines = f"""
from calibrant.algorithms.kernels import kernels
print(*(kernels(amount).__name__.rpartition("_")[2] for amount in {amounts}))
"""
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), **(environment or {})}
    done = subprocess.run([sys.executable, "-c", lines], check=True, env=environment, capture_output=True, text=True)
    return done.stdout.split()


def test_loops_are_compiled_when_there_is_enough_to_do_and_found_again_by_the_next_process(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    loading, compiling = kernels.WORTH_LOADING, kernels.WORTH_COMPILING
    assert kernels_used([loading, 1], cache) == ["numpy", "numpy"]
    assert list(tmp_path.rglob("*")) == []
    assert kernels_used([compiling - 1, 1], cache) == ["numpy", "numba"]
    assert kernels_used([loading - 1, 1], cache) == ["numpy", "numba"]
