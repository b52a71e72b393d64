"""What a command that has quantized a model says at its end: warnings, tables, what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.cli.json_output import print_json
from calibrant.cli.next_step import data_words, model_words, other_data_words, place, say_next, word
from calibrant.file_endings import TFLITE

NOT_EVERYTHING = 3
"""Exit code where a format that was asked for could not be written, and all others are."""

MOST_LAYERS = 4
"""Names of layers for one reason; all are in the report."""


page_option = click.option(
    "--page/--no-page", default=True, help="Write report.html, the report as a page (on by default)."
)


def show_result(result: Any, model: str, out: str, as_json: bool) -> int:
    """Say what became of a model, on a terminal or as JSON; the exit code."""
    if as_json:
        print_json({**result.report, "files": [str(path) for path in result.files]})
    elif not click.get_current_context().obj["quiet"]:
        for warning in result.report["warnings"]:
            click.echo(f"warning: {warning}", err=True)
        show_tables(result, out)
        say_next("; ".join((*_judging(model, out, result), _tuning(model, result))))
    return _show_refused(result)


def _judging(model: str, out: str, result: Any) -> list[str]:
    """Commands that say how accurate the files are.

    With bound placeholders or a signature, verify, to which these say how to read the float model and nothing else.
    """
    labelled = f"--data DATA{other_data_words()} --labels LABELS"
    options = click.get_current_context().params
    if options["constants"] or options["signature"]:
        return [f"calibrant verify {place(out)} --model {place(model)}{model_words()} {labelled}"]
    judging = [f"calibrant evaluate {place(model)} {place(result.files[0])}{model_words()} {labelled}"]
    if f"{result.name}{TFLITE}" in result.exported:
        judging.append(f"of the .tflite: calibrant verify {place(out)} {labelled}")
    return judging


def _tuning(model: str, result: Any) -> str:
    """The search for better settings, which judges the same kind of model as this run made."""
    given = click.get_current_context().params
    start = "" if given["config"] is None else f" --config {place(given['config'])}"
    data = word(given["data"]) if given.get("data") else "DATA"
    how = " --refine" if result.options.get("refine") else ""
    samples = "" if given.get("samples") is None else f" --samples {given['samples']}"
    read = f"{model_words()}{start} --data {data}{data_words()}{samples}"
    return f"where accuracy was lost: calibrant tune {place(model)}{read}{how} --labels LABELS --out TUNED"


def _show_refused(result: Any) -> int:
    """Say which formats are not there; the exit code."""
    for form in result.refused:
        click.echo(f"error: there is no {form} file; everything else is written", err=True)
    return NOT_EVERYTHING if result.refused else 0


def show_tables(result: Any, out: str) -> None:
    """Tables of the layers, what stayed in float, totals and times; last which share of the network is on integers."""
    from calibrant.cli.show import decibels, line, listed, table
    from calibrant.report.integer_share import file_share_line, share_line
    from calibrant.report.output_sqnr import file_hint, file_sqnr_line, refine_hint, sqnr_line

    report = result.report
    rows = []
    for row in report["layers"]:
        weights = row.get("weights", {})
        for entry in row["inputs"]:
            rows.append(
                (
                    row["layer"],
                    decibels(entry["signal_to_noise_db"]),
                    decibels(weights.get("signal_to_noise_db")),
                    entry["scale"],
                    entry["offset"],
                    row["type"],
                    f"{entry['low']:.4g} .. {entry['high']:.4g}",
                    weights.get("bits"),
                    weights.get("scales"),
                )
            )
    columns = ("layer", "SQNR dB", "weights dB", "scale", "offset", "type", "range", "bits", "scales")
    table("quantized layers", columns, rows)
    _show_weight_only(report["weight_only"])
    if report["left_in_float"]:
        click.echo()
        left = [(entry["layer"], entry["type"], entry["reason"]) for entry in report["left_in_float"]]
        table("left in float", ("layer", "type", "reason"), left)
    _show_lite_file(report.get("exports", {}).get("tflite", {}))
    if "sensitivity" in report:
        _show_sensitivity(report["sensitivity"])
    totals = report["totals"]
    only = f", weights only of {totals['weight_only_layers']} layers" if totals["weight_only_layers"] else ""
    click.echo(
        f"\n{totals['quantized_layers']} layers and {totals['quantized_tensors']} tensors quantized{only}, "
        f"{totals['layers_left_in_float']} left in float, {totals['fusions']} fusions, {totals['batches']} batches"
    )
    listed("time", (f"{step} {seconds:.2f} s" for step, seconds in result.seconds.items()))
    listed(f"written to {out}", (path.name for path in result.files))
    click.echo(share_line(totals))
    in_file = file_share_line(report.get("exports", {}).get("tflite", {}), totals["products_not_counted"])
    if in_file is not None:
        click.echo(in_file)
    if result.output_sqnr is not None:
        click.echo(sqnr_line(result.output_sqnr))
        if result.file_sqnr is not None:
            click.echo(file_sqnr_line(result.file_sqnr, f"{result.name}{TFLITE}"))
            if hint := file_hint(result.file_sqnr, result.output_sqnr, result.tflite.ops):
                click.echo(hint)
        hint = refine_hint(result.output_sqnr)
        if hint and _is_left_unrefined(result):
            click.echo(hint)
    check = report.get("data_check")
    found = report.get("findings", [])
    if check is not None and not check["enough"] and check["sentence"] not in [entry["what"] for entry in found[:1]]:
        click.echo(check["sentence"])
    if found:
        line(_findings_line(found, out))


def _findings_line(found: list[dict[str, Any]], out: str) -> str:
    """How many findings there are and where, and the worst of them."""
    worst = found[0]
    where = f"{worst['layer']!r}: " if worst["layer"] else ""
    count = "1 finding" if len(found) == 1 else f"{len(found)} findings, the worst"
    return f"{count}: {where}{worst['what']} {worst['advice']} More in {Path(out) / 'report.html'}"


def _is_left_unrefined(result: Any) -> bool:
    """Whether ranges were not refined that ``--refine`` refines."""
    from calibrant.config.plan import is_default

    refined = result.options.get("refine")
    return (
        not refined
        or result.unrefined is not None
        or (refined == "default" and not all(map(is_default, result.plan.layers)))
    )


def _show_weight_only(rows: list[dict[str, Any]]) -> None:
    """The layers that compute in float with quantized weights."""
    from calibrant.cli.show import decibels, table

    if rows:
        click.echo()
        columns = ("layer", "type", "bits", "scales", "weights SQNR dB")
        shown = [
            (row["layer"], row["type"], found["bits"], found["scales"], decibels(found["signal_to_noise_db"]))
            for row in rows
            for found in [row["weights"]]
        ]
        table("weights only: inside a loop or a branch, where activations cannot be observed", columns, shown)


def _show_lite_file(notes: dict[str, Any]) -> None:
    """What the LiteRT file computes in float, by kind and reason, and how it is fed."""
    from calibrant.cli.show import table

    kinds: dict[tuple[str, str], list[list[str]]] = {}
    for entry in notes.get("operators_in_float", ()):
        kinds.setdefault((entry["operator"], entry["reason"]), []).append(entry.get("layers", []))
    if kinds:
        click.echo()
        columns: tuple[str, ...] = ("operator", "how many", "reason")
        rows = [(operator, len(found), reason, _layers(found)) for (operator, reason), found in kinds.items()]
        columns += ("layers",) if any(row[-1] for row in rows) else ()
        table("in float in the LiteRT file", columns, [row[: len(columns)] for row in rows])
    if (samples := notes.get("samples_a_run")) is not None:
        click.echo(f"\n{notes['files'][0]} takes {samples} sample{'s' * (samples > 1)} a run")


def _layers(found: list[list[str]]) -> str:
    """The first of the quantized layers that operators are."""
    names = [name for layers in found for name in layers]
    more = f" and {len(names) - MOST_LAYERS} more" if len(names) > MOST_LAYERS else ""
    return ", ".join(names[:MOST_LAYERS]) + more


def _show_sensitivity(rows: list[dict[str, Any]]) -> None:
    """The ranking, and the blocks that leave the worst layer in float or repair it."""
    from calibrant.cli.show import decibels, table

    click.echo()
    if not rows:
        click.echo("sensitivity: no layer to rank, as none outside loops and branches is quantized")
        return
    columns = ("layer", "type", "only this: SQNR dB", "cosine", "all but this: SQNR dB", "cosine")
    shown = [
        (
            row["layer"],
            row["type"],
            decibels(row["only_signal_to_noise_db"]),
            f"{row['only_cosine']:.6f}",
            decibels(row["without_signal_to_noise_db"]),
            f"{row['without_cosine']:.6f}",
        )
        for row in rows
    ]
    table("sensitivity: what each layer costs at the outputs, the most harmful first", columns, shown)
    worst = rows[0]
    place_of = f", in the place of {worst['override_replaces']}" if worst["override_replaces"] else ""
    click.echo(
        f"\nto change the settings of the first{place_of}, or to leave it in float:\n\n"
        f"{worst['override']}\n{worst['skip']}"
    )
