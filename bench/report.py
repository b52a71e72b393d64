"""Put what ``bench.json`` holds into the tables of ``BENCHMARKS.md``: python bench/report.py

Every table stands between ``<!-- NAME -->`` and ``<!-- end -->``; a table of what was not measured stays as it is. Run
``make bench`` and, for the peers, ``make bench-peers`` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from results import everything

PAGE = Path("BENCHMARKS.md")
NAMES = {"resnet50": "ResNet-50", "mobilenet_v2": "MobileNetV2"}
REAL = ("resnet8", "ds_cnn", "kwt1")
RATIO_GOALS = {"resnet50": 1.15, "mobilenet_v2": 1.5}
ADDED_GOAL_MB = 150
REST_GOALS = {"ResNet-50 .pb": 3.0, "ResNet-50 SavedModel": 3.0, "MatMul": 8.0}
WEIGHTS_GOALS = {"NUQ": 5.0}
START_GOAL = 0.3
MIN_MAX_GOAL = 1.2
OURS = "calibrant"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join("–" if cell is None else str(cell) for cell in line) + " |" for line in lines)


def verdict(value: float | None, goal: float) -> str:
    """Whether a goal, which is an upper limit, is met."""
    if value is None:
        return f"≤ {goal:g}: not measured"
    return f"≤ {goal:g}: {'met' if value <= goal else 'missed'}"


def ratios(found: dict[str, Any]) -> str:
    """Calibration beside plain inference."""
    columns = ("model", "batches × size", "plain s", "observed s", "IFMR s", "HFMG s", "IFMR ×", "HFMG ×", "goal")
    rows = []
    for name in (*NAMES, *REAL):
        row = found.get(name)
        if row is not None:
            worst = max(row["ifmr_ratio"], row["hfmg_ratio"])
            seconds = (
                f"{row[key]:.2f}" for key in ("plain_s", "observe_s", "ifmr_s", "hfmg_s", "ifmr_ratio", "hfmg_ratio")
            )
            goal = verdict(worst, RATIO_GOALS[name]) if name in RATIO_GOALS else None
            rows.append((NAMES.get(name, name), f"{row['batches']} × {row['batch_size']}", *seconds, goal))
    return table(columns, rows)


def memory(found: dict[str, Any]) -> str:
    """Peaks of whole runs, and what grows with the number of batches."""
    rows = []
    for row in found["scaling"]:
        plain, ifmr = row["plain_added_mb"], row["ifmr_added_mb"]
        if row["plot"] == "batches" and plain is not None:
            numbers = (f"{plain:.0f}", f"{ifmr:.0f}", f"{ifmr - plain:.0f}", verdict(ifmr - plain, ADDED_GOAL_MB))
            rows.append((f"ResNet-50, {row['at']} batches of 1", *numbers))
    return table(("", "plain, MB above start", "IFMR, MB above start", "difference", "goal"), rows)


def scaling(found: dict[str, Any]) -> str:
    """Every point of the plots."""
    columns = ("plot", "at", "plain s a batch", "IFMR s a batch", "plain MB", "IFMR MB")
    keys = ("plain_batch_s", "ifmr_batch_s", "plain_added_mb", "ifmr_added_mb")
    rows = [
        (
            row["plot"],
            f"{row['at']:,}",
            *(
                None if row[key] is None else f"{row[key]:.4f}" if key.endswith("_s") else f"{row[key]:.0f}"
                for key in keys
            ),
        )
        for row in found["scaling"]
    ]
    return table(columns, rows)


def steps(found: dict[str, Any]) -> str:
    """Seconds of every step."""
    quantize = found["steps"]["quantize"]
    names = list(next(iter(quantize.values())))
    rows = []
    for model, row in quantize.items():
        goals = [verdict(row["rest"], goal) for name, goal in REST_GOALS.items() if name == model.partition(",")[0]]
        goals += [f"weights {verdict(row['weights'], goal)}" for word, goal in WEIGHTS_GOALS.items() if word in model]
        rows.append((model, *(f"{row[name]:.2f}" for name in names), "; ".join(goals) or None))
    return table(("model", *names, "goal"), rows)


def starts(found: dict[str, Any]) -> str:
    """Seconds of starting the command line."""
    rows = [
        (f"`calibrant {name}`", f"{seconds:.2f}", verdict(seconds, START_GOAL))
        for name, seconds in found["steps"]["start"].items()
    ]
    return table(("command", "seconds", "goal"), rows)


def peers(found: dict[str, Any]) -> str:
    """A table for every model, and how calibrant stands."""
    parts = []
    for model, rows in found["peers"].items():
        columns = ("tool", "ranges", "quantize s", "of it calibrate s", "peak MB", "before MB", "runs")
        keys = ("quantize_s", "calibrate_s", "peak_mb", "before_mb", "runs")
        lines = []
        for name, row in sorted(rows.items(), key=lambda item: item[1].get("quantize_s", float("inf"))):
            numbers = [number(key, row.get(key)) for key in keys]
            lines.append(
                (f"**{name}**" if name.startswith(OURS) else name, row["kind"], *numbers, row.get("failed", ""))
            )
        parts.append(f"{NAMES.get(model, model)}:\n\n{table((*columns, ''), lines)}\n\n{standing(rows)}")
    return "\n\n".join(parts)


def number(key: str, value: float | None) -> str | None:
    """A cell."""
    return None if value is None else f"{value:.2f}" if key.endswith("_s") else f"{value:.0f}"


def standing(rows: dict[str, Any]) -> str:
    """calibrant's slower algorithm beside the fastest peers of each kind."""
    done = {name: row for name, row in rows.items() if "failed" not in row}
    ours = max(row["quantize_s"] for name, row in done.items() if name.startswith(OURS))
    lines = []
    for kind, goal in (("search", 1.0), ("min-max", MIN_MAX_GOAL)):
        times = {
            name: row["quantize_s"] for name, row in done.items() if row["kind"] == kind and not name.startswith(OURS)
        }
        if times:
            fastest = min(times, key=times.__getitem__)
            ratio = ours / times[fastest]
            lines.append(f"- {ratio:.2f} times {fastest}, the fastest with {kind}; {verdict(ratio, goal)}")
    return "\n".join(lines)


