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


def integer_makers(file: File, reader: int) -> list[tuple[int, str]]:
    """Positions of the operators whose codes an operator in float reads, each with the reader's name."""
    operators = list(file.operators())
    makers = {made.index: at for at, each in enumerate(operators) for made in each.outputs}
    found = []
    for tensor in operators[reader].inputs:
        maker = makers.get(tensor.index) if tensor is not None else None
        if maker is not None and operators[maker].name == "DEQUANTIZE":
            maker = makers.get(operators[maker].read(0).index)
            if maker is not None:
                found.append((maker, operators[reader].name))
    return found


def _is_finite(run: Mapping[int, np.ndarray], tensor: Tensor) -> bool:
    values = run.get(tensor.index)
    return values is None or values.dtype.kind not in "fc" or bool(np.isfinite(values).all())
