"""What was chosen for a run beside its files, as plain values for ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from calibrant.data.images import ImageOptions
from calibrant.options import Options

_NOT_TOLD = frozenset({"order"})
_MOST_VALUES = 64


def run_options(
    chosen: Options, *, refine: bool | str, equalize: bool | None = False, sensitivity: bool = False
) -> dict[str, Any]:
    """What a run was told, by name.

    Parameters
    ----------
    chosen : Options
        The groups of options.
    refine : bool | str
        Whether ranges are refined; ``'default'`` where nobody said it.
    equalize : bool | None
        Whether channels were equalized; None where each run decides it.
    sensitivity : bool
        Whether layers were ranked.
    """
    model, data, calibration, export = chosen.model, chosen.data, chosen.calibration, chosen.export
    return {
        **{entry.name: _plain(getattr(model, entry.name)) for entry in fields(model)},
        "samples": calibration.samples,
        **{name: _plain(getattr(data, name)) for name in ("shapes", "dtypes", "image_size")},
        "image_options": _image_row(data.image_options),
        **{
            entry.name: _plain(getattr(export, entry.name))
            for entry in fields(export)
            if entry.name.startswith("tflite_")
        },
        "bias_correction": calibration.bias_correction,
        "equalize": equalize,
        "round_weights": calibration.round_weights,
        "budget": calibration.budget,
        "batch_size": data.batch_size,
        "shuffle": data.shuffle,
        "refine": refine,
        "sensitivity": sensitivity,
        "export": list(export.formats),
        "workers": calibration.workers,
        "threads": calibration.threads,
    }


def _image_row(given: ImageOptions | Mapping[str, object] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {str(name): _plain(value) for name, value in given.items() if name not in _NOT_TOLD}
    return {entry.name: _plain(getattr(given, entry.name)) for entry in fields(given) if entry.name not in _NOT_TOLD}


def _plain(value: Any) -> Any:
    """A value that JSON has; arrays of many numbers by their shape, types by their names."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [_plain(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist() if value.size <= _MOST_VALUES else f"array of {list(value.shape)}"
    return str(getattr(value, "name", None) or getattr(value, "__name__", None) or value)
