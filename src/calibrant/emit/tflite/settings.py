"""What a user may choose about a LiteRT file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index

from calibrant.errors import ConfigError, Problem

IO_TYPES = ("float32", "int8")
OPERATORS = ("all", "layers")
LARGEST_BATCH = 1 << 16
"""Samples a run: the file is run with them before it is written."""


@dataclass(frozen=True)
class TfliteSettings:
    """How the file is fed, and what runs on integers in it.

    Parameters
    ----------
    io : str
        ``'float32'`` or ``'int8'``: type of the file's inputs and outputs. With int8 the caller quantizes, with
        scale and zero point of the input tensor.
    batch : int | None
        Samples a run, 1 … 65536; None keeps the model's own batch dimension, which may be open.
    ops : str
        ``'all'`` puts every operator on integers that has a kernel for it, ``'layers'`` the quantized layers
        and what is between them.
    shape : Mapping[str, tuple[int, ...]]
        Fixed shape of every input, by the name of the input; sizes of a sample or of a batch.
    dense_per_channel : bool
        Whether dense layers have a scale for each output channel instead of the configuration's one.

    Raises
    ------
    ConfigError
        A type or batch that is not allowed.
    """

    io: str = "float32"
    batch: int | None = None
    ops: str = "all"
    shape: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dense_per_channel: bool = False

    def shape_of(self, key: str, node: str) -> tuple[int, ...] | None:
        """The fixed shape of an input, by its key or its node; None where it has none."""
        return self.shape.get(key) or self.shape.get(node)

    def __post_init__(self) -> None:
        if self.io not in IO_TYPES:
            raise ConfigError(Problem(f"tflite_io is {self.io!r}", allowed=" or ".join(IO_TYPES)))
        if self.ops not in OPERATORS:
            raise ConfigError(Problem(f"tflite_ops is {self.ops!r}", allowed=" or ".join(OPERATORS)))
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise ConfigError(Problem(f"tflite_batch is {self.batch}", allowed=f"1 to {LARGEST_BATCH}"))


def fixed_shapes(shapes: Mapping[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
    """Shapes by input name, as frozen values.

    Raises
    ------
    ConfigError
        A size that is no number above 0.
    """
    try:
        found = {name: tuple(map(index, shape)) for name, shape in (shapes or {}).items()}
    except (TypeError, AttributeError):
        allowed = "sizes by input name, as {'x': (1, 224, 224, 3)}"
        raise ConfigError(Problem(f"tflite_shape is {shapes!r}", allowed=allowed)) from None
    problems = [
        Problem(f"tflite_shape of {name!r} is {list(shape)}", allowed="sizes above 0")
        for name, shape in found.items()
        if not shape or min(shape) < 1
    ]
    if problems:
        raise ConfigError(*problems)
    return found
