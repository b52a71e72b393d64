"""The shapes with which a model is fed, where it leaves sizes open."""

from collections.abc import Mapping

FedShapes = Mapping[str, tuple[int, ...]]
"""Input key → shape of what one run of a model is fed with."""
