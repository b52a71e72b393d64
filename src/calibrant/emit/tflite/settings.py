"""What a user may choose about a LiteRT file."""

from __future__ import annotations

from dataclasses import dataclass

from calibrant.errors import ConfigError, Problem

IO_TYPES = ("float32", "int8")


@dataclass(frozen=True)
class TfliteSettings:
    """How the file is fed.

    Parameters
    ----------
    io : ``'float32'`` or ``'int8'``: type of the file's inputs and outputs. With int8 the caller quantizes, with the
        factors of the input tensor.
    batch : samples a run, > 0; None keeps the model's own batch dimension, which may be open.

    Raises
    ------
    ConfigError : a type or batch that is not allowed.
    """

    io: str = "float32"
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.io not in IO_TYPES:
            raise ConfigError(Problem(f"tflite_io is {self.io!r}", allowed=" or ".join(IO_TYPES)))
        if self.batch is not None and self.batch < 1:
            raise ConfigError(Problem(f"tflite_batch is {self.batch}", allowed="a number above 0"))
