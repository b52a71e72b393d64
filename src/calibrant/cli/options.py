"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import click


def split_names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """``A,B`` or ``A;B`` → two names."""
    if value is None:
        return None
    return [name.strip() for name in value.replace(";", ",").split(",") if name.strip()]


def split_settings(context: click.Context, parameter: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` → name and value as text."""
    settings = {}
    for each in value:
        name, separator, text = each.partition("=")
        if not separator or not name.strip():
            raise click.BadParameter(f"{each!r} is not NAME=VALUE", context, parameter)
        settings[name.strip()] = text
    return settings


def split_share(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """``10%`` or ``0.1`` → 0.1."""
    if value is None:
        return None
    text = value.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{value!r} is not a share, such as 10% or 0.1", context, parameter)
    return share


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a model is read."""
    for option in (
        click.option(
            "--trust-model", is_flag=True, help="Let the model file run Python code or write files, if it wants to."
        ),
        click.option("--signature", help="Signature of a SavedModel."),
        click.option(
            "--set",
            "constants",
            multiple=True,
            callback=split_settings,
            help="Bind a placeholder to a constant: NAME=VALUE, for example phase_train=false; repeatable.",
        ),
        click.option("--outputs", callback=split_names, help="Tensors that are the results: A,B."),
        click.option("--inputs", callback=split_names, help="Tensors to feed: A,B; inner tensors cut the graph there."),
    ):
        command = option(command)
    return command
