"""How the model of a run was read, as the report beside its result tells; whether to trust it is not taken over."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from calibrant.errors import DataError
from calibrant.options import ModelOptions
from calibrant.progress import LOG
from calibrant.report.option_words import ABOUT_MODEL, option_words


def as_in_the_run(options: ModelOptions, report: Any) -> ModelOptions:
    """The options of the run where none are given that say which network is read.

    Parameters
    ----------
    options : ModelOptions
        What was given now.
    report : Any
        Of the run, as it was read.

    Returns
    -------
    ModelOptions
        Unchanged where some are given, or where the report does not tell them all.
    """
    if any(getattr(options, name) for name in ABOUT_MODEL):
        return options
    with suppress(LookupError, TypeError, DataError):
        given = report["run"]["options"]
        found = {name: given[name] for name in ABOUT_MODEL if given.get(name)}
        if not all(_is_whole(name, value) for name, value in found.items()):
            return options
        made = replace(options, **found)
        if found:
            LOG.info("the float model is read as in the run: %s", option_words(found))
        return made
    return options


def _is_whole(name: str, value: Any) -> bool:
    """Whether a value is what was given, and no description of an array."""
    if name == "constants":
        return isinstance(value, Mapping) and not any(isinstance(each, str) for each in value.values())
    return isinstance(value, str) or (name != "signature" and all(isinstance(each, str) for each in value))
