"""``calibrant merge``: a quantized model from what was observed in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.cli.config_file import ConfigFile
from calibrant.cli.json_output import json_option
from calibrant.cli.options import model_options
from calibrant.cli.show_result import page_option, show_result
from calibrant.cli.tflite_options import tflite_file_options, tflite_options


@click.command()
@click.argument("states", nargs=-1, required=True, type=click.Path())
@click.option("--model", required=True, type=click.Path(), help="The model that was observed.")
@click.option("--config", type=ConfigFile(), help="Configuration file; the defaults apply without one.")
@click.option("--out", required=True, type=click.Path(), help="Folder for the results.")
@click.option("--bias-correction/--no-bias-correction", default=True, help="As given to observe.")
@click.option("--round-weights", is_flag=True, help="As for quantize; needed if observe was given it.")
@click.option("--name", help="Prefix of the files; the name of the model file by default.")
@click.option("--export", multiple=True, help="More formats to write, as for quantize.")
@page_option
@tflite_file_options
@tflite_options
@model_options
@json_option
def merge(
    states: tuple[str, ...],
    model: str,
    config: Path | None,
    out: str,
    as_json: bool,
    **options: Any,
) -> int:
    """Quantize a model with STATES, the files of ``calibrant observe``."""
    import calibrant

    result = calibrant.merge(
        states,
        model,
        config=config,
        out=out,
        **options,
    )
    return show_result(result, model, out, as_json)
