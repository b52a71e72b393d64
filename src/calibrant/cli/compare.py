"""``calibrant compare``: two results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.cli.existing_file import is_page, refuse_other_kind
from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import place, say_next

RESULTS = ("report.html", ".pb", ".json", ".txt", ".cfg", ".tflite")
"""How the files of a result end, which a page may not replace; another page may lie beside them."""


@click.command()
@click.argument("first", type=click.Path())
@click.argument("second", type=click.Path())
@click.option("--page", type=click.Path(), help="Write the comparison as an HTML page, too.")
@json_option
def compare(first: str, second: str, page: str | None, as_json: bool) -> None:
    """Compare two folders of `calibrant quantize`: options, configuration, scales, offsets, what each layer loses."""
    from calibrant.publish.kept import Kept
    from calibrant.publish.writable import check_writable_file, path_to_write
    from calibrant.publish.write import write_file
    from calibrant.report.comparison import compare_folders

    target = None if page is None else path_to_write(page, "page")
    if target is not None:
        check_writable_file(target, [Kept(Path(folder), RESULTS) for folder in (first, second)])
        refuse_other_kind(target, "HTML page", is_page)
    found = compare_folders(Path(first), Path(second))
    if target is not None:
        from calibrant.report.page.comparison_page import comparison_page

        write_file(target, comparison_page(first, second, found).encode(errors="backslashreplace"))
    if as_json:
        print_json(found)
        return
    _show(found)
    say_next(f"open {place(page)}" if page else "--page FILE.html writes this as a page")


def _show(found: dict[str, Any]) -> None:
    from calibrant.cli.show import decibels, table

    if found["runs"]:
        rows = [(row["what"], _exactly(row["first"]), _exactly(row["second"])) for row in found["runs"]]
        table("how they were made", ("", "first", "second"), rows)
        click.echo()
    table("totals", ("", "first", "second"), [(row["what"], row["first"], row["second"]) for row in found["totals"]])
    if found["outputs"]:
        click.echo()
        rows = [(row["what"], row["first"], row["second"]) for row in found["outputs"]]
        table("outputs against the float model, dB", ("output", "first", "second"), rows)
    if found["configuration"]:
        click.echo()
        settings = [(row["setting"], _exactly(row["first"]), _exactly(row["second"])) for row in found["configuration"]]
        table("configuration", ("setting", "first", "second"), settings, whole_names=True)
    if found["layers"]:
        click.echo()
        layers = [
            (
                row["layer"],
                decibels(row["first_db"]),
                decibels(row["second_db"]),
                row["first_scale"],
                row["second_scale"],
                ", ".join(row["changed"]),
            )
            for row in found["layers"]
        ]
        names = (
            "layer",
            *(f"{what}, {run}" for what in ("worst dB", "scale") for run in ("first", "second")),
            "changed",
        )
        table("layers that changed", names, layers, whole_names=True)
    for key, text in (("only_first", "quantized in the first only"), ("only_second", "quantized in the second only")):
        if found[key]:
            click.echo(f"\n{text}: " + ", ".join(found[key]))
    if found["same"]:
        click.echo("\nboth results are the same quantized model")


def _exactly(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items() if each is not None)
    return None if value is None else str(value)
