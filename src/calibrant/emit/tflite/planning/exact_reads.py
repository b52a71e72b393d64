"""Operators that compute what has to be known better than 8 bits tell: divisors, and what is rounded to whole numbers.

A small divisor has the code of zero, and the code of a position says no more than the neighbourhood. Where no operator
that has an integer kernel reads such a tensor besides, what makes it runs in float, as does what leads there alone.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from collections.abc import Set as AbstractSet

import numpy as np

from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.planning.kernels import KERNELS
from calibrant.emit.tflite.planning.wiring import Wiring

ROUNDING = frozenset({"FLOOR", "CEIL", "ROUND"})
DIVIDING = frozenset({"DIV", "FLOOR_DIV", "FLOOR_MOD"})
INFINITE_AT_ZERO = frozenset({"RSQRT", "LOG"})
"""What has an integer kernel that makes its lowest or highest code of a zero; in float, infinity spoils everything."""


def only_read_exactly(
    wiring: Wiring,
    layers: Collection[int],
    known: Container[int],
    coded: AbstractSet[int],
    barred: Container[int],
) -> frozenset[int]:
    """Positions of the operators of which nothing is read but what has to be exact.

    Parameters
    ----------
    wiring : Wiring
        Of the float file.
    layers : Collection[int]
        Positions of quantized layers, which are none of them.
    known : Container[int]
        Indices of the tensors that are in the graph as well. The converter makes of x / sqrt(v) the product of x and a
        reciprocal root that no graph has.
    coded : AbstractSet[int]
        Indices of tensors that have codes all the same, so that what reads them runs on integers.
    barred : Container[int]
        Positions of operators that run in float although they have an integer kernel.
    """
    found: set[int] = set()
    for at in range(len(wiring.operators) - 1, -1, -1):
        used = [tensor.index for tensor in wiring.operators[at].outputs if wiring.is_used(tensor.index)]
        reads = [tensor.index for tensor in wiring.data(at)]
        if at in layers or not used or not wiring.results.isdisjoint(used) or not coded.isdisjoint(reads):
            continue
        readers = [(reader, index) for index in used for reader in wiring.readers[index]]
        # of a sigmoid only itself is put into float, by its scale
        left = () if wiring.operators[at].name == "LOGISTIC" else barred
        exact = {
            reader for reader, index in readers if index in _exact(wiring.operators[reader], known, reader in left)
        }
        exact |= found.intersection(reader for reader, _ in readers)
        others = (wiring.operators[reader].name for reader, _ in readers if reader not in exact)
        if exact and KERNELS.keys().isdisjoint(others):
            found.add(at)
    return frozenset(found)


def _exact(each: Operator, known: Container[int], is_barred: bool) -> list[int]:
    """The tensors that an operator reads exactly."""
    real = [tensor.index for tensor in each.inputs if tensor is not None and tensor.dtype == np.float32]
    if each.name in DIVIDING:
        return real[1:]
    divides = each.name == "RSQRT" and each.outputs[0].index not in known
    is_infinite = is_barred and each.name in INFINITE_AT_ZERO
    to_whole = each.name == "CAST" and all(made.dtype is not None and made.dtype.kind in "iu" for made in each.outputs)
    return real if divides or is_infinite or to_whole or each.name in ROUNDING else []
