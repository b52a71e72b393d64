"""The shapes with which a model is fed, where it leaves sizes open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FedShapes:
    """What one run of a model is fed with.

    Parameters
    ----------
    shapes : Mapping[str, tuple[int, ...]]
        Input key → shape.
    """

    shapes: Mapping[str, tuple[int, ...]]
