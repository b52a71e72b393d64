"""``calibrant convert``, also ``amct_tensorflow convert``: models from scales that are known already."""

from __future__ import annotations

import click

from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.options import split_names


@click.command()
@click.option("--model", required=True, help="The model: with FakeQuant nodes, or a float one with --record_file.")
@click.option("--outputs", required=True, callback=split_names, help='Names of the outputs: "a:0;b:0".')
@click.option("--save_path", "--save-path", required=True, help="Prefix of the models, with its folder.")
@click.option(
    "--record_file", "--record-file", help="Scales and offsets of the layers; without it, those of the FakeQuant nodes."
)
@json_option
@click.pass_obj
def convert(
    settings: dict[str, bool], model: str, outputs: list[str], save_path: str, record_file: str | None, as_json: bool
) -> None:
    """Write PREFIX_quantized.pb and its companions, without data, from FakeQuant nodes or a record file."""
    from calibrant.amct import convert_model, convert_qat_model, set_logging_level

    set_logging_level("error" if settings["quiet"] or as_json else "info")
    if record_file is not None:
        convert_model(model, outputs, record_file, save_path)
    else:
        convert_qat_model(model, outputs, save_path)
    if as_json:
        print_json({"save_path": save_path})
