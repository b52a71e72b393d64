"""Threads that quantize at the same time leave the process as it was."""

import logging
import os
import signal
import sys
import threading
import warnings

import pytest

import calibrant
from calibrant.emit.tflite.conversion.convert import _silence
from calibrant.process_wide import alone


def test_two_conversions_leave_the_streams_and_the_log_as_they_were():
    streams, level, filters = (sys.stdout, sys.stderr), logging.getLogger("absl").level, list(warnings.filters)
    first_is_in, second_has_begun = threading.Event(), threading.Event()

    def first():
        with _silence():
            first_is_in.set()
            second_has_begun.wait(2)

    def second():
        first_is_in.wait(2)
        second_has_begun.set()
        with _silence():
            pass

    threads = [threading.Thread(target=each) for each in (first, second)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (sys.stdout, sys.stderr) == streams
    assert logging.getLogger("absl").level == level and list(warnings.filters) == filters


def test_a_conversion_leaves_the_log_to_a_program_that_sets_it_up_later(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    folder = repository / "examples" / "digits"
    calibrant.quantize(folder / "digits.pb", None, folder / "calibration.npz", tmp_path, export="tflite", page=False)
    assert logging.root.handlers == []


def test_threads_write_what_one_after_the_other_would(repository, tmp_path):
    folder = repository / "examples" / "digits"
    stdout, given = sys.stdout, (folder / "digits.pb", folder / "quant.cfg", folder / "calibration.npz")

    def run(name):
        calibrant.quantize(*given, tmp_path / name, export="tflite", page=False)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abc"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    run("alone")
    assert sys.stdout is stdout
    expected = (tmp_path / "alone" / "digits_int8.tflite").read_bytes()
    assert [(tmp_path / name / "digits_int8.tflite").read_bytes() == expected for name in "abc"] == [True] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_that_is_forked_meanwhile_does_not_wait_for_the_thread_that_it_lacks():
    is_in, done = threading.Event(), threading.Event()

    def hold():
        with alone():
            is_in.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    is_in.wait(10)
    child = os.fork()
    if not child:
        signal.alarm(5)
        with alone():
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    done.set()
    thread.join()