def profile(found: dict[str, Any]) -> str:
    """Processor seconds by what was going on."""
    rows = [
        (kind, f"{spent['plain']:.2f}", f"{spent['calibration']:.2f}", f"{spent['calibration'] - spent['plain']:+.2f}")
        for kind, spent in found["profile"].items()
    ]
    whole = [sum(spent[name] for spent in found["profile"].values()) for name in ("plain", "calibration")]
    rows.append(("**all**", *(f"{each:.2f}" for each in whole), f"{whole[1] - whole[0]:+.2f}"))
    return table(("what", "plain inference", "calibration", "more"), rows)


TABLES = {
    "ratios": ((*NAMES,), ratios),
    "memory": (("scaling",), memory),
    "scaling": (("scaling",), scaling),
    "steps": (("steps",), steps),
    "starts": (("steps",), starts),
    "peers": (("peers",), peers),
    "profile": (("profile",), profile),
}


def main() -> None:
    """Rewrite the page."""
    found, page = everything(), PAGE.read_text()
    for name, (needed, content) in TABLES.items():
        if any(key not in found for key in needed):
            print(f"{name}: not measured, left as it is")
            continue
        measured = f"Measured on {found['measured'][needed[0]]}.\n\n{content(found)}"
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = pattern.subn(lambda match, text=measured: f"{match[1]}{text}\n{match[2]}", page)
        if count != 1:
            raise SystemExit(f"{PAGE}: needs one <!-- {name} --> … <!-- end -->, has {count}")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
