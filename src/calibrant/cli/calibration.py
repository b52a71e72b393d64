"""``calibrant calibration``, also ``amct_tensorflow calibration``: calibrate a network and write its models."""

from __future__ import annotations

from pathlib import Path

import click

from calibrant.cli.json_output import json_option, print_json
from calibrant.cli.options import split_names


@click.command()
@click.option("--model", required=True, help="The frozen .pb.")
@click.option("--outputs", required=True, callback=split_names, help='Names of the outputs: "a:0;b:0".')
@click.option("--save_path", "--save-path", required=True, help="Prefix of the models, with its folder.")
@click.option("--input_shape", "--input-shape", help='Shapes of the batches: "x:32,224,224,3;y:…".')
@click.option("--data_types", "--data-types", "--data_type", "--data-type", help='Types of the data: "float32;…".')
@click.option("--data_dir", "--data-dir", help='Folders of .bin files, one batch each, in that order: "dir;dir".')
@click.option("--evaluator", help="Script that defines an object with calibration(graph, outputs), in place of data.")
@click.option("--calibration_config", "--calibration-config", help="Configuration file or config.json.")
@click.option("--batch_num", "--batch-num", type=click.IntRange(min=1), help="Batches, without a configuration (1).")
@json_option
@click.pass_obj
def calibration(
    settings: dict[str, bool],
    model: str,
    outputs: list[str],
    save_path: str,
    input_shape: str | None,
    data_types: str | None,
    data_dir: str | None,
    evaluator: str | None,
    calibration_config: str | None,
    batch_num: int | None,
    as_json: bool,
) -> None:
    """Calibrate a network with .bin data or an evaluator script, and write PREFIX_quantized.pb and its companions."""
    if calibration_config is not None and batch_num is not None:
        raise click.UsageError("--batch_num stands in --calibration_config; give one of the two")
    data = {"data_dir": data_dir, "input_shape": input_shape, "data_types": data_types}
    given = [f"--{name}" for name, value in data.items() if value is not None]
    missing = [f"--{name}" for name, value in data.items() if value is None]
    if evaluator is not None and given:
        raise click.UsageError(f"the evaluator brings its own data: leave out --evaluator or {', '.join(given)}")
    if evaluator is None and missing:
        raise click.UsageError(f"{', '.join(missing)} missing; or give an --evaluator script")
    from calibrant.amct import set_logging_level
    from calibrant.amct.shell import calibrate
    from calibrant.config import Configuration

    set_logging_level("error" if settings["quiet"] or as_json else "info")
    config = Path(calibration_config) if calibration_config is not None else Configuration(batch_num=batch_num)
    calibrate(model, outputs, save_path, config, evaluator, data)
    if as_json:
        print_json({"save_path": save_path})
