"""JSON of unknown origin, of bounded size and depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIZE_LIMIT = 256 * 2**20
"""Largest JSON file that is read, in bytes; a report of 10,000 layers stays below it."""


def read_json(path: Path) -> Any:
    """The content of a file.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is too large, nested too deeply, or not JSON in UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise ValueError(f"larger than {SIZE_LIMIT >> 20} MiB")
    return parse_json(data)


def parse_json(text: bytes | str) -> Any:
    """The value of a text.

    Raises
    ------
    ValueError
        It is nested too deeply, or not JSON in UTF-8.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
