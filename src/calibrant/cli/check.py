"""``calibrant check``: every problem of a configuration file at once; with a model, the resolved plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibrant.cli.config_file import ConfigFile
from calibrant.cli.json_output import json_option
from calibrant.cli.next_step import model_words, place, say_next
from calibrant.cli.options import model_options
from calibrant.errors import CalibrantError, ConfigError

if TYPE_CHECKING:
    from calibrant.config import PlanRow

COLUMNS = ("layer", "type", "bits", "weights", "channel-wise", "activations", "symmetric", "balance", "from")


@click.command()
@click.argument("config", type=ConfigFile())
@click.option("--model", type=click.Path(), help="Resolve the file against this model and show the plan.")
@model_options
@json_option
def check(config: Path, model: str | None, as_json: bool, **model_choice: Any) -> None:
    """Check CONFIG and print every problem with its place; with --model print what each layer gets."""
    from calibrant import check_config

    try:
        checked = check_config(config, model, **model_choice)
        if checked.problems:
            raise ConfigError(*checked.problems)
    except CalibrantError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"problems": [problem.as_dict() for problem in error.problems]}, indent=2))
        raise click.exceptions.Exit(2) from None
    if as_json:
        plan = [row.as_dict() for row in checked.plan]
        shown = {} if model is None else {"plan": plan, "warnings": list(checked.warnings)}
        click.echo(json.dumps({"problems": [], **shown}, indent=2))
    elif model is None:
        click.echo(f"{config}: no problems")
        say_next(f"calibrant check {place(config)} --model MODEL shows what it does to a model")
    else:
        _show(checked.plan)
        chosen = f"{place(model)}{model_words()} --config {place(config)}"
        say_next(f"calibrant quantize {chosen} --data DATA --out OUT")
    if model is None or not as_json:
        for warning in checked.warnings:
            click.echo(f"warning: {warning}", err=True)


def _show(rows: Sequence[PlanRow]) -> None:
    from calibrant.cli.show import table

    planned = [
        (
            row.layer,
            row.type,
            row.weight_bits,
            row.weight_algorithm,
            row.channel_wise,
            row.activation_algorithm,
            row.symmetric,
            row.migration_strength,
            ", ".join(f"{block}: {origin}" for block, origin in row.sources),
        )
        for row in rows
        if row.quantized
    ]
    table(f"plan ({len(planned)})", COLUMNS, planned)
    left = [(row.layer, row.type, row.reason) for row in rows if not row.quantized]
    if left:
        click.echo()
        table(f"left in float ({len(left)})", ("layer", "type", "reason"), left)
    overridden = [row for row in rows if row.left_out]
    if overridden:
        click.echo()
        for row in overridden:
            left_out = ", ".join(row.left_out)
            click.echo(f"{row.layer}: {row.entry} is taken whole; defaults apply instead of common_config's {left_out}")
