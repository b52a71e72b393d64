"""What a quantized network can be exported as. A new format is a row in ``EXPORTS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from calibrant.errors import ConfigError, Problem, did_you_mean

Content = bytes | Callable[[Path], None]


def _tflite(result: Any) -> dict[str, Content]:
    from calibrant.emit.tflite.model import tflite_model

    made = tflite_model(result.network, result.tflite, {"calibrant": _version(), **result.signature})
    result.export_notes["tflite"] = {"weights_clipped_to_-127": dict(made.clipped)}
    return {f"{result.name}_int8.tflite": made.content}


def _version() -> str:
    try:
        return version("calibrant")
    except PackageNotFoundError:
        return "not installed"


EXPORTS: dict[str, Callable[[Any], dict[str, Content]]] = {
    "tflite": _tflite,
}
"""Format → function that takes a :class:`calibrant.result.Result` and gives file name → bytes, or → a function that
writes the file or folder at a path."""


def checked_exports(names: str | Sequence[str]) -> tuple[str, ...]:
    """The formats asked for, each once; one may be given as ``"a,b"``.

    Raises
    ------
    ConfigError : a format that does not exist, with the nearest one.
    """
    names = [names] if isinstance(names, str) else names
    chosen = dict.fromkeys(word.strip() for name in names for word in name.split(",") if word.strip())
    unknown = [
        Problem(f"export format {name!r} is not known", allowed=", ".join(EXPORTS), hint=did_you_mean(name, EXPORTS))
        for name in chosen
        if name not in EXPORTS
    ]
    if unknown:
        raise ConfigError(*unknown)
    return tuple(chosen)
