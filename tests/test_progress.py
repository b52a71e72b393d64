"""What a step says of itself."""

from __future__ import annotations

import logging
import time

import pytest

from calibrant import progress
from calibrant.progress import Stopwatch


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "calibrant")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_step_that_takes_long_says_what_it_does(monkeypatch, said):
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    with Stopwatch().step("convert", "converting the network"):
        while not said():
            time.sleep(0.01)
    assert said() == ["converting the network …"]


def test_one_that_ends_in_time_does_not(monkeypatch, said):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    with Stopwatch().step("convert", "converting the network"):
        pass
    time.sleep(0.2)
    assert said() == []


def test_nor_does_one_that_ends_in_an_error(monkeypatch, said):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    with pytest.raises(ValueError), Stopwatch().step("convert", "converting the network"):
        raise ValueError
    time.sleep(0.2)
    assert said() == []


def test_nor_one_that_has_no_word_for_it(monkeypatch, said):
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    with Stopwatch().step("calibrate"):
        time.sleep(0.2)
    assert said() == []
