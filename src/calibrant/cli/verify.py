"""``calibrant verify``: the files of one result against each other."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from calibrant.cli.data_options import data_options, read_data_options
from calibrant.cli.options import model_options


@click.command()
@click.argument("folder", type=click.Path())
@click.option("--data", required=True, help="Inputs: folder of .bin files or images, .npy, .npz or idx file.")
@click.option("--labels", help="Labels: .npy, .npz, .txt, .csv or idx file.")
@click.option("--ignore-label", type=int, multiple=True, help="Samples with this label do not count.")
@click.option("--model", type=click.Path(), help="The float model, to be compared as well.")
@click.option("--least-within", type=float, default=0.99, show_default=True, help="Share of outputs within a step.")
@click.option("--least-agreement", type=float, default=0.99, show_default=True, help="Share of equal top-1.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@model_options
@data_options
@click.pass_obj
def verify(
    settings: dict[str, bool],
    folder: str,
    data: str,
    labels: str | None,
    ignore_label: tuple[int, ...],
    model: str | None,
    least_within: float,
    least_agreement: float,
    as_json: bool,
    inputs: list[str] | None,
    outputs: list[str] | None,
    signature: str | None,
    constants: dict[str, str],
    **options: Any,
) -> None:
    """Run the models in FOLDER on the same inputs; exit code 1 if they part more than allowed."""
    from calibrant.cli.show import tracker
    from calibrant.evaluation.verify import Limits
    from calibrant.evaluation.verify import verify as run

    found = run(
        folder,
        data,
        labels,
        model=model,
        ignore_labels=ignore_label,
        inputs=inputs,
        outputs=outputs,
        signature=signature,
        constants=constants,
        limits=Limits(least_within, least_agreement),
        track=tracker(settings["quiet"]),
        **read_data_options(options),
    )
    if as_json:
        click.echo(json.dumps({**asdict(found), "passed": found.passed}, indent=2))
    else:
        _show(found)
    if not found.passed:
        sys.exit(1)


def _show(found: Any) -> None:
    from calibrant.cli.show import table

    rows = [(score.name, score.samples, _percent(score.top1)) for score in found.models]
    table("models", ("model", "samples", "top-1"), rows)
    click.echo()
    columns = ("first", "second", "same top-1", "within a step", "equal", "largest steps", "relative", "verdict")
    rows = [
        (
            pair.first,
            pair.second,
            _percent(pair.agreement),
            _percent(pair.share_within),
            _percent(pair.share_equal),
            pair.largest_steps,
            pair.relative,
            {True: "passes", False: "parts more than allowed", None: "shown only"}[pair.passed],
        )
        for pair in found.pairs
    ]
    table("pairs", columns, rows)
    for pair in found.pairs:
        if pair.step is not None and pair.passed is not None:
            click.echo(f"\none output step is {pair.step:.6g}")
        if pair.divergence is not None:
            click.echo(
                f"{pair.first} and {pair.second} first part by more than a step at {pair.divergence.layer}: "
                f"up to {pair.divergence.largest_steps} steps, {100 * pair.divergence.share_beyond:.3g} % of its values"
            )


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"
