"""Operators in float that have no number for what codes say: the logarithm of a small number whose code is zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.flatbuffer import File


def undefined(file: File, run: Mapping[int, np.ndarray]) -> list[int]:
    """Positions of the operators that make infinity, or no number, of numbers.

    Parameters
    ----------
    run : Mapping[int, np.ndarray]
        The tensors of the file, by index; of those that are not there it is believed that they hold numbers.
    """
    return [
        at
        for at, each in enumerate(file.operators())
        if not all(_is_finite(run, made) for made in each.outputs)
        and all(_is_finite(run, tensor) for tensor in each.inputs if tensor is not None)
    ]


def _is_finite(run: Mapping[int, np.ndarray], tensor: Tensor) -> bool:
    values = run.get(tensor.index)
    return values is None or values.dtype.kind not in "fc" or bool(np.isfinite(values).all())
