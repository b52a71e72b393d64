"""What quantizing each small case and each real model gives, by command; with another checkout, before and after.

    python bench/doors.py CASES WILD [--checkout FOLDER] [--only NAME ...] [--timeout 240]

CASES is a folder of scripts that build models and run ``calibrant`` on them, WILD one of models. Every script is a
process of its own, in a folder of its own, with the code of ``--checkout`` (of this one by default). A line for each
script has its commands by exit code, a line for each model: read or the reason, outputs, layers, the largest difference
of the folded graph (relative, to values of at least 1), and the exit codes of ``quantize --export ascend`` and
``verify``. Models with a switch for training are read with the value that the message proposes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
MODELS = (".pb", ".h5", ".hdf5", ".keras")
ONE = Path(__file__).with_name("door.py")


def commands(script: Path, checkout: Path, timeout: int) -> str:
    """The exit codes of the commands of a case, counted."""
    with tempfile.TemporaryDirectory() as folder:
        code, text = _run([sys.executable, str(script)], checkout, timeout, folder)
    codes = Counter(f"exit {code}" for code in re.findall(r"^  rc=(\S+)", text, re.M))
    own = Counter(word for word in re.findall(r"\b(FAILS?|Traceback|TRACEBACK)\b", text))
    counted = ", ".join(f"{name} × {count}" for name, count in sorted((codes + own).items()))
    return f"script {code}: {counted or _last_line(text)}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing printed"])[-1][:100]


def model(path: Path, checkout: Path, timeout: int) -> str:
    """The row of a model."""
    with tempfile.TemporaryDirectory() as folder:
        code, text = _run([sys.executable, str(ONE), str(path)], checkout, timeout, folder)
    rows = [line.removeprefix("ROW ") for line in text.splitlines() if line.startswith("ROW ")]
    return ", ".join(f"{key} {value}" for key, value in json.loads(rows[-1]).items()) if rows else f"ended with {code}"


def _run(command: list[str], checkout: Path, timeout: int, folder: str) -> tuple[int | str, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CASES_WORK": folder,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",  # without it, TensorFlow has no convolution with channels first
    }
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=timeout)
        return process.returncode, text
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        return "timeout", text


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("wild", type=Path)
    parser.add_argument("--checkout", type=Path, default=HERE)
    parser.add_argument("--only", nargs="+", default=[""], help="names that begin so")
    parser.add_argument("--timeout", type=int, default=240, help="seconds a process")
    chosen = parser.parse_args()
    rows = [(path, commands) for path in sorted(chosen.cases.resolve().glob("*.py")) if path.stem != "common"]
    for path in sorted(chosen.wild.resolve().iterdir()):
        if path.suffix in MODELS:
            rows.append((path, model))
        rows += [(folder.parent, model) for folder in path.rglob("saved_model.pb")] if path.is_dir() else []
    for path, run in rows:
        if any(path.name.startswith(prefix) for prefix in chosen.only):
            print(f"{path.name:<28} {run(path, chosen.checkout.resolve(), chosen.timeout)}", flush=True)


if __name__ == "__main__":
    main()
