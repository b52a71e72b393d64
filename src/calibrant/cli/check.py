"""``calibrant check``: every problem of a configuration file at once; with a model, the resolved plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibrant.cli.json_output import json_option
from calibrant.cli.options import model_options, read_model
from calibrant.errors import CalibrantError

if TYPE_CHECKING:
    from calibrant.config.plan import Plan

COLUMNS = ("layer", "type", "bits", "weights", "channel-wise", "activations", "symmetric", "balance", "from")


@click.command()
@click.argument("config", type=click.Path())
@click.option("--model", type=click.Path(), help="Resolve the file against this model and show the plan.")
@model_options
@json_option
def check(config: str, model: str | None, as_json: bool, **model_choice: list[str] | str | None) -> None:
    """Check CONFIG and print every problem with its place; with --model print what each layer gets."""
    try:
        plan = _checked(Path(config), model, model_choice)
    except CalibrantError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"problems": [problem.as_dict() for problem in error.problems]}, indent=2))
        raise click.exceptions.Exit(2) from None
    if as_json:
        click.echo(json.dumps({"problems": [], **_as_dict(plan)}, indent=2))
    elif plan is None:
        click.echo(f"{config}: no problems")
    else:
        _show(plan)


def _checked(config: Path, model: str | None, model_choice: dict[str, list[str] | str | None]) -> Plan | None:
    from calibrant.config import read_config

    configuration, problems = read_config(config)
    if model is None:
        problems.raise_if_any()
        for warning in configuration.warnings:
            click.echo(f"warning: {warning}", err=True)
        return None
    from calibrant.steps.plan import make_plan

    read = read_model(model, configuration, **model_choice)
    return make_plan(configuration, read.info, read.folded.graph, problems)


def _as_dict(plan: Plan | None) -> dict[str, object]:
    from calibrant.config import plan_rows

    if plan is None:
        return {}
    return {"plan": [row.as_dict() for row in plan_rows(plan)], "warnings": list(plan.warnings)}


def _show(plan: Plan) -> None:
    from calibrant.cli.show import table
    from calibrant.config import plan_rows

    rows = plan_rows(plan)
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
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
