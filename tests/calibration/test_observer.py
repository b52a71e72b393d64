"""One pass of data: every statistic sees every value once, bad values are told with their place."""

import os
import platform
import threading
from pathlib import Path

import numpy as np
import pytest

from calibrant.algorithms.channel_extremes import ChannelMaximum
from calibrant.algorithms.histogram import Histogram
from calibrant.calibration import memory
from calibrant.calibration.memory import trim_heap
from calibrant.calibration.observer import Observer
from calibrant.calibration.runner import CalibrationRunner
from calibrant.data.open_data import InputSpec, open_data
from calibrant.errors import DataError
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import Runner, input_shapes, run_once
from graphs import graph_def, numbers, small_network

TENSORS = ("x:0", "relu:0", "flat:0", "pool:0")


@pytest.fixture(scope="module")
def graph():
    return load(graph_def(small_network))


def batches_of(graph, data):
    return open_data(data, [InputSpec(key, *rest) for key, rest in input_shapes(graph).items()], batch_size=4)


def observe_histograms(graph, tensors, batches):
    histograms = {tensor: Histogram() for tensor in tensors}
    CalibrationRunner().observe(graph, {tensor: (histogram,) for tensor, histogram in histograms.items()}, batches)
    return histograms


@pytest.mark.parametrize("threads", [0, 1])
def test_statistics_are_those_of_the_fetched_tensors(graph, threads):
    data = numbers(10, 6, 6, 2)
    batches = batches_of(graph, data)
    found = {tensor: (Histogram(), ChannelMaximum()) for tensor in TENSORS}
    CalibrationRunner(threads=threads).observe(graph, found, batches)
    expected = {tensor: (Histogram(), ChannelMaximum()) for tensor in TENSORS}
    for batch in batches:
        for tensor, values in zip(TENSORS, run_once(graph, batch, TENSORS), strict=True):
            for statistic in expected[tensor]:
                statistic.update(values)
    for tensor in TENSORS:
        assert found[tensor][0] == expected[tensor][0]
        assert found[tensor][1].maximum.tobytes() == expected[tensor][1].maximum.tobytes()


def test_the_order_of_batches_does_not_matter(graph):
    data = numbers(12, 6, 6, 2)
    first = observe_histograms(graph, TENSORS, batches_of(graph, data))
    turned = np.concatenate([data[8:], data[4:8], data[:4]])
    assert observe_histograms(graph, TENSORS, batches_of(graph, turned)) == first


def test_what_is_not_finite_is_told_with_tensor_reader_and_batch(graph):
    data = numbers(12, 6, 6, 2)
    data[9] = 3e38
    with pytest.raises(DataError) as raised:
        observe_histograms(graph, ("flat:0", "relu:0"), batches_of(graph, data))
    assert "in batch 2 at 'flat', which dense reads" in str(raised.value)


def test_what_is_not_finite_and_read_by_nothing_is_told_as_an_output(graph):
    with pytest.raises(DataError, match="12 NaN .* at 'out', an output of the model"):
        observe_histograms(graph, ("out:0",), batches_of(graph, np.full((4, 6, 6, 2), 3e38, np.float32)))


def test_watchers_are_called_once_a_batch_on_the_thread_that_runs_it(graph):
    seen = []
    with Runner(graph, watched={"relu:0": lambda values: seen.append((threading.get_ident(), values.sum()))}) as runner:
        for seed in range(3):
            (output,) = runner({"x": numbers(2, 6, 6, 2, seed=seed)})
            assert output.shape == (2, 3)
    assert len(seen) == 3
    assert {thread for thread, _ in seen} == {threading.get_ident()}


def test_what_watchers_raise_is_raised_after_the_batch_the_first_in_order(graph):
    def fail(values):
        raise LookupError(str(values.ndim))

    with Runner(graph, (), watched={"flat:0": fail, "relu:0": fail}) as runner, pytest.raises(LookupError, match="^2$"):
        runner({"x": numbers(2, 6, 6, 2)})


class Told:
    """Calls a function with each batch of a tensor."""

    kind = "told"

    def __init__(self, function):
        self.update = function


def test_the_next_batch_begins_while_one_is_looked_at(graph):
    first, begun = [], threading.Event()

    def note(values):
        first.append(values.sum())
        if len(first) == 2:
            begun.set()

    def wait(values):
        assert begun.wait(60)

    statistics = {"relu:0": [Told(note)], "flat:0": [Told(wait)]}
    CalibrationRunner().observe(graph, statistics, batches_of(graph, numbers(12, 6, 6, 2)))
    assert len(first) == 3


def test_with_one_thread_one_batch_is_done_after_the_other(graph):
    order = []
    statistics = {tensor: [Told(lambda values, tensor=tensor: order.append(tensor))] for tensor in ("relu:0", "flat:0")}
    CalibrationRunner(threads=1).observe(graph, statistics, batches_of(graph, numbers(12, 6, 6, 2)))
    assert order == ["relu:0", "flat:0"] * 3


@pytest.mark.parametrize(
    ("threads", "alone", "divided_among"),
    [(1, False, 1), (2, False, 1), (3, False, 3), (1, True, 1), (2, True, 2), (8, False, 8)],
)
def test_operations_are_divided_only_where_batches_do_not_keep_all_threads_busy(
    graph, monkeypatch, threads, alone, divided_among
):
    given = []

    class Noted(Runner):
        def __init__(self, graph, fetches, threads, watched):
            given.append(threads)
            super().__init__(graph, fetches, threads, watched)

    monkeypatch.setattr("calibrant.calibration.observer.Runner", Noted)
    with Observer(graph, {"relu:0": [Histogram()]}, threads, alone):
        assert given == [divided_among]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_of_batches_under_way_the_first_that_fails_is_told_and_none_goes_on(graph, bad):
    data = numbers(20, 6, 6, 2)
    data[4 * bad :] = 3e38
    batches = list(batches_of(graph, data))
    with (
        pytest.raises(DataError, match=f"in batch {bad} at"),
        Observer(graph, {"flat:0": [Histogram()]}) as observer,
    ):
        for number, batch in enumerate(batches):
            observer.update(batch, number)
        observer.settle()
    with pytest.raises(RuntimeError):
        observer.update(batches[0], 0)


def test_freed_memory_is_given_back_now_and_then(graph, monkeypatch):
    given = []
    monkeypatch.setattr("calibrant.calibration.observer.trim_heap", lambda: given.append(True))
    monkeypatch.setattr("calibrant.calibration.observer.TRIM_EVERY", 3600.0)
    observe_histograms(graph, TENSORS, batches_of(graph, numbers(12, 6, 6, 2)))
    assert not given
    monkeypatch.setattr("calibrant.calibration.observer.TRIM_EVERY", 0.0)
    observe_histograms(graph, TENSORS, batches_of(graph, numbers(12, 6, 6, 2)))
    assert len(given) == 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can give memory back when asked")
def test_memory_between_what_is_in_use_is_given_back():
    held = [np.ones(10_000) for _ in range(2000)]  # too small to be mapped one by one
    del held[:-1]
    before = resident()
    trim_heap()
    assert before - resident() > 100e6


def test_where_memory_cannot_be_given_back_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory._malloc_trim.cache_clear()
    try:
        trim_heap()
    finally:
        memory._malloc_trim.cache_clear()


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
