"""A command with workers is ended at any moment; what it started has to end with it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
COMMANDS = {
    "quantize": "quantize digits.pb --data calibration.npz --batch-size 1 --workers 2 --out {out}",
    "tune": "tune digits.pb --data calibration.npz --workers 2 --tolerance 100 --out {out}.cfg",
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
SECONDS = 2
LABEL = "CALIBRANT_RUN_TO_END"


@dataclass(frozen=True)
class Ended:
    """What was left after a signal, and the seconds until nothing was."""

    left: int
    seconds: float
    at_work: int
    said: str


def start(command: str, label: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a command; each process that comes of it has the label in its environment."""
    arguments = COMMANDS[command].format(out=folder / "out").split()
    return subprocess.Popen(
        [sys.executable, "-m", "calibrant", *arguments],
        cwd=DIGITS,
        env={**os.environ, LABEL: label},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "said").open("wb"),
        start_new_session=True,
    )


def alive(label: str) -> list[int]:
    """The processes that have this label and are not only waited for."""
    mark, found = f"{LABEL}={label}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended, or of another user
            continue
    return found


def whole_run(command: str, folder: Path) -> float:
    """The seconds that a run takes which nobody ends."""
    begun = time.monotonic()
    code = start(command, "whole", folder).wait()
    if code:
        raise RuntimeError(f"{command} ended with {code}: {(folder / 'said').read_text()[-300:]}")
    return time.monotonic() - begun


def end(command: str, number: int, longest: float, folder: Path) -> Ended:
    """Start a command, send it the signal of this number at a moment of this number, and see what outlives it.

    An interrupt goes to all processes every other time, as from a terminal.
    """
    label, rng, which = f"{os.getpid()}-{number}", random.Random(number), SIGNALS[number % len(SIGNALS)]
    parent = start(command, label, folder)
    time.sleep(rng.uniform(0, longest))
    at_work = len(alive(label))
    begun = time.monotonic()
    send = os.killpg if which is signal.SIGINT and number // len(SIGNALS) % 2 else os.kill
    if parent.poll() is None:
        send(parent.pid, which)
    left = [parent.pid]
    while left and time.monotonic() < begun + SECONDS:
        time.sleep(0.02)
        parent.poll()
        left = alive(label)
    seconds = time.monotonic() - begun
    for process in left:
        os.kill(process, signal.SIGKILL)
    parent.wait()
    return Ended(len(left), seconds, at_work, (folder / "said").read_text(errors="replace"))
