"""Text of a table's cell that is folded where a name may be: behind a slash or a space, so that no word is torn."""

from __future__ import annotations

import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_PIECE = re.compile(r"[^/ ]*(?:[/ ]+|$)")


class _Folded:
    """Text with slashes, as rich renders it in the width that it has."""

    def __init__(self, text: str):
        self._text = text
        self._pieces = [piece for piece in _PIECE.findall(text) if piece]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widest = max(map(len, self._pieces), default=0)
        return Measurement(min(widest, options.max_width), min(len(self._text), options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = ""
        for piece in self._pieces:
            if line and len(line) + len(piece.rstrip()) > options.max_width:
                yield Text(line.rstrip(), overflow="fold")
                line = ""
            line += piece
        yield Text(line, overflow="fold")


def folded(text: str) -> Text | _Folded:
    """A cell that rich folds at spaces, and behind slashes where there are any."""
    return _Folded(text) if "/" in text else Text(text)
