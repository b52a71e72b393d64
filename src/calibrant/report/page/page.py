"""The page: what a report says, as text and tables that need no script, and the pictures that a script draws."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from calibrant.report.damage import WORST, damage_by_layer, input_key
from calibrant.report.integer_share import (
    counted_with,
    is_otherwise,
    not_counted,
    part_of_counted,
    percent,
    weight_shares,
)
from calibrant.report.option_words import option_words
from calibrant.report.page.drawing import drawing
from calibrant.report.picture import Picture

MOST_MOVES = 10


def page(name: str, report: Mapping[str, Any], drawn: Picture | None, sizes: Mapping[str, int]) -> str:
    """One HTML file.

    Parameters
    ----------
    name : str
        What the model is called.
    report : Mapping[str, Any]
        What ``report.json`` holds; the page shows these numbers and no others.
    drawn : Picture | None
        The network; None leaves the picture out.
    sizes : Mapping[str, int]
        File name → bytes, the original model first.
    """
    damage = damage_by_layer(report)
    sections = [
        _head(name, report, sizes, damage),
        section("What to try", "try", _findings(report["findings"])),
        section("The network", "network", _network(drawn, report, damage)),
        section("Layers", "layers", _layer_table(report, damage)),
        section("How the error grows", "growth", _growth(report)),
        section("Are the data enough?", "data", _data_check(report)),
        section("Left in float", "float", _left_in_float(report)),
        section("Fusions", "fusions", _fusions(report)),
        section("Shared ranges and non-uniform weights", "shared", _shared(report)),
        section("How this was made", "made", _provenance(report)),
    ]
    return shell(f"{name} – quantization report", "".join(sections), report)


def shell(title: str, content: str, data: Mapping[str, Any] | None = None) -> str:
    """A whole HTML file around the content of a page.

    Parameters
    ----------
    title : str
        As text.
    content : str
        HTML.
    data : Mapping[str, Any] | None
        A report whose pictures the script draws; None for tables alone.
    """
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    drawing_library = f"<script>{_asset('uPlot.iife.min.js')}</script>\n" if data is not None else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{_text(title)}</title>\n"
        f"<style>{_asset('uPlot.min.css')}\n{_asset('page.css')}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#layers">Skip to the layers</a>\n'
        f"<main>\n{content}</main>\n"
        '<dialog id="details" aria-labelledby="details-title"></dialog>\n'
        f'<script type="application/json" id="report">{text}</script>\n'
        f"{drawing_library}<script>{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


def _head(name: str, report: Mapping[str, Any], sizes: Mapping[str, int], damage: Mapping[str, float]) -> str:
    totals, run = report["totals"], report.get("run", {})
    seconds = sum(run.get("seconds", {}).values())
    on_integers, stored = weight_shares(totals)
    wide = part_of_counted(totals, totals["wide_multiply_accumulates"])
    products = part_of_counted(totals, totals["quantized_multiply_accumulates"])
    whole = f" of {totals['multiply_accumulates']:,}" if totals["products_not_counted"] else ""
    facts = [
        ("Layers on INT8", f"{totals['quantized_layers']}"),
        ("Left in float", f"{totals['layers_left_in_float']}"),
        ("Weights on INT8", on_integers),
        *((("Weights stored as INT8, multiplied in float", stored),) if totals["weight_only_weights"] else ()),
        ("Multiply-accumulates", f"{products}{whole}{not_counted(totals)}{counted_with(totals)}"),
        *((("With 16-bit activations", wide),) if totals["wide_layers"] else ()),
        *_in_lite_file(report),
        *((f"Output {key}", _decibels(value)) for key, value in (run.get("output_sqnr_db") or {}).items()),
        *((f"Output {key}, .tflite", _decibels(value)) for key, value in run.get("tflite_sqnr_db", {}).items()),
        ("Calibration samples", f"{run['samples']:,}" if run.get("samples") else "–"),
        ("Time", f"{seconds:.1f} s" if seconds else "–"),
        ("Peak memory", _bytes(run["peak_memory_bytes"]) if "peak_memory_bytes" in run else "–"),
        *((label, _bytes(size)) for label, size in sizes.items()),
    ]
    worst = sorted(damage, key=lambda layer: damage[layer])[:3]
    basis = "measured at the outputs" if report.get("sensitivity") else "by their own rounding"
    listed = "".join(f"<li>{_link(layer)} {_decibels(damage[layer])}</li>" for layer in worst)
    return (
        f"<header><h1>{_text(name)}</h1><p class=verdict>{_text(report['verdict'])}</p>\n<dl class=facts>"
        + "".join(f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in facts)
        + f"</dl>\n<p class=worst>Worst layers ({basis}):</p><ol class=worst>{listed}</ol></header>\n"
    )


def _in_lite_file(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The shares in a LiteRT file that has not the same layers on integers."""
    notes = report.get("exports", {}).get("tflite", {})
    share = notes.get("on_integers")
    if share is None or not is_otherwise(share):
        return []
    share = {**share, "products_not_counted": report["totals"]["products_not_counted"]}
    return [
        ("Weights in the .tflite", percent(share["quantized_weights"], share["weights"])),
        ("Multiply-accumulates in the .tflite", part_of_counted(share, share["quantized_multiply_accumulates"])),
    ]


