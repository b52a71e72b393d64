"""Whoever observes, and however often it is interrupted: the same state, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from calibrant.algorithms.histogram import Histogram
from calibrant.calibration import runner
from calibrant.calibration.runner import CalibrationRunner
from calibrant.calibration.worker import Worker
from calibrant.errors import CalibrantError, DataError
from calibrant.graph.reading.load import load
from calibration.test_observer import TENSORS, batches_of
from calibration.test_state import content
from graphs import graph_def, numbers, small_network

DATA = numbers(40, 6, 6, 2)


@pytest.fixture(scope="module")
def graph():
    return load(graph_def(small_network))


def blank():
    return {tensor: [Histogram()] for tensor in TENSORS}


def state_of(graph, crew=None, data=DATA, **options):
    return (crew or CalibrationRunner(threads=1)).observe(graph, blank(), batches_of(graph, data), **options)


@pytest.fixture(scope="module")
def whole(graph):
    return content(state_of(graph))


def test_several_processes_see_what_one_sees(graph, whole):
    assert content(state_of(graph, CalibrationRunner(3, threads=1))) == whole


def test_more_processes_than_batches(graph):
    assert content(state_of(graph, CalibrationRunner(3, threads=1), DATA[:4])) == content(
        state_of(graph, data=DATA[:4])
    )


def test_chosen_batches_only(graph, whole):
    parts = [state_of(graph, chosen=range(0, 3)), state_of(graph, chosen=range(3, 10))]
    for tensor, (histogram,) in parts[0].statistics.items():
        histogram.merge_from(parts[1].statistics[tensor][0])
    assert content(parts[0]) == whole
    assert {number for number, _ in parts[1].batches} == set(range(3, 10))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_fails_in_the_middle_goes_on_from_its_state(graph, whole, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(runner, "SAVE_EVERY", 0.0)
    path = tmp_path / "state.npz"
    crew = CalibrationRunner(workers, threads=1)
    broken = DATA.copy()
    broken[22] = 3e38
    with pytest.raises(DataError, match="in batch 5 at"):
        state_of(graph, crew, broken, state=path)
    kept = np.load(path)["batch_numbers"].tolist()
    assert 0 < len(kept) <= (9 if workers == 1 else 10)
    assert 5 not in kept
    resumed = state_of(graph, crew, state=path)
    assert content(resumed) == whole
    assert len(resumed.batches) == 10


def test_sigterm_is_left_alone_without_a_state(graph, monkeypatch):
    seen = []
    state_of(graph, track=lambda batches, *_: (seen.append(signal.getsignal(signal.SIGTERM)), batches)[1])
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize("workers, threads", [(1, 1), (1, 2), (2, 1)])
def test_an_interrupt_saves_what_was_observed(graph, whole, tmp_path, workers, threads):
    def interrupted(batches, description, total):
        for number, batch in enumerate(batches):
            if number == 5:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    path, crew = tmp_path / "state", CalibrationRunner(workers, threads=threads)
    with pytest.raises(KeyboardInterrupt):
        state_of(graph, crew, track=interrupted, state=path)
    kept = np.load(path)["batch_numbers"].tolist()
    assert 0 < len(kept) <= (9 if workers == 1 else 10)
    assert content(state_of(graph, crew, state=path)) == whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
@pytest.mark.parametrize("moment", ["a worker is made", "a worker is given work"])
def test_workers_that_are_being_started_are_not_waited_for(graph, tmp_path, monkeypatch, moment, error):
    made, ends = [], []

    class Starting:
        def __init__(self, *arguments):
            if moment == "a worker is made" and made:
                raise error("stop")
            made.append(self)

        def update(self, batch, number):
            pass

        def collect(self):
            return blank()

        def close(self):
            ends.append("waited for")

        def kill(self):
            ends.append("killed")

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments):
            if moment == "a worker is given work" and self._threads:
                raise error("stop")
            return super().submit(*arguments)

    monkeypatch.setattr(runner, "Worker", Starting)
    monkeypatch.setattr(runner, "ThreadPoolExecutor", Pool)
    with pytest.raises(error):
        state_of(graph, CalibrationRunner(2, threads=1), state=tmp_path / "state")
    assert made and ends == ["killed"] * len(made)


def test_an_interrupt_amid_a_batch_that_fails_saves_no_part_of_it(graph, tmp_path):
    broken = DATA.copy()
    broken[6] = 3e38

    def interrupted(batches, description, total):
        yield from (batch for batch, _ in zip(batches, range(2), strict=False))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        state_of(graph, CalibrationRunner(threads=2), broken, track=interrupted, state=tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_state_saved_on_the_way_has_no_part_of_batches_under_way(graph, tmp_path, monkeypatch):
    asked, saved = [], []

    def due_after_every_third_batch(progress):
        asked.append(progress)
        return len(asked) % 4 in (3, 0)  # add() asks once more

    def save(progress):
        numbers_seen = {number for number, _ in progress.state.batches}
        saved.append((numbers_seen, content(progress.state)))

    monkeypatch.setattr(runner._Progress, "due", due_after_every_third_batch)
    monkeypatch.setattr(runner._Progress, "_save", save)
    state_of(graph, CalibrationRunner(threads=2), state=tmp_path / "state")
    assert [len(seen) for seen, _ in saved[:3]] == [3, 6, 9]
    monkeypatch.undo()
    for seen, found in saved:
        assert found == content(state_of(graph, chosen=seen))


def test_progress_counts_the_chosen_batches(graph):
    shown = []

    def track(items, description, total):
        for item in items:
            shown.append((description, total))
            yield item

    state_of(graph, chosen=range(3, 5), track=track)
    assert shown == [("calibrating", 2)] * 2


def test_a_whole_state_needs_no_further_run(graph, whole, tmp_path, monkeypatch):
    state_of(graph, state=tmp_path / "state")
    monkeypatch.setattr(runner.Observer, "update", lambda *arguments: pytest.fail("a batch was observed again"))
    assert content(state_of(graph, state=tmp_path / "state")) == whole


def test_other_data_than_those_of_the_state_are_refused(graph, tmp_path):
    path = tmp_path / "state"
    state_of(graph, state=path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="batch 2 is not the one that is in the state"):
        state_of(graph, data=np.concatenate([DATA[:8], DATA[12:], DATA[8:12]]), state=path)
    with pytest.raises(DataError, match="batch 8, 9 of the state is not asked for"):
        state_of(graph, data=DATA[:32], state=path)
    assert path.read_bytes() == before


def test_errors_of_workers_are_those_of_one_process(graph):
    broken = DATA.copy()
    broken[22] = 3e38
    messages = set()
    for workers in (1, 2):
        with pytest.raises(DataError) as raised:
            state_of(graph, CalibrationRunner(workers, threads=1), broken)
        messages.add(str(raised.value))
    assert len(messages) == 1


def test_a_worker_that_is_killed_is_told(graph):
    worker = Worker(graph, blank(), 1)
    try:
        worker.update({"x": DATA[:4]}, 0)
        os.kill(worker.process_id, signal.SIGKILL)
        with pytest.raises(CalibrantError, match=r"ended before its time \(exit code -9\)"):
            worker.update({"x": DATA[:4]}, 1)
    finally:
        worker.close()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"workers": 1.5}, {"threads": -1}, {"workers": True}])
def test_impossible_crews_are_refused(wrong):
    with pytest.raises(DataError, match="a whole number"):
        CalibrationRunner(**wrong)


SCRIPT = """
import sys, time
from calibrant.calibration import runner
from calibration.test_runner import DATA, blank, graph_def, load, small_network
from calibration.test_observer import batches_of
runner.SAVE_EVERY = 0.0

