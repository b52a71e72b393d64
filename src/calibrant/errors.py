"""One family of errors: each carries every problem that was found, with its place and what is allowed instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Parameters
    ----------
    message : str
        What was found, one sentence without a full stop.
    file : str | None
        Path of the file that holds it, as the user gave it.
    line, column : int | None
        Place in that file, counted from 1.
    source : str | None
        The text of that line, for the caret.
    path : str | None
        The field's path inside a structured input
        (``override_layer_configs[0].calibration_config.ifmr_quantize.search_step``) or the place inside a model.
    allowed : str | None
        What would be accepted.
    hint : str | None
        What to do about it ("did you mean 'Conv2D'?").
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    source: str | None = None
    path: str | None = None
    allowed: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        lines = [": ".join(part for part in (place, self.path, self.message) if part)]
        if self.source is not None and self.column is not None:
            shown = self.source[:200].replace("\t", " ")
            lines.append(f"    {shown}")
            if self.column <= len(shown) + 1:
                lines.append("    " + " " * (self.column - 1) + "^")
        if self.allowed:
            lines.append(f"    allowed: {self.allowed}")
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | int]:
        """The fields that are set, for machine-readable output."""
        return {key: value for key, value in vars(self).items() if value is not None}


class CalibrantError(Exception):
    """Bad input or an impossible request; ``problems`` lists everything that was found, not only the first."""

    ag_pass_through = True  # AutoGraph raises it as it is, not as an error of another type with the text of this

    def __init__(self, *problems: Problem | str):
        self.problems = tuple(p if isinstance(p, Problem) else Problem(p) for p in problems)
        said_again = [each.hint == later.hint for each, later in pairwise(self.problems)] + [False]
        pairs = zip(self.problems, said_again, strict=False)
        super().__init__("\n".join(str(replace(each, hint=None) if again else each) for each, again in pairs))

    def report(self) -> str:
        """The text for a terminal: ``error: …``, and how many problems there are where it is not one."""
        count = len(self.problems)
        return f"error: {count} problems\n{self}" if count > 1 else f"error: {self}"


class ConfigError(CalibrantError):
    """A configuration, record or mapping file that cannot be used as it is."""


class ModelError(CalibrantError):
    """A model that cannot be read, or cannot be quantized as asked.

    ``unfit`` is the GraphDef that was read where it is its content that does not fit; None otherwise.
    """

    unfit: Any = None


class UnknownNameError(ModelError):
    """A model without a signature, or without placeholders to be set, that the options name.

    Parameters
    ----------
    *problems : Problem
        One for each name.
    names : Collection[str]
        What it does not have.
    """

    def __init__(self, *problems: Problem, names: Collection[str]):
        super().__init__(*problems)
        self.names = names


class DataError(CalibrantError):
    """Calibration or evaluation data that do not fit the model or the configuration."""


class OutputError(CalibrantError):
    """The results cannot be written where they were asked for."""


class DependencyError(CalibrantError):
    """Something that has to be installed is missing or too old."""


def shortened(text: str, most: int) -> str:
    """What another program says, cut between two words where it is longer, with open quotation marks closed."""
    if len(text) <= most:
        return text
    kept = text[:most].rpartition(" ")[0] or text[:most]
    return f"{kept} …" + "".join(mark for mark in "'\"`" if _is_open(kept, mark))


def _is_open(text: str, mark: str) -> bool:
    """Whether more quotations begin than end; an apostrophe inside a word is neither."""
    begun, ended = rf"(?<![^\s(\[{{=:]){mark}(?=[^\s{mark}])", rf"(?<=[^\s{mark}]){mark}(?!\w)"
    return len(re.findall(begun, text)) > len(re.findall(ended, text))


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A hint naming the closest of the candidates, or None where nothing comes near."""
    close = difflib.get_close_matches(word, list(candidates), n=3, cutoff=0.6)
    if not close:
        return None
    return "did you mean " + " or ".join(repr(name) for name in close) + "?"


def is_address(text: str) -> bool:
    """Whether a text is no path but a URL: ``gs://bucket/model.pb``, ``file:///model.pb``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def first_problems(problems: Sequence[Problem], most: int = 20, count: int | None = None) -> tuple[Problem, ...]:
    """The first ``most`` problems, and one that says how many more there are.

    Parameters
    ----------
    problems : Sequence[Problem]
        At least the first ``most``.
    most : int
        How many are listed.
    count : int | None
        How many problems there are; None: as many as are given.
    """
    listed = tuple(problems[:most])
    more = (len(problems) if count is None else count) - len(listed)
    if more < 1:
        return listed
    return *listed, Problem(f"and {more} more problem{'s' if more > 1 else ''}", file=listed[0].file)
