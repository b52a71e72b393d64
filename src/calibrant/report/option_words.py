"""The options of a report in the words of the command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

_FLAGS = ("round_weights", "sensitivity", "trust_model", "tflite_dense_per_channel")
_EITHER = ("equalize", "refine")
_DEFAULTS = {
    **{"bias_correction": True, "workers": 1, "threads": 0, "tflite_io": "float32", "tflite_ops": "all"},
    **{"scale": 1.0, "mean": 0.0, "std": 1.0, "colour": "RGB", "interpolation": "bilinear", "refine": "default"},
}
_ONLY_IN_PYTHON = frozenset({"layout", "interpolation"})
_SETTINGS = {"constants": "--set", "tflite_shape": "--tflite-shape"}
_NAMED = {"shapes": "--input_shape", "dtypes": "--data_types"}


def option_words(options: Mapping[str, Any]) -> str:
    """Options of a report that are not the defaults, as they are typed; those without a word as they are in Python."""
    flat = {**options, **(options.get("image_options") or {})}
    flat.pop("image_options", None)
    size = flat.pop("size", None)
    flat["image_size"] = flat.get("image_size") or size
    return " ".join(word for name, value in flat.items() for word in _words(name, value))


def _words(name: str, value: Any) -> Iterator[str]:
    word = f"--{name.replace('_', '-')}"
    if value is None or value == [] or value == {} or value == _DEFAULTS.get(name):
        return
    if name in _ONLY_IN_PYTHON:
        yield f"{name}={value!r}"
    elif name in _SETTINGS:
        yield from (f"{_SETTINGS[name]} {shlex.quote(f'{key}={_text(each)}')}" for key, each in value.items())
    elif name in _NAMED:
        listed = ";".join(f"{key}:{_text(each)}" if name == "shapes" else _text(each) for key, each in value.items())
        yield f"{_NAMED[name]} {shlex.quote(listed)}"
    elif name == "bias_correction" or name in _EITHER:
        yield word if value else f"--no-{name.replace('_', '-')}"
    elif name in _FLAGS:
        yield from ((word,) if value else ())
    elif name == "budget":
        yield f"{word} {100 * value:g}%"
    else:
        yield f"{word} {shlex.quote(_text(value))}"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "-1"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