def _findings(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "<p>Nothing stands out: no tensor loses much, and no setting was found to gain anything.</p>"
    items = []
    for entry in found:
        layer = entry["layer"]
        name = (
            f'<button type="button" class="link" data-layer="{_text(layer)}">{_text(layer)}</button>' if layer else ""
        )
        gain = f" <strong>+{entry['gain_db']:.1f} dB</strong> on this tensor." if entry["gain_db"] else ""
        block = ""
        if entry["block"]:
            replaced = entry["replaces"]
            where = f"<p>In the configuration, in the place of {_text(replaced)}:</p>" if replaced else ""
            block = (
                f'{where}<div class=block><pre tabindex="0">{_text(entry["block"])}</pre>'
                '<button type="button" class="copy">Copy</button></div>'
            )
        items.append(f"<li>{name}<p>{_text(entry['what'])} {_text(entry['advice'])}{gain}</p>{block}</li>")
    return f"<ol class=findings>{''.join(items)}</ol>"


def _network(drawn: Picture | None, report: Mapping[str, Any], damage: Mapping[str, float]) -> str:
    if drawn is None:
        return ""
    reasons = {row["layer"]: row["reason"] for row in report["left_in_float"]}
    quantized = {row["layer"] for row in report["layers"]}
    legend = "".join(
        f'<span class="key {kind}">{label}</span>'
        for kind, label in (
            ("d4", "45 dB and more"),
            ("d3", "35 – 45"),
            ("d2", "25 – 35"),
            ("d1", "15 – 25"),
            ("d0", "below 15"),
            ("float", "float"),
        )
    )
    buttons = "".join(
        f'<button type="button" data-zoom="{value}" aria-label="{label}">{text}</button>'
        for value, label, text in (("in", "Zoom in", "+"), ("out", "Zoom out", "−"), ("all", "Show all", "All"))
    )
    return f"<p class=legend>{legend}</p><div class=zoom>{buttons}</div>{drawing(drawn, damage, quantized, reasons)}"


def _layer_table(report: Mapping[str, Any], damage: Mapping[str, float]) -> str:
    own = {f"{row['layer']}:{row['index']}": row for row in report["error_growth"]["inputs"]}
    rows = []
    for row in report["layers"]:
        for entry in row["inputs"]:
            weights = row.get("weights", {})
            growth = own.get(input_key(row, entry))
            rows.append(
                [
                    (_link(row["layer"]), row["layer"]),
                    (_text(row["type"]), row["type"]),
                    number(damage.get(row["layer"]), ".1f"),
                    number(entry["signal_to_noise_db"], ".1f"),
                    number(growth and growth["arriving_db"], ".1f"),
                    number(weights.get("signal_to_noise_db"), ".1f"),
                    number(entry["scale"], ".4g"),
                    number(entry["offset"], "d"),
                    (f"{entry['low']:.4g} … {entry['high']:.4g}", f"{entry['high'] - entry['low']:.9g}"),
                    number(weights.get("bits"), "d"),
                    number(weights.get("scales"), "d"),
                ]
            )
    columns = (
        "Layer",
        "Type",
        WORST,
        "Input dB",
        "Arriving dB",
        "Weights dB",
        "Scale",
        "Offset",
        "Range",
        "Bits",
        "Scales",
    )
    return (
        '<p><label>Filter <input type="search" id="filter" autocomplete="off"></label> '
        '<span id="count" role="status"></span></p>' + table(columns, rows, "layer-table")
    )


def _growth(report: Mapping[str, Any]) -> str:
    growth = report["error_growth"]
    if not growth["inputs"]:
        return "<p>Not measured: the data could be read only once.</p>"
    ranking = ""
    if report.get("sensitivity"):
        rows = [
            [
                (_text(row["layer"]), row["layer"]),
                number(row["only_signal_to_noise_db"], ".1f"),
                number(row["without_signal_to_noise_db"], ".1f"),
            ]
            for row in report["sensitivity"]
        ]
        ranking = "<h3>Sensitivity</h3>" + table(("Layer", "Only this: dB", "All but this: dB"), rows)
    samples = growth["samples"]
    return (
        f"<p>Signal-to-noise ratio of each layer's input in the quantized network against the float network, in order, "
        f"on {samples} {'sample' if samples == 1 else 'samples'}; and of the rounding in this place alone.</p>"
        f'<div id="growth-plot" class="plot" role="img" aria-label="Signal-to-noise ratio by depth; '
        f'the numbers are in the table of layers"></div>'
        f"<noscript><p>The plot needs JavaScript; its numbers are in the table of layers.</p></noscript>{ranking}"
    )


def _data_check(report: Mapping[str, Any]) -> str:
    check = report["data_check"]
    if check is None:
        needed = "two batches, one worker, a run that is not resumed and data of a known number"
        return f"<p>Not measured: that takes {needed}.</p>"
    rows = [
        [(_link(row["layer"]), row["layer"]), number(100 * row["moved"], ".1f"), number(row["loss_db"], ".2f")]
        for row in check["rows"][:MOST_MOVES]
    ]
    return f"<p>{_text(check['sentence'])}</p>" + table(("Layer", "Range moves, %", "Loss, dB"), rows)


def _left_in_float(report: Mapping[str, Any]) -> str:
    rows = [[cell(entry[key]) for key in ("layer", "type", "reason")] for entry in report["left_in_float"]]
    text = table(("Layer", "Type", "Reason"), rows) if rows else "<p>Nothing.</p>"
    stored = [
        [cell(row["layer"]), cell(row["type"]), number(row["weights"]["signal_to_noise_db"], ".1f")]
        for row in report["weight_only"]
    ]
    text += f"<h3>Only the weights on INT8</h3>{table(('Layer', 'Type', 'dB'), stored)}" if stored else ""
    in_file = [
        [cell(layer), cell(entry["operator"]), cell(entry["reason"])]
        for entry in report.get("exports", {}).get("tflite", {}).get("operators_in_float", ())
        for layer in entry.get("layers", ())
    ]
    return text + (f"<h3>In the .tflite</h3>{table(('Layer', 'Operator', 'Reason'), in_file)}" if in_file else "")


def _fusions(report: Mapping[str, Any]) -> str:
    done = [[cell(e["layer"]), cell(e["kind"]), cell(", ".join(e["absorbed"]))] for e in report["fusions"]]
    left = [[cell(e["node"]), cell(e["reason"])] for e in report["not_fused"]]
    if not done and not left:
        return "<p>There was nothing to fold.</p>"
    text = table(("Layer", "What", "Absorbed"), done) if done else ""
    return text + (f"<h3>Not folded</h3>{table(('Node', 'Reason'), left)}" if left else "")


def _shared(report: Mapping[str, Any]) -> str:
    groups = [
        [
            cell(row["group"]),
            number(row["scale"], ".4g"),
            number(row["offset"], "d"),
            cell(", ".join(row["members"])),
        ]
        for row in report["joint_groups"]
    ]
    nuq = [
        [cell(row["layer"]), cell(row["reason"]), cell(" ".join(map(str, row["levels"])))]
        for row in report["nonuniform_weights"]["layers"]
    ]
    balanced = [
        [cell(row["layer"]), number(row["balance"]["smallest"], ".4g"), number(row["balance"]["largest"], ".4g")]
        for row in report["layers"]
        if "balance" in row
    ]
    parts = (
        ("Joint groups", ("Group", "Scale", "Offset", "Members"), groups),
        ("Non-uniform weights", ("Layer", "Why", "Levels"), nuq),
        ("Balancing factors", ("Layer", "Smallest", "Largest"), balanced),
    )
    return "".join(f"<h3>{title}</h3>{table(columns, rows)}" for title, columns, rows in parts if rows)


def _provenance(report: Mapping[str, Any]) -> str:
    run = report.get("run")
    if not run:
        return ""
    steps = ", ".join(f"{step} {value:.2f} s" for step, value in run["seconds"].items())
    rows = [
        ("Version", run["version"]),
        ("Command", " ".join(run["command"])),
        ("Model SHA-256", run["model_sha256"]),
        ("Configuration SHA-256", run["configuration_sha256"]),
        ("Data", run["data_fingerprint"]),
        ("Options", run["options"] and (option_words(run["options"]) or "the defaults")),
        *((("Refining left out", run["refine_left_out"]),) if "refine_left_out" in run else ()),
        ("Steps", steps),
    ]
    return table(("", ""), [[cell(label), cell(value or "–")] for label, value in rows], headless=True)


def section(title: str, name: str, content: str) -> str:
    """A part of a page under a heading; nothing where there is no content."""
    if not content:
        return ""
    head = f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>'
    return f"{head}{content}</section>\n"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[tuple[str, Any]]], name: str = "", headless: bool = False
) -> str:
    """A table that scrolls by itself; each cell is its HTML and the value it is sorted by."""
    head = "".join(f'<th scope="col" aria-sort="none"><button type="button">{_text(c)}</button></th>' for c in columns)
    lines = []
    for row in rows:
        cells = []
        for place, (shown, value) in enumerate(row):
            tag = 'th scope="row"' if place == 0 else "td"
            number = ' class="number"' if isinstance(value, (int, float)) or shown == "–" else ""
            cells.append(f'<{tag}{number} data-value="{_text(value)}">{shown}</{tag.split()[0]}>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    top = "" if headless else f"<thead><tr>{head}</tr></thead>"
    mark = f' id="{name}"' if name else ""
    label = f"{name or 'table'}"
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{_text(label)}">'
        f"<table{mark}>{top}<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _link(layer: str) -> str:
    return f'<button type="button" class="link" data-layer="{_text(layer)}">{_text(layer)}</button>'


def cell(value: Any) -> tuple[str, Any]:
    """A cell with text."""
    return _text(value), value


def number(value: float | None, form: str) -> tuple[str, Any]:
    """A cell with a number in a format; a dash where there is none."""
    return ("–", "") if value is None else (format(value, form), value)


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f} dB"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


@cache
def _asset(name: str) -> str:
    return (files("calibrant.report.page") / "assets" / name).read_text(encoding="utf-8")
