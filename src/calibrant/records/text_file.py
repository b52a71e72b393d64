"""Text files of bounded size; problems with one name their place in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from calibrant.errors import ConfigError, Problem


@dataclass(frozen=True)
class TextFile:
    """The text of a file, with uniform line ends and without a byte order mark.

    Parameters
    ----------
    name : str
        The path, as the user gave it.
    text : str
        The content.
    """

    name: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends."""
        return self.text.split("\n")

    def problem(
        self,
        message: str,
        place: tuple[int, int] | None = None,
        path: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem at (line, column), both counted from 1, with that line for the caret."""
        if place is None:
            return Problem(message, file=self.name, path=path, allowed=allowed, hint=hint)
        line, column = place
        source = self.lines[line - 1] if 1 <= line <= len(self.lines) else None
        return Problem(message, self.name, line, column, source, path, allowed, hint)


def read_text_file(path: str | os.PathLike[str], kind: str, limit: int) -> TextFile:
    """Read a UTF-8 file of at most ``limit`` bytes; messages call it ``kind``.

    Raises
    ------
    ConfigError
        The file is missing, not a regular file, unreadable, too large, or not UTF-8.
    """
    name = os.fspath(path)
    try:
        if not Path(name).is_file():
            found = f"this is not a {kind}" if Path(name).exists() else f"the {kind} does not exist"
            hint = "this is a directory" if Path(name).is_dir() else None
            raise ConfigError(Problem(found, file=name, hint=hint))
        with Path(name).open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(Problem(f"the {kind} cannot be read: {reason}", file=name)) from None
    if len(data) > limit:
        raise ConfigError(Problem(f"the {kind} is larger than {limit >> 20} MiB", file=name))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} in line {line} is not UTF-8"
        raise ConfigError(Problem(found, file=name, line=line, allowed="text in UTF-8")) from None
    return TextFile(name, text.replace("\r\n", "\n").replace("\r", "\n"))
