"""Fixtures of the whole suite."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# TensorFlow reads this while it is imported, and conftest.py is imported before every test module.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A shell starts what runs behind it with interrupts ignored, and what that starts would ignore them as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes tells of the machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def warnings_reach_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's module, once imported, keeps what it says from all other handlers."""
    monkeypatch.setattr(logging.getLogger("calibrant"), "propagate", True)


@pytest.fixture(params=["functions", "switch and merge"])
def style(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways in which TensorFlow writes control flow."""
    from graphs import v1

    enabled = v1.control_flow_v2_enabled()
    (v1.enable_control_flow_v2 if request.param == "functions" else v1.disable_control_flow_v2)()
    yield request.param
    (v1.enable_control_flow_v2 if enabled else v1.disable_control_flow_v2)()


@pytest.fixture
def control_flow_v1() -> Iterator[None]:
    """Switch and Merge, as models of TensorFlow 1.x have them."""
    from graphs import v1

    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the project's source tree."""
    return _REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data that lies outside the project; the test is skipped where there is none."""
    named = os.environ.get("CALIBRANT_SHARED")
    folder = Path(named) if named else _REPOSITORY.parent / "shared"
    if not folder.is_dir():
        told = "that CALIBRANT_SHARED names" if named else "beside the project; CALIBRANT_SHARED can name another place"
        pytest.skip(f"no folder of real models at {folder} ({told})")
    return folder.resolve()


@pytest.fixture
def keras2() -> Any:
    """Keras 2; the test is skipped where it is not installed."""
    return pytest.importorskip("tf_keras", reason="tf_keras, which reads Keras 2 files, is not installed")
