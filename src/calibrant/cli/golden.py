"""``calibrant golden``: what is needed to check a LiteRT file on a device."""

from __future__ import annotations

from typing import Any

import click

from calibrant.cli.data_options import data_options, library_keywords
from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.next_step import place, say_next


@click.command()
@click.argument("folder", type=click.Path())
@click.option("--data", required=True, help="Inputs: folder of .bin files or images, .npy, .npz or idx file.")
@click.option("--out", type=click.Path(), help="Folder to be written; FOLDER/golden by default.")
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, help="How many samples to take.")
@json_option
@data_options
@click.pass_obj
def golden(
    settings: dict[str, bool], folder: str, data: str, out: str | None, samples: int, as_json: bool, **options: Any
) -> None:
    """Write inputs, expected codes and a checker for the .tflite in FOLDER.

    Copy the folder to the device and run there: python check_golden.py. It needs NumPy and LiteRT, and names the first
    tensor that differs.
    """
    from calibrant.cli.show import tracker
    from calibrant.evaluation.golden import golden as run

    track = tracker(settings["quiet"])
    files = run(folder, data, out=out, samples=samples, track=track, **library_keywords(options))
    if as_json:
        print_json({"files": [str(path) for path in files]})
    else:
        click.echo("\n".join(map(str, files)))
        say_next(f"copy {place(files[0].parent)} to the device and run there: python check_golden.py")
