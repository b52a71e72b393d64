"""Activations of 16 bits in a LiteRT file: what has to make them.

LiteRT's layers take codes of 16 bits together with int8 weights, and make codes of 16 bits. An activation that is read
with 16 bits is worth them only if what makes it has not rounded it to 8 bits. So the layers in front of it make 16 bits
as well, and everything between them and the reader computes with floating-point numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.file_parts import Operator

KERNELS_OF_16_BITS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV"})
"""Operators with int8 weights and activations of 16 bits; a BATCH_MATMUL with weights becomes a FULLY_CONNECTED."""
FINER = 128
"""How many steps of 16 bits are one of 8: 255 codes on one side of zero are 32640 then, and all of them fit."""
IN_FRONT = "is in front of a layer that reads 16 bits"


@dataclass(frozen=True)
class WideOperators:
    """What 16 bits ask of the operators of a file.

    Parameters
    ----------
    layers : frozenset[int]
        Positions of the layers that compute with codes of 16 bits.
    floats : frozenset[int]
        Positions of operators that have to compute in float.
    tensors : frozenset[int]
        Indices of the tensors that 8 bits would spoil.
    """

    layers: frozenset[int] = frozenset()
    floats: frozenset[int] = frozenset()
    tensors: frozenset[int] = frozenset()


def wide_operators(
    operators: Sequence[Operator],
    weighted: Mapping[int, bool],
    readers: Collection[int],
    tensors: Collection[int],
) -> WideOperators:
    """Go back from the activations of 16 bits to the layers that make them.

    Parameters
    ----------
    operators : Sequence[Operator]
        Of the float file.
    weighted : Mapping[int, bool]
        Position of a quantized layer → whether it has weights.
    readers : Collection[int]
        Positions of the quantized layers that read 16 bits.
    tensors : Collection[int]
        What is to be read with 16 bits.
    """
    maker = {made.index: at for at, each in enumerate(operators) for made in each.outputs}
    layers, floats = set(readers), set()
    waiting = list(tensors)
    for index in waiting:
        at = maker.get(index)
        if at is None or at in layers:
            continue
        if weighted.get(at):
            layers.add(at)
        elif at not in floats:
            floats.add(at)
            if at not in weighted:
                waiting += _computed(operators[at])
    return WideOperators(frozenset(layers), frozenset(floats), frozenset(waiting))


def _computed(each: Operator) -> list[int]:
    read = (tensor for tensor in each.inputs if tensor is not None and tensor.values is None)
    return [tensor.index for tensor in read if tensor.dtype == np.float32]


def widened(quantizer: Quantizer) -> Quantizer:
    """With 16 bits, the numbers that 8 bits reach, in finer steps."""
    return Quantizer(quantizer.scale / np.float32(FINER), 0, 16)


def same_codes(quantizer: Quantizer) -> Quantizer:
    """With 16 bits, the same steps: a code of 8 bits less its code of zero."""
    return Quantizer(quantizer.scale, 0, 16)
