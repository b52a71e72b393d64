"""Campaigns: short with the other tests, long with CALIBRANT_FUZZ=long (``make fuzz``); counts at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Campaign:
    """What a fuzzer has tried and found."""

    name: str
    runs: int = 0
    longest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def budget(self, short: int, long: int) -> int:
        """How many inputs to try."""
        return long if os.environ.get("CALIBRANT_FUZZ") == "long" else short

    @contextmanager
    def one(self) -> Iterator[None]:
        """One input: counted, with its time."""
        begun = time.monotonic()
        yield
        self.runs += 1
        self.longest = max(self.longest, time.monotonic() - begun)


@pytest.fixture
def campaign(request: pytest.FixtureRequest, record_property: Any) -> Iterator[Campaign]:
    """Counts what a test tries; the test itself says what is wrong."""
    found = Campaign(request.node.name.removeprefix("test_"))
    yield found
    record_property("campaign", [found.name, found.runs, len(found.wrong), found.longest])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A table of the campaigns."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    rows = [
        value
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, value in report.user_properties
        if name == "campaign"
    ]
    if rows:
        terminalreporter.section("fuzzing")
        terminalreporter.write_line(f"{'campaign':<40}{'inputs':>10}{'wrong':>8}{'longest, s':>12}")
        for name, runs, wrong, longest in sorted(rows):
            terminalreporter.write_line(f"{name:<40}{runs:>10}{wrong:>8}{longest:>12.2f}")
