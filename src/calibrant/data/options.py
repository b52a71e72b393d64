"""How data become batches, as a user may choose it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from calibrant.data.images import ImageOptions, image_options_of
from calibrant.data.input_spec import data_type, given_shape
from calibrant.data.option_types import ACCEPTED, Rows, check_number, check_types

TYPES: Rows = {
    **ACCEPTED,
    "ImageOptions | Mapping[str, object]": (
        lambda value: isinstance(value, (ImageOptions, Mapping)),
        "ImageOptions or a dict of its parameters",
    ),
}


@dataclass(frozen=True)
class DataOptions:
    """How data become batches.

    Parameters
    ----------
    batch_size : int | None
        Samples in a batch, above 0, for sources without batches of their own; None: the batch that the model fixes,
        else 16.
    shapes : Mapping[str, Sequence[int | None]] | None
        By input name, dimensions that the model leaves open. Raw .bin files need all but the first.
    dtypes : Mapping[str, object] | None
        By input name, the type of the values in raw .bin files; None: the type of the input.
    image_options : ImageOptions | Mapping[str, object] | None
        How images become arrays, as :class:`calibrant.ImageOptions` or a dict of its parameters.
    image_size : Sequence[int] | None
        Height and width in pixels, instead of those in ``image_options``.
    shuffle : int | None
        Seed, 0 or above, of a random order of the images of a folder; None: no random order. An error beside labels of
        their own.

    Raises
    ------
    DataError
        A value that is not allowed.
    """

    batch_size: int | None = None
    shapes: Mapping[str, Sequence[int | None]] | None = None
    dtypes: Mapping[str, object] | None = None
    image_options: ImageOptions | Mapping[str, object] | None = None
    image_size: Sequence[int] | None = None
    shuffle: int | None = None

    def __post_init__(self) -> None:
        check_types(self, TYPES)
        check_number("batch_size", self.batch_size)
        check_number("shuffle", self.shuffle, 0)
        if self.shapes is not None:
            shapes = {name: given_shape(sizes, name) for name, sizes in self.shapes.items()}
            object.__setattr__(self, "shapes", shapes)  # sizes may be an iterator
        for kind in (self.dtypes or {}).values():
            data_type(kind)
        image_options_of(self.image_options, self.image_size)

    def keywords(self) -> dict[str, Any]:
        """The options as keywords of :func:`calibrant.data.open_data.open_data`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
