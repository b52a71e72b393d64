"""Options for LiteRT files that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def read_shapes(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, tuple[int, ...]] | None:
    """``NAME=1,224,224,3`` → name and sizes."""
    found: dict[str, tuple[int, ...]] = {}
    for value in values:
        name, equals, sizes = value.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            key = name.removesuffix(":0")
            if key in found:
                raise click.BadParameter(f"{key} is given twice", param_hint="--tflite-shape")
            found[key] = tuple(int(size) for size in sizes.replace("x", ",").split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not NAME=1,224,224,3", param_hint="--tflite-shape") from None
    return found or None


def tflite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is converted; the same for observing and for merging."""
    for option in (
        click.option(
            "--tflite-shape",
            multiple=True,
            callback=read_shapes,
            help="Fixed shape of an input of the .tflite: NAME=1,224,224,3; repeatable.",
        ),
        click.option(
            "--tflite-ops",
            default="all",
            show_default=True,
            help="What runs on integers in the .tflite: all that can, or layers and what is between them.",
        ),
        click.option("--tflite-batch", type=int, help="Samples a run of the .tflite; the model's own by default."),
    ):
        command = option(command)
    return command


def tflite_file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is written; observing needs none of it."""
    for option in (
        click.option(
            "--tflite-dense-per-channel",
            is_flag=True,
            help="Dense layers of the .tflite get a scale for each output channel.",
        ),
        click.option(
            "--tflite-io",
            default="float32",
            show_default=True,
            help="Inputs and outputs of the .tflite: float32 or int8.",
        ),
    ):
        command = option(command)
    return command
