"""What a quantized network can be exported as. A new format is a row in ``EXPORTS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calibrant.errors import ConfigError, Problem, did_you_mean
from calibrant.file_endings import ASCEND, NODE_MAP, SAVED_MODEL, SIMULATION, TFLITE, TFLITE_NODE_MAP

if TYPE_CHECKING:
    from calibrant.emit.exportable import Exportable, Exported


def _tflite(source: Exportable) -> Exported:
    from calibrant.emit.tflite.export import tflite_export

    return tflite_export(source)


def _ascend(source: Exportable) -> Exported:
    from calibrant.emit.ascend.export import ascend_export

    return ascend_export(source)


def _saved_model(source: Exportable) -> Exported:
    from calibrant.emit.exportable import Exported
    from calibrant.emit.large_model import is_too_large, large_model_writer
    from calibrant.emit.saved_model import saved_model_writer

    writer = large_model_writer if is_too_large(source.fakequant) else saved_model_writer
    return Exported({f"{source.name}{SAVED_MODEL}": writer(source.fakequant)})


@dataclass(frozen=True)
class Export:
    """A format.

    Parameters
    ----------
    endings : tuple[str, ...]
        What follows the prefix in the names of its files and folders.
    made : Callable[[Exportable], Exported]
        Makes them.
    """

    endings: tuple[str, ...]
    made: Callable[[Exportable], Exported]


EXPORTS = {
    "tflite": Export((TFLITE, SIMULATION, TFLITE_NODE_MAP), _tflite),
    "ascend": Export((ASCEND, NODE_MAP), _ascend),
    "saved_model": Export((SAVED_MODEL,), _saved_model),
}
"""Name of a format → what it writes."""


def checked_exports(names: str | Sequence[str]) -> tuple[str, ...]:
    """The formats asked for, each once; one may be given as ``"a,b"``.

    Raises
    ------
    ConfigError
        A format that does not exist, with the nearest one.
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
