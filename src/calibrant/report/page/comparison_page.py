"""The page of ``calibrant compare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibrant.report.damage import WORST
from calibrant.report.page.page import cell, number, section, shell, table


def comparison_page(first: str, second: str, found: Mapping[str, Any]) -> str:
    """One HTML file.

    Parameters
    ----------
    first, second : str
        What the two results are called.
    found : Mapping[str, Any]
        Their differences, as of :func:`calibrant.report.comparison.compare_runs`.
    """
    totals = [[cell(row["what"]), _value(row["first"]), _value(row["second"])] for row in found["totals"]]
    outputs = [
        [cell(row["what"]), number(row["first"], ".1f"), number(row["second"], ".1f")] for row in found["outputs"]
    ]
    settings = [[cell(row["setting"]), _value(row["first"]), _value(row["second"])] for row in found["configuration"]]
    layers = [
        [
            cell(row["layer"]),
            number(row["input"], "d"),
            number(row["first_db"], ".1f"),
            number(row["second_db"], ".1f"),
            number(_change(row), "+.1f"),
            number(row["first_scale"], ".4g"),
            number(row["second_scale"], ".4g"),
            number(row["first_offset"], "d"),
            number(row["second_offset"], "d"),
            cell(", ".join(row["changed"])),
        ]
        for row in found["layers"]
    ]
    pairs = ("first", "second")
    columns = (
        *("Layer", "Input", *(f"{WORST}, {run}" for run in pairs), "Change, dB"),
        *(f"{what}, {run}" for what in ("Scale", "Offset") for run in pairs),
        "What changed",
    )
    runs = [[cell(row["what"]), _value(row["first"]), _value(row["second"])] for row in found["runs"]]
    alone = [[cell(name), cell("first only")] for name in found["only_first"]]
    alone += [[cell(name), cell("second only")] for name in found["only_second"]]
    parts = [
        "<header><h1>Two results side by side</h1></header>",
        table(("", "Folder"), [[cell("First"), cell(first)], [cell("Second"), cell(second)]], headless=True),
        f"<p class=verdict>{'Both are the same quantized model.' if found['same'] else 'The results differ.'}</p>",
        section("How they were made", "runs", _or_same(("", "First", "Second"), runs)),
        section("Totals", "totals", table(("", "First", "Second"), totals)),
        section("Outputs, dB", "outputs", table(("Output", "First", "Second"), outputs) if outputs else ""),
        section("Configuration", "settings", _or_same(("Setting", "First", "Second"), settings)),
        section("Layers", "layers", _or_same(columns, layers)),
        section("Quantized in one of them", "alone", table(("Layer", "Where"), alone) if alone else ""),
    ]
    return shell(f"{first} and {second}", "".join(parts))


def _or_same(columns: tuple[str, ...], rows: list[list[tuple[str, Any]]]) -> str:
    return table(columns, rows) if rows else "<p>No difference.</p>"


def _change(row: Mapping[str, Any]) -> float | None:
    known = row["first_db"] is not None and row["second_db"] is not None
    return row["second_db"] - row["first_db"] if known else None


def _value(value: Any) -> tuple[str, Any]:
    return cell("–" if value is None else value)
