"""``calibrant observe``: some of the calibration batches, into a file that ``calibrant merge`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.cli.config_file import ConfigFile
from calibrant.cli.data_options import data_options, library_keywords, samples_option
from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import model_words, place, say_next, word
from calibrant.cli.options import model_options
from calibrant.cli.parallel_options import parallel_options
from calibrant.cli.tflite_options import tflite_options
from calibrant.report.option_words import option_words


@click.command()
@click.argument("model", type=click.Path())
@click.option("--config", type=ConfigFile(), help="Configuration file; the defaults apply without one.")
@click.option("--data", required=True, help="Calibration data: folder of .bin files or images, .npy, .npz or idx file.")
@click.option(
    "--state", required=True, type=click.Path(), help="File to write; gone on with where it is there already."
)
@click.option("--batches", help="Those to take, counted from 0: 0:4 are the first four. All by default.")
@click.option("--bias-correction/--no-bias-correction", default=True, help="As for quantize; the same for all parts.")
@click.option("--round-weights", is_flag=True, help="As for quantize; the same for all parts.")
@click.option("--export", multiple=True, help="Formats that are to be written after merging.")
@tflite_options
@model_options
@parallel_options
@samples_option
@data_options
@json_option
@click.pass_obj
def observe(
    settings: dict[str, bool],
    model: str,
    config: Path | None,
    data: str,
    state: str,
    batches: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Observe calibration batches of MODEL and write what was seen to a file."""
    import calibrant
    from calibrant.cli.show import tracker

    path = calibrant.observe(
        model,
        config=config,
        data=data,
        state=state,
        batches=_range(batches),
        track=tracker(settings["quiet"]),
        **library_keywords(options),
    )
    if as_json:
        print_json({"state": str(path)})
    elif not settings["quiet"]:
        click.echo(f"written to {path}")
        command = (
            f"calibrant merge {place(path)} ... --model {place(model)}{model_words()}{_same_words(config, options)}"
        )
        say_next(f"{command} --out OUT")


FOR_MERGE = ("bias_correction", "round_weights", "export", "tflite_batch", "tflite_ops", "tflite_shape")
"""Options beside the model and the configuration that merging has to be told as well."""


def _same_words(config: Path | None, options: dict[str, Any]) -> str:
    """The options that merging takes, as they were given, with a space before each."""
    given = {name: options[name] for name in FOR_MERGE}
    words = option_words({**given, "export": ",".join(given["export"]) or None})
    return (f" --config {word(str(config))}" if config else "") + (f" {words}" if words else "")


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first), int(end)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not first:end, as in 0:4", param_hint="--batches") from None
