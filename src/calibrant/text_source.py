"""Text files of bounded size, in UTF-8; every failure is one clear problem, and problems name their place."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from calibrant.errors import ConfigError, Problem, did_you_mean

_ENCODINGS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "a zip archive"))
_SHOWN = 200


@dataclass(frozen=True)
class Source:
    """The text of a file, with its lines for messages; ``name`` is None for text that comes from no file."""

    text: str
    lines: tuple[str, ...]
    name: str | None = None

    @classmethod
    def of(cls, text: str, name: str | None = None) -> Source:
        """The text with its line ends made uniform, and without a byte order mark."""
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        return cls(text, tuple(text.split("\n")), name)

    def at(self, line: int | None = None, column: int | None = None) -> str:
        """``file:line:column: `` as the start of a warning, without the folder; what is not known is left out."""
        name = None if self.name is None else Path(self.name).name
        known = [str(part) for part in (name, line, column) if part is not None]
        return f"{':'.join(known)}: " if known else ""

    def problem(
        self,
        message: str,
        line: int | None = None,
        column: int | None = None,
        path: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> Problem:
        """A problem at that place (counted from 1), with the line for the caret where it is short enough to show."""
        shown = None
        if line is not None and column is not None and column <= _SHOWN and 1 <= line <= len(self.lines):
            cut = self.lines[line - 1][:_SHOWN]
            shown = "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in cut)
        return Problem(message, self.name, line, column, shown, path, allowed, hint)


def read_source(path: str | os.PathLike[str], kind: str, limit: int) -> Source:
    """The text of a file.

    Parameters
    ----------
    path : str | os.PathLike[str]
        The file, UTF-8 with or without a byte order mark.
    kind : str
        What the messages call it.
    limit : int
        Largest size that is read, in bytes.

    Raises
    ------
    ConfigError
        The file is missing, a directory or not a regular file, unreadable, too large, binary or not UTF-8.
    """
    name = os.fspath(path)
    data = _read_bytes(name, kind, limit)
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            raise ConfigError(Problem(f"the {kind} is {encoding}", file=name, allowed="text in UTF-8"))
    if b"\0" in data:
        raise ConfigError(Problem(f"the {kind} is binary", file=name, allowed="text in UTF-8"))
    try:
        return Source.of(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        before = data[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        line_start = before.rfind(b"\n") + 1
        raise ConfigError(
            Problem(
                f"the {kind} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}",
                file=name,
                line=before.count(b"\n") + 1,
                column=len(before[line_start:].decode("utf-8-sig" if line_start == 0 else "utf-8")) + 1,
                allowed="text in UTF-8",
                hint="save the file again with the encoding UTF-8",
            )
        ) from None


def _read_bytes(name: str, kind: str, limit: int) -> bytes:
    if not name:
        raise ConfigError(Problem(f"the name of the {kind} is empty", file=name))
    try:
        path = Path(name)
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(Problem(f"this is a directory, not a {kind}", file=name))
        if not stat.S_ISREG(mode):
            raise ConfigError(Problem(f"this is not a regular file, so it cannot be a {kind}", file=name))
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise ConfigError(Problem(f"the {kind} does not exist", file=name, hint=_neighbour(name))) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(Problem(f"the {kind} cannot be read: {reason}", file=name[:_SHOWN])) from None
    check_size(len(data), kind, limit, name)
    return data


def check_size(size: int, kind: str, limit: int, name: str | None = None) -> None:
    """Refuse a text that is too large.

    Raises
    ------
    ConfigError
        ``size`` is above ``limit``.
    """
    if size > limit:
        message = f"the {kind} is larger than {limit >> 20} MiB"
        raise ConfigError(Problem(message, file=name, hint="is it the right file?"))


def _neighbour(name: str) -> str | None:
    path = Path(name)
    try:
        names = sorted(entry.name for entry, _ in zip(path.parent.iterdir(), range(1000), strict=False))
    except OSError:
        return f"the directory {str(path.parent)!r} does not exist"
    return did_you_mean(path.name, names)
