"""``calibrant init``: a configuration file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrant.cli.next_step import model_words, place, say_next
from calibrant.cli.options import model_options


@click.command()
@click.argument("model", type=click.Path())
@click.option("--out", default="quant.cfg", show_default=True, type=click.Path(), help="File to write; - prints it.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@model_options
def init(
    model: str,
    out: str,
    force: bool,
    **options: Any,
) -> None:
    """Write a commented configuration file with the defaults and the layers of MODEL."""
    from calibrant.config import load_config
    from calibrant.config.starter import starter_text
    from calibrant.errors import OutputError, Problem
    from calibrant.options import ModelOptions
    from calibrant.publish.writable import check_writable_file, path_to_write
    from calibrant.publish.write import write_file
    from calibrant.steps.files_read import files_read
    from calibrant.steps.planned import folded_model, load_model

    target = None if out == "-" else path_to_write(out, "configuration file to write")
    if target is not None:
        check_writable_file(target, files_read(model))
        if not force and target.exists():
            hint = "--out another name, or --force to replace it"
            raise OutputError(Problem("is there already", file=out, hint=hint))
    read = folded_model(load_model(model, ModelOptions(**options)), load_config(None))
    layers = [(layer.name, layer.type) for layer in read.layers.values()]
    text = starter_text(Path(model).name, layers)
    if target is None:
        click.echo(text, nl=False)
        return
    write_file(target, text.encode(errors="backslashreplace"))
    click.echo(f"written: {out}, {len(layers)} layers")
    say_next(f"calibrant quantize {place(model)}{model_words()} --config {place(out)} --data DATA --out out")