def slowly(batches, description, total):
    for batch in batches:
        yield batch
        time.sleep(0.2)

graph = load(graph_def(small_network))
calibration = runner.CalibrationRunner(threads=1)
calibration.observe(graph, blank(), batches_of(graph, DATA), slowly, state=runner.Path(sys.argv[1]))
"""


TERMINATED = """
import os, signal, sys
from calibration.test_runner import DATA, blank, graph_def, load, small_network
from calibration.test_observer import batches_of
from calibrant.calibration import runner

def interrupted(batches, description, total):
    for number, batch in enumerate(batches):
        if number == 5:
            for _ in range(2):  # as it comes to a process that is in the group, too, which gets it
                os.kill(os.getpid(), int(sys.argv[2]))
        yield batch

graph = load(graph_def(small_network))
calibration = runner.CalibrationRunner(threads=1)
calibration.observe(graph, blank(), batches_of(graph, DATA), interrupted, state=runner.Path(sys.argv[1]))
"""


def ignore_hangups():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def take_hangups():
    """As nohup does not, under which tests may run."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU], ids=lambda sent: sent.name)
def test_a_signal_that_ends_saves_what_was_observed_and_ends_the_process(graph, whole, tmp_path, repository, sent):
    path = tmp_path / "state"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository / "tests"), *filter(None, sys.path)])}
    command = [sys.executable, "-c", TERMINATED, str(path), str(int(sent))]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, preexec_fn=take_hangups)
    assert done.returncode == -sent, done.stderr
    assert 0 < len(np.load(path)["batch_numbers"]) < 10
    assert content(state_of(graph, state=path)) == whole


def test_a_hangup_that_is_ignored_stays_ignored(graph, whole, tmp_path, repository):
    path = tmp_path / "state"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository / "tests"), *filter(None, sys.path)])}
    command = [sys.executable, "-c", TERMINATED, str(path), str(int(signal.SIGHUP))]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, preexec_fn=ignore_hangups)
    assert done.returncode == 0, done.stderr
    assert len(np.load(path)["batch_numbers"]) == 10


def test_a_killed_process_goes_on_from_its_state(graph, whole, tmp_path, repository):
    path = tmp_path / "state"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository / "tests"), *filter(None, sys.path)])}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    kept = len(np.load(path)["batch_numbers"])
    assert 0 < kept < 10
    assert content(state_of(graph, state=path)) == whole
