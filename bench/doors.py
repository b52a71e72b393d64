"""What quantizing each small case and each real model gives, by command; with another checkout, before and after.

    python bench/doors.py CASES WILD --work FOLDER [--against CHECKOUT] [--only NAME ...] [--timeout 240]

CASES is a folder of scripts that build models, WILD one of models. ``case_models.py`` collects what a script builds,
``door.py`` judges one model after the other in a process, with the code of this checkout and, with ``--against``, with
that of another one. Rows are kept in FOLDER as JSON lines, so an interrupted run goes on where it was; the table is
printed as Markdown. A model that ends the process or takes longer than ``--timeout`` is a row, too. Switches for
training, cuts and trust are taken as the messages propose them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
MODELS = (".pb", ".h5", ".hdf5", ".keras")
SHOWN = 150  # characters of a message
Row = dict[str, Any]


def collect(script: Path, work: Path, timeout: int) -> list[Row]:
    """The models of a script, and how it ended."""
    folder = work / "models" / script.stem
    if not (folder / "models.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work) as place:
            command = [sys.executable, str(HERE / "bench" / "case_models.py"), str(script), str(folder)]
            for _ in lines(command, HERE, timeout, place):
                pass
    *rows, end = json.loads((folder / "models.json").read_text()) if (folder / "models.json").exists() else [{}]
    if end.get("ended") != "ended":
        print(f"{script.stem}: {len(rows)} models, then {end.get('ended', 'nothing')}", file=sys.stderr)
    return [{**row, "name": f"{script.stem} {row['name']}"} for row in rows]


def wild(folder: Path) -> list[Row]:
    """The real models."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in MODELS]
    whole = [path.parent if path.name == "saved_model.pb" else path for path in paths]
    return [{"name": str(path.relative_to(folder)), "path": str(path)} for path in whole]


def judge(models: list[Row], kept: Path, checkout: Path, timeout: int) -> dict[str, Row]:
    """The row of each model, from the file or by running."""
    rows = {row["name"]: row for row in map(json.loads, kept.read_text().splitlines())} if kept.exists() else {}
    while missing := [model for model in models if model["name"] not in rows]:
        before = len(rows)
        with tempfile.TemporaryDirectory() as place, kept.open("a") as file:
            (Path(place) / "models.json").write_text(json.dumps(missing))
            command = [sys.executable, str(HERE / "bench" / "door.py"), "models.json"]
            started, last = missing[0]["name"], "the process ended"
            for line in lines(command, checkout, timeout, place):
                if line.startswith("START "):
                    started = line.removeprefix("START ").strip()
                elif line.startswith("ROW "):
                    row = json.loads(line.removeprefix("ROW "))
                    rows[row["name"]] = row
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                elif line.startswith("ENDED "):
                    last = line.strip()
            if started not in rows:
                rows[started] = {"name": started, "read": "no", "stopped": last}
                file.write(json.dumps(rows[started]) + "\n")
        if len(rows) == before:
            raise RuntimeError(f"no row for {missing[0]['name']}")
    return {model["name"]: rows[model["name"]] for model in models}


def lines(command: list[str], checkout: Path, timeout: int, folder: str) -> Any:
    """The lines that a process prints; it is killed where the next one does not come in time."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CASES_WORK": folder,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",  # without it, TensorFlow has no convolution with channels first
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **streams)
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout, kill)
    timer.start()
    for line in process.stdout:
        if line.startswith(("START ", "ROW ")):
            timer.cancel()
            timer = threading.Timer(timeout, kill)
            timer.start()
        yield line
    timer.cancel()
    code = process.wait()
    yield f"ENDED {f'after {timeout} s' if killed.is_set() else f'with {code}'}"


def cells(row: Row) -> list[str]:
    """The columns of a row."""
    if row["read"] == "no":
        return [f"no: {_short(row['stopped'])}", "", "", "", ""]
    gone = row.get("stock outputs", 0) - row["outputs"]
    lost = f", {gone} outputs lost" if gone > 0 else ""
    missing = f", {len(row['unlisted'])} unlisted" if row.get("unlisted") else ""
    stopped = f", stopped: {_short(row['stopped'])}" if "stopped" in row else ""
    apart = row.get("difference", row.get("fold"))
    difference = "–" if apart is None else f"{apart:.0e}" + ("" if "difference" in row else " †")
    passed = {0: "yes", 2: "no"}
    results = [passed.get(row.get(name), str(row.get(name, "–"))) for name in ("ascend", "verify")]
    if row.get("layers") == 0 and row.get("ascend") == 2:
        results = ["no layer", "–"]
    layers = f"{row['layers']} / {row['float']}{missing}" if "layers" in row else ""
    return [_short(row["read"]) + lost + stopped, layers, difference, *results]


def _short(text: str) -> str:
    text = text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"


def both(before: list[str], after: list[str]) -> list[str]:
    """The columns of two rows of a model: what differs, with an arrow."""
    return [new if old == new else f"{old or '–'} → {new or '–'}" for old, new in zip(before, after, strict=True)]


def counts(rows: dict[str, Row]) -> str:
    """One line about all rows."""
    is_read = [row for row in rows.values() if row["read"] != "no"]
    close = [row for row in is_read if row.get("difference", row.get("fold", 1)) <= 1e-4]
    both = [row for row in is_read if row.get("ascend") == row.get("verify") == 0]
    lost = sum(max(0, row.get("stock outputs", 0) - row["outputs"]) for row in is_read)
    missing = sum(len(row.get("unlisted", ())) for row in is_read)
    return (
        f"{len(rows)} models, {len(is_read)} read, {len(close)} within 1e-4, {len(both)} quantized and verified; "
        f"{lost} outputs lost, {missing} products unlisted"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("wild", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    parser.add_argument("--against", type=Path, help="another checkout of calibrant")
    parser.add_argument("--only", nargs="+", default=[""], help="scripts and models whose names begin so")
    parser.add_argument("--timeout", type=int, default=240, help="seconds a model")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    only = tuple(chosen.only)
    scripts = [path for path in sorted(chosen.cases.resolve().glob("*.py")) if path.stem != "common"]
    models = [
        row for path in scripts if path.name.startswith(only) for row in collect(path, work, max(900, chosen.timeout))
    ]
    models += [row for row in wild(chosen.wild.resolve()) if row["name"].startswith(only)]
    sides = {"after": HERE} if chosen.against is None else {"before": chosen.against.resolve(), "after": HERE}
    found = {name: judge(models, work / f"{name}.jsonl", path, chosen.timeout) for name, path in sides.items()}
    for name, rows in found.items():
        print(f"{name}: {counts(rows)}\n")
    print("| model | read | layers / in float | difference | ascend | verify |\n|---|---|---|---|---|---|")
    for model in models:
        columns = [cells(rows[model["name"]]) for rows in found.values()]
        print(
            "| "
            + " | ".join([model["name"].replace("_", "\\_"), *(both(*columns) if len(columns) == 2 else columns[0])])
            + " |"
        )


if __name__ == "__main__":
    main()
