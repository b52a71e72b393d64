"""Where an output of a LiteRT file is best compared: before a final SOFTMAX, which hides differences."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from calibrant.emit.tflite.file_parts import Operator, Tensor

SAME_NUMBERS = frozenset({"DEQUANTIZE", "RESHAPE"})

Makers = Mapping[int, Operator]
"""Index of a tensor → the operator that makes it."""


def softmax_input(makers: Makers, output: Tensor) -> Tensor | None:
    """What the SOFTMAX reads from which an output comes; None where it comes from none."""
    maker = makers.get(_origin(makers, output, {*SAME_NUMBERS, "QUANTIZE"}).index)
    return maker.inputs[0] if maker is not None and maker.name == "SOFTMAX" else None


def quantized_output(makers: Makers, output: Tensor) -> Tensor:
    """The integer tensor that an output is the real form of, else the output itself."""
    source = _origin(makers, output, SAME_NUMBERS)
    return source if source.scale.size else output


def _origin(makers: Makers, tensor: Tensor, passed: Collection[str]) -> Tensor:
    """The tensor from which operators of these names make another one."""
    while (maker := makers.get(tensor.index)) is not None and maker.name in passed:
        source = maker.inputs[0]
        if source is None:
            break
        tensor = source
    return tensor
