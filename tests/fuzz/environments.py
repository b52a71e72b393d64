"""Commands in surroundings that lack something, and with paths that are something else: a table of what they say.

Each either works or ends with exit code 2 (1 where that is a verdict, 141 where the reader has gone) and one line that
begins with "error" or "Error", without a traceback. Run as a program; ``--full`` runs every command in every
surrounding.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
CALIBRANT = f"{shlex.quote(sys.executable)} -m calibrant"
SECONDS = 180
READER_GONE = 141

COMMANDS = {
    "quantize": "quantize {digits}/digits.pb --data {digits}/calibration.npz --config {digits}/quant.cfg --out out",
    "check": "check {digits}/quant.cfg",
    "inspect": "inspect {digits}/digits.pb",
    "init": "init {digits}/digits.pb --out new.cfg --force",
    "compare": "compare {result} {result}",
    "observe": "observe {digits}/digits.pb --data {digits}/calibration.npz --state state.npz",
    "merge": "merge {state} --model {digits}/digits.pb --out merged",
    "evaluate": "evaluate {digits}/digits.pb --data {digits}/test.npz --labels {digits}/test.npz:y",
    "tune": "tune {digits}/digits.pb --data {digits}/calibration.npz --workers 2 --tolerance 100 --out tuned.cfg",
    "verify": "verify {result} --data {digits}/test.npz",
    "lower": "lower {result}/digits_quantized.pb --out lowered.pb",
    "golden": "golden {result} --data {digits}/test.npz --out golden",
    "convert": "convert --model {digits}/digits.pb --outputs x --save_path converted/net",
    "calibration": "calibration --model {digits}/digits.pb",
}
"""By name; made in an empty folder, in which ``result`` and ``state`` lie."""

SURROUNDINGS = {
    "as usual": "{run}",
    "no /dev/shm": "unshare -rm sh -c 'mount -t tmpfs -o ro none /dev/shm && {run}'",
    "no HOME, LANG=C": "env -u HOME LANG=C LC_ALL=C {run}",
    "ulimit -n 32": "ulimit -n 32; {run}",
    "ulimit -v 1000000": "ulimit -v 1000000; {run}",
    "ulimit -v 2000000": "ulimit -v 2000000; {run}",
    "stdin closed": "{run} <&-",
    "stdout closed": "{run} >&-",
    "stderr closed": "{run} 2>&-",
    "all three closed": "{run} <&- >&- 2>&-",
    "| head -1": "{run} | head -1",
    "stdout full": "{run} > /dev/full",
    "stderr full": "{run} 2> /dev/full",
    "no TMPDIR": "TMPDIR=/nonexistent {run}",
    "read-only here": "unshare -rm sh -c 'mount --bind . . && mount -o remount,ro,bind . && cd $PWD && {run}'",
    "all read-only": "unshare -rm sh -c 'mount -o remount,ro,bind / && mount -t tmpfs -o ro none /dev/shm && {run}'",
}


@dataclass(frozen=True)
class Row:
    """How one run ended."""

    command: str
    surrounding: str
    code: int
    seconds: float
    said: str
    wrong: str


def judged(code: int, said: str) -> str:
    """What is wrong with how a run ended, or nothing."""
    if "unshare:" in said or "mount:" in said:
        return "not possible here"
    if "Traceback" in said:
        return "traceback"
    if "defect of calibrant" in said:
        return "called a defect"
    if "Unpickling" in said or "resource_tracker" in said or "Exception ignored" in said:
        return "noise"
    return "" if code in (0, 1, 2, READER_GONE) else f"exit code {code}"


def run(command: str, surrounding: str, folder: Path, values: dict[str, Path]) -> Row:
    """Run one command in one surrounding."""
    line = f"{CALIBRANT} {COMMANDS[command].format(**values)}"
    begun = time.monotonic()
    try:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", SURROUNDINGS[surrounding].format(run=line)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        code, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        code, said = 124, f"still running after {SECONDS} s"
    lines = [found for found in said.splitlines() if re.match("error|Error", found)] or said.splitlines()[-1:]
    return Row(command, surrounding, code, time.monotonic() - begun, " ".join(lines)[:110], judged(code, said))


def prepared(folder: Path) -> dict[str, Path]:
    """What the commands read."""
    values = {"digits": DIGITS, "result": folder / "result", "state": folder / "observed.npz"}
    for arguments in (
        f"quantize {DIGITS}/digits.pb --data {DIGITS}/calibration.npz --export tflite,ascend --out {values['result']}",
        f"observe {DIGITS}/digits.pb --data {DIGITS}/calibration.npz --state {values['state']}",
    ):
        subprocess.run(f"{CALIBRANT} -q {arguments}", shell=True, check=True, env=os.environ)
    return values


def main() -> None:
    """Print the table; exit code 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every command in every surrounding, not the turn of each")
    parser.add_argument("--only", nargs="*", choices=SURROUNDINGS)
    chosen = parser.parse_args()
    names = list(COMMANDS)
    wrong = 0
    folder = Path(tempfile.mkdtemp())
    try:
        values = prepared(folder)
        for number, surrounding in enumerate(chosen.only or SURROUNDINGS):
            turn = [names[(2 * number + each) % len(names)] for each in (1, 2)]
            for command in names if chosen.full else dict.fromkeys(("quantize", *turn)):
                row = run(command, surrounding, folder, values)
                wrong += bool(row.wrong)
                print(
                    f"{row.surrounding:28} {row.command:12} {row.code:4} {row.seconds:6.1f} s  "
                    f"{row.wrong or 'ok':18} {row.said}",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder)
    print(f"{wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
