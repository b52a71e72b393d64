"""``calibrant tune``: the configuration that keeps a model's accuracy, with as few layers in float as possible."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from calibrant.calibration.limits import MOST_WORKERS
from calibrant.cli.config_file import ConfigFile
from calibrant.cli.data_options import data_options, label_options, library_keywords, samples_option
from calibrant.cli.existing_file import refuse_other_kind
from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import data_words, model_words, place, say_next, word
from calibrant.cli.options import model_options


def _tolerance(context: click.Context, parameter: click.Parameter, points: float) -> float:
    if math.isnan(points):
        raise click.BadParameter("nan is not in the range 0<=x<=100.")
    return points


@click.command()
@click.argument("model", type=click.Path())
@click.option("--config", type=ConfigFile(), help="Where the search starts; the defaults without one.")
@click.option("--data", required=True, help="Calibration data, as for quantize.")
@click.option("--test-data", help="Data that the loss is measured on; the calibration data without it.")
@click.option("--labels", help="Labels of the test data; without them predictions are compared with the float model's.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    callback=_tolerance,
    default=0.5,
    show_default=True,
    help="Percentage points of accuracy, of F1 or R², or of equal predictions, that may be lost.",
)
@click.option("--out", required=True, type=click.Path(), help="Configuration file to write.")
@click.option("--repair/--no-repair", default=True, help="Try other settings before leaving layers in float.")
@click.option("--float-layers/--no-float-layers", default=True, help="Whether layers may be left in float.")
@click.option("--thorough", is_flag=True, help="Go on when the tolerance is met, as long as the outputs get better.")
@click.option("--bias-correction/--no-bias-correction", default=True, help="As for quantize.")
@click.option("--refine", is_flag=True, help="As for quantize, in every trial; the file is then for quantize --refine.")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    show_default=True,
    help=f"Processes, at most {MOST_WORKERS}.",
)
@model_options
@samples_option
@label_options
@data_options
@json_option
@click.pass_obj
def tune(
    settings: dict[str, bool],
    model: str,
    config: Path | None,
    data: str,
    test_data: str | None,
    labels: str | None,
    output: str | None,
    ignore_label: tuple[int, ...],
    label_offset: int,
    tolerance: float,
    out: str,
    repair: bool,
    float_layers: bool,
    thorough: bool,
    refine: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Search for a configuration of MODEL that meets a tolerance; exit code 1 if there is none."""
    from calibrant.cli.show import table, tracker
    from calibrant.config.load import is_configuration
    from calibrant.evaluation.candidate import MUTATIONS
    from calibrant.evaluation.tune import tune as run
    from calibrant.publish.writable import check_writable_file, path_to_write
    from calibrant.publish.write import write_file
    from calibrant.steps.files_read import files_read

    target = path_to_write(out, "configuration file to write")
    check_writable_file(target, files_read(model, config, data, test_data, labels))
    refuse_other_kind(target, "configuration file", is_configuration)
    found = run(
        model,
        config,
        data,
        tolerance=tolerance / 100,
        test_data=test_data,
        labels=labels,
        output=output,
        ignore_labels=ignore_label,
        label_offset=label_offset,
        repairs=MUTATIONS if repair else (),
        layers_in_float=float_layers,
        thorough=thorough,
        refine=refine,
        track=tracker(settings["quiet"]),
        **library_keywords(options),
    )
    write_file(target, found.text.encode())
    rows = [
        (number, entry.what, entry.in_float, _points(entry.outcome.loss), _ratio(entry.outcome.sqnr_db))
        if entry.outcome.error is None
        else (number, entry.what, entry.in_float, None, entry.outcome.error)
        for number, entry in enumerate(found.tried, start=1)
    ]
    if as_json:
        tried = [{"what": t.what, "in_float": t.in_float, **_measured(t.outcome)} for t in found.tried]
        layers = {"in_float": list(found.in_float)}
        print_json({"out": out, "met": found.met, **_measured(found.outcome), **layers, "tried": tried})
        sys.exit(0 if found.met else 1)
    how = f"--{'' if refine else 'no-'}refine{'' if options['bias_correction'] else ' --no-bias-correction'}"
    if not settings["quiet"]:
        table(f"tried, each as quantize {how} makes it", ("", "what", "in float", "lost, points", "median dB"), rows)
        click.echo()
    verdict = "meets" if found.met else "misses"
    click.echo(
        f"{out} {verdict} the tolerance of {tolerance:g} points: {found.outcome.summary}, "
        f"{len(found.in_float)} more layers in float"
    )
    chosen = f"{place(model)}{model_words()} --config {place(out)} --data {word(data)}"
    ready = f"calibrant quantize {chosen}{data_words()} --out OUT {how}"
    way_out = "more calibration data or" if refine else "more calibration data, --refine, or"
    say_next(ready if found.met else f"{way_out} a larger --tolerance")
    if not found.met:
        sys.exit(1)


def _measured(outcome: Any) -> dict[str, Any]:
    points = round(100 * outcome.loss, 6)
    return {"loss": outcome.loss, "loss_points": points, "sqnr_db": outcome.sqnr_db, "error": outcome.error}


def _points(loss: float) -> str:
    return f"{100 * loss:.2f}"


def _ratio(decibels: float) -> str | None:
    return f"{decibels:.2f}" if math.isfinite(decibels) else None
