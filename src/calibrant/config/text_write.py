"""A ``Configuration`` as the text of a configuration file."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from calibrant.config.model import MESSAGES, Configuration
from calibrant.config.schema import ROOT, messages

_NAMES = {kind: name for name, kind in MESSAGES.items()}


def write_config(configuration: Configuration, comment: str = "") -> str:
    """Protobuf text that :func:`calibrant.config.load_config` reads as an equal configuration.

    Parameters
    ----------
    configuration : Configuration
        The settings; fields that are None are left out.
    comment : str
        Lines that are written first, as comments.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*lines, *_fields(configuration, ROOT)]) + "\n"


def write_block(value: Any, name: str) -> str:
    """One block as text: ``write_block(OverrideLayer(...), "override_layer_configs")``."""
    return "\n".join(_written(value, name)) + "\n"


def _fields(value: Any, message: str) -> list[str]:
    schema = messages()[message].fields
    lines = []
    for entry in fields(value):
        written = getattr(value, entry.name)
        if entry.name not in schema or written is None:
            continue
        for element in written if schema[entry.name].repeated else (written,):
            lines += _written(element, entry.name, schema[entry.name].kind)
    return lines


def _written(value: Any, name: str, kind: str = "message") -> list[str]:
    if type(value) in _NAMES:
        return [f"{name} {{", *(f"    {line}" for line in _fields(value, _NAMES[type(value)])), "}"]
    if isinstance(value, bool):
        return [f"{name} : {str(value).lower()}"]
    if isinstance(value, str):
        return [f"{name} : {value}" if kind == "enum" else f"{name} : {json.dumps(value, ensure_ascii=False)}"]
    return [f"{name} : {value!r}"]
