"""``calibrant quantize``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.cli.config_file import ConfigFile
from calibrant.cli.data_options import data_options, library_keywords, samples_option
from calibrant.cli.json_output import json_option
from calibrant.cli.options import model_options, split_share
from calibrant.cli.parallel_options import parallel_options
from calibrant.cli.show_result import page_option, show_result
from calibrant.cli.tflite_options import tflite_file_options, tflite_options
from calibrant.exports import EXPORTS


@click.command()
@click.argument("model", type=click.Path())
@click.option("--config", type=ConfigFile(), help="Configuration file; the defaults apply without one.")
@click.option("--data", required=True, help="Calibration data: folder of .bin files or images, .npy, .npz or idx file.")
@click.option("--out", required=True, type=click.Path(), help="Folder for the results.")
@click.option(
    "--bias-correction/--no-bias-correction",
    default=True,
    help="Shift biases so that the layers' outputs keep their mean (on by default).",
)
@click.option(
    "--equalize/--no-equalize",
    default=None,
    help="Equalize channels between layers first; adds no operation. --refine decides it by itself.",
)
@click.option("--round-weights", is_flag=True, help="Round the weights so that the layers' outputs change least.")
@click.option(
    "--refine/--no-refine",
    default=None,
    help="Decide channels and ranges by the model's outputs. By default where the configuration does not set them.",
)
@click.option(
    "--budget",
    callback=split_share,
    metavar="SHARE",
    help="Up to this share of the multiply-accumulates gets activations of 16 bits, where it helps most: 10%.",
)
@click.option("--sensitivity", is_flag=True, help="Rank the layers by what each alone costs.")
@click.option("--name", help="Prefix of the files; the name of the model file by default.")
@click.option("--export", multiple=True, help=f"More formats to write: {', '.join(EXPORTS)}; repeatable, or A,B.")
@click.option(
    "--resume", type=click.Path(), help="File that keeps what was observed; an interrupted run goes on there."
)
@page_option
@tflite_file_options
@tflite_options
@model_options
@parallel_options
@samples_option
@data_options
@json_option
@click.pass_obj
def quantize(
    settings: dict[str, bool],
    model: str,
    config: Path | None,
    data: str,
    out: str,
    as_json: bool,
    **options: Any,
) -> int:
    """Quantize MODEL with calibration data and write the results to a folder."""
    import calibrant
    from calibrant.cli.show import tracker

    result = calibrant.quantize(
        model,
        config=config,
        data=data,
        out=out,
        track=tracker(settings["quiet"]),
        **library_keywords(options),
    )
    return show_result(result, model, out, as_json)
