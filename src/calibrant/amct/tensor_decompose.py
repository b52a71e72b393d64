"""Tensor decomposition, which is not here; see :mod:`calibrant.amct.outside`."""

from calibrant.amct.outside import auto_decomposition, decompose_graph

__all__ = ["auto_decomposition", "decompose_graph"]
