"""The options of a report in the words of the command line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ABOUT_MODEL = ("inputs", "outputs", "signature", "constants")
"""Options that say which network is read of a model file."""


def _plain(flag: str, value: Any) -> Iterable[str]:
    return [f"{flag} {shlex.quote(_text(value))}"]


def _flag(flag: str, value: Any) -> Iterable[str]:
    return [flag] if value else []


def _either(flag: str, value: Any) -> Iterable[str]:
    return [flag if value else flag.replace("--", "--no-", 1)]


def _settings(flag: str, value: Any) -> Iterable[str]:
    return [f"{flag} {shlex.quote(f'{key}={_text(each)}')}" for key, each in value.items()]


def _shapes(flag: str, value: Any) -> Iterable[str]:
    return [f"{flag} {shlex.quote(';'.join(f'{key}:{_text(each)}' for key, each in value.items()))}"]


def _dtypes(flag: str, value: Any) -> Iterable[str]:
    return [f"{flag} {shlex.quote(';'.join(map(_text, value.values())))}"]


def _percent(flag: str, value: Any) -> Iterable[str]:
    return [f"{flag} {100 * value:g}%"]


def _in_python(flag: str, value: Any) -> Iterable[str]:
    return [f"{flag.removeprefix('--')}={value!r}"]


@dataclass(frozen=True)
class _Row:
    """How an option is typed, what it is where nobody chose it, and its word where that is not its name."""

    typed: Callable[[str, Any], Iterable[str]] = _plain
    default: Any = None
    flag: str | None = None


_ROWS = {
    "constants": _Row(_settings, flag="--set"),
    "trust_model": _Row(_flag),
    "shapes": _Row(_shapes, flag="--input_shape"),
    "dtypes": _Row(_dtypes, flag="--data_types"),
    "scale": _Row(default=1.0),
    "mean": _Row(default=0.0),
    "std": _Row(default=1.0),
    "colour": _Row(default="RGB"),
    "interpolation": _Row(_in_python, "bilinear"),
    "layout": _Row(_in_python),
    "bias_correction": _Row(_either, True),
    "equalize": _Row(_either),
    "round_weights": _Row(_flag),
    "budget": _Row(_percent),
    "refine": _Row(_either, "default"),
    "sensitivity": _Row(_flag),
    "workers": _Row(default=1),
    "threads": _Row(default=0),
    "tflite_io": _Row(default="float32"),
    "tflite_ops": _Row(default="all"),
    "tflite_shape": _Row(_settings),
    "tflite_dense_per_channel": _Row(_flag),
}
"""All others are typed as their names, with their values, and are None or empty where nobody chose them."""


def option_words(options: Mapping[str, Any]) -> str:
    """Options of a report that are not the defaults, as they are typed; those without a word as they are in Python."""
    flat = {**options, **(options.get("image_options") or {})}
    flat.pop("image_options", None)
    size = flat.pop("size", None)
    flat["image_size"] = flat.get("image_size") or size
    return " ".join(word for name, value in flat.items() for word in _words(name, value))


def _words(name: str, value: Any) -> Iterable[str]:
    row = _ROWS.get(name, _Row())
    if value is None or value == [] or value == {} or value == row.default:
        return []
    return row.typed(row.flag or f"--{name.replace('_', '-')}", value)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "-1"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
