"""The operator of a LiteRT file that runs a product of the graph."""

from __future__ import annotations

from collections.abc import Collection

from calibrant.emit.tflite.planning.kernels import KERNELS, Result
from calibrant.emit.tflite.planning.wiring import Wiring


def layer_operator(wiring: Wiring, end: int | None, kernels: Collection[str], activation: str | None) -> int | None:
    """Position of the operator, looked for from the last tensor on, past what only moves its numbers.

    Parameters
    ----------
    end : int | None
        Index of the last tensor that belongs to the product; None where the file has none.
    kernels : Collection[str]
        The operators that can run it.
    activation : str | None
        Its activation, an operator of its own where it is not fused.

    Returns
    -------
    int | None
        Of another operator where one is in the way that computes; None where nothing is found.
    """
    at = wiring.maker.get(end) if end is not None else None
    while at is not None and (name := wiring.operators[at].name) not in kernels:
        if name == activation:
            activation = None
        elif name not in KERNELS or KERNELS[name].result is not Result.SAME:
            return at
        read = wiring.data(at)
        at = wiring.maker.get(read[0].index) if len(read) == 1 else None
    return at
