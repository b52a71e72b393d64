"""The garbage collector, while TensorFlow or a graph is loaded."""

import gc

import pytest

from calibrant import collector


@pytest.mark.parametrize("own", [True, False])
def test_only_in_commands_what_is_there_stays(monkeypatch, own):
    monkeypatch.setattr(collector, "HAS_OWN_PROCESS", own)
    before = gc.get_freeze_count()
    try:
        with collector.never_collected():
            assert not gc.isenabled()
        assert gc.isenabled() and (gc.get_freeze_count() > before) == own
    finally:
        gc.unfreeze()


def test_a_pause_keeps_nothing_for_good(monkeypatch):
    monkeypatch.setattr(collector, "HAS_OWN_PROCESS", True)
    before = gc.get_freeze_count()
    with collector.collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() == before
