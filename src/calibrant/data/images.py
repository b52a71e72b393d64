"""Folders of image files, read as batches of pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from calibrant.data.input_source import Chunk
from calibrant.data.input_spec import InputSpec, OpenShape, Shape, show
from calibrant.data.option_types import ACCEPTED, Rows, check_types
from calibrant.errors import DataError, Problem, did_you_mean
from calibrant.regular_file import require_regular

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF")
"""What the content may be, whatever the name: others start programs (EPS)."""

MOST_PIXELS = 178_956_970
"""Of a picture, as Pillow has it."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Order:
    """The order in which the images of a folder are read.

    Parameters
    ----------
    spread : bool
        Whether to take one of each sub-folder in turns; otherwise they are sorted by path.
    shuffle : int | None
        Seed of a random order; None: the order given by ``spread``.
    """

    spread: bool = False
    shuffle: int | None = None

    def of(self, files: Sequence[Path]) -> list[Path]:
        """The files in this order; ``files`` is sorted by path."""
        if self.shuffle is not None:
            return [files[place] for place in np.random.default_rng(self.shuffle).permutation(len(files))]
        if not self.spread:
            return list(files)
        folders: dict[Path, list[Path]] = {}
        for file in files:
            folders.setdefault(file.parent, []).append(file)
        return [file for turn in zip_longest(*folders.values()) for file in turn if file is not None]


TYPES: Rows = {**ACCEPTED, "Order": (lambda value: isinstance(value, Order), "an Order")}


@dataclass(frozen=True)
class ImageOptions:
    """How images become arrays: cropped, resized, then ``(pixel * scale - mean) / std``.

    ``scale``, ``mean`` and ``std`` also apply to arrays (a ``scale`` of 1/255 turns the bytes of an idx file into
    0...1); the other options are for image files only.

    Parameters
    ----------
    size : tuple[int, int] | None
        (height, width) in pixels; None: those of the model's input.
    crop : float | None
        Fraction in (0, 1] of height and width that is kept around the centre before resizing.
    resize_side : int | None
        Length in pixels to which the shorter side is resized, before ``size`` is cut out of the centre. None: the whole
        image is resized to ``size``.
    scale : float
        Factor on the raw values, not 0.
    mean : float | Sequence[float]
        One number, or one per channel in the order of ``colour``.
    std : float | Sequence[float]
        One number above 0, or one per channel in the order of ``colour``.
    colour : str
        Order of the channels for the model, "RGB" or "BGR".
    layout : str | None
        "NHWC" or "NCHW"; None: as the model's shape suggests, NHWC in doubt.
    interpolation : str
        "nearest", "bilinear" or "bicubic" (with antialiasing when an image shrinks).
    order : Order
        The order in which the files of a folder are read.

    Raises
    ------
    DataError
        Options are out of range, or have another type; lists each of them.
    """

    size: tuple[int, int] | None = None
    crop: float | None = None
    resize_side: int | None = None
    scale: float = 1.0
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    colour: str = "RGB"
    layout: str | None = None
    interpolation: str = "bilinear"
    order: Order = Order()

    def __post_init__(self) -> None:
        check_types(self, TYPES)
        size = self.size
        if size is not None:
            height, width = map(int, size)
            size = height, width
            object.__setattr__(self, "size", size)
        with np.errstate(over="ignore", under="ignore"):
            scale, mean, std = (np.asarray(value, np.float32) for value in (self.scale, self.mean, self.std))
        rules = {
            "size": (size is None or min(size) > 0, "(height, width), both > 0"),
            "crop": (self.crop is None or 0 < self.crop <= 1, "a fraction in (0, 1]"),
            "resize_side": (self.resize_side is None or self.resize_side >= max(size or (1,)), ">= height and width"),
            "scale": (0 < abs(scale) < np.inf, "a finite number that float32 holds, not 0"),
            "mean": (
                mean.ndim <= 1 and bool(np.isfinite(mean).all()),
                "a finite number that float32 holds, or one per channel",
            ),
            "std": (
                std.ndim <= 1 and bool((np.isfinite(std) & (std > 0)).all()),
                "a finite number > 0 that float32 holds, or one per channel",
            ),
            "colour": (self.colour in ("RGB", "BGR"), "RGB or BGR"),
            "layout": (self.layout in (None, "NHWC", "NCHW"), "NHWC or NCHW"),
            "interpolation": (self.interpolation in _RESAMPLING, ", ".join(_RESAMPLING)),
        }
        problems = [
            Problem(f"{getattr(self, name)!r} is out of range", path=f"image option {name}", allowed=allowed)
            for name, (good, allowed) in rules.items()
            if not good
        ]
        if problems:
            raise DataError(*problems)

    @property
    def changes_values(self) -> bool:
        """Whether scale, mean or std change any value."""
        return self.scale != 1 or bool(np.any(self.mean)) or bool(np.any(np.asarray(self.std) != 1))

    def only_for_images(self) -> list[str]:
        """The options other than default that apply to image files only."""
        default = ImageOptions()
        names = ("size", "crop", "resize_side", "colour", "interpolation")
        return [name for name in names if getattr(self, name) != getattr(default, name)]

    def normalise(self, array: np.ndarray, spec: InputSpec) -> np.ndarray:
        """``(array * scale - mean) / std`` in float32.

        Raises
        ------
        DataError
            Mean or std have another number of values than the array has channels, or the input or the array does not
            hold numbers that can be scaled.
        """
        if not self.changes_values:
            return array
        path = f"input {spec.name!r}"
        if spec.dtype.kind != "f":
            raise DataError(Problem(f"scale, mean and std make floats, the input wants {spec.dtype.name}", path=path))
        if array.dtype.kind not in "biuf":
            raise DataError(Problem(f"scale, mean and std cannot be applied to data of type {array.dtype}", path=path))
        axis = 1 if layout_of(spec, self) == "NCHW" and array.ndim > 2 else array.ndim - 1
        mean, std = (self._per_channel(name, array.shape, axis, path) for name in ("mean", "std"))
        with np.errstate(all="ignore"):  # what is no number afterwards is refused with the batch
            result = array.astype(np.float32) * np.float32(self.scale)
            result -= mean
            result /= std
        return result

    def _per_channel(self, name: str, shape: Shape, axis: int, path: str) -> np.ndarray:
        values = np.asarray(getattr(self, name), np.float32)
        if values.ndim == 0:
            return values
        if len(shape) < 2 or values.size != shape[axis]:
            message = f"{name} has {values.size} values, axis {axis} of the data {show(shape)} is its channels"
            raise DataError(Problem(message, path=path))
        return values.reshape([-1 if index == axis else 1 for index in range(len(shape))])


def image_options_of(given: ImageOptions | Mapping[str, object] | None, size: Sequence[int] | None) -> ImageOptions:
    """The options that are given, as themselves or as a dict of their parameters, with this size instead of theirs.

    Raises
    ------
    DataError
        A name that is no option, or as of :class:`ImageOptions`.
    """
    if isinstance(given, Mapping):
        names = [field.name for field in fields(ImageOptions) if field.name != "order"]
        wrong = [
            Problem(f"{name!r} is no image option", allowed=", ".join(names), hint=did_you_mean(str(name), names))
            for name in given
            if name not in names
        ]
        if wrong:
            raise DataError(*wrong)
        given = ImageOptions(**cast("Mapping[str, Any]", given))
    options = given or ImageOptions()
    if size is None:
        return options
    return replace(options, size=cast("tuple[int, int]", tuple(size)))  # ImageOptions checks their number


def layout_of(spec: InputSpec, options: ImageOptions) -> str:
    """Layout of an input: as the option says; else NHWC, unless only axis 1 has 1, 3 or 4 channels."""
    if options.layout:
        return options.layout
    shape = spec.shape
    first = shape is not None and len(shape) == 4 and shape[3] not in (1, 3, 4) and shape[1] in (1, 3, 4)
    return "NCHW" if first else "NHWC"


class ImageSource:
    """The image files of a folder as uint8 pixels in the layout of the input.

    Parameters
    ----------
    files : Sequence[Path]
        In the order in which they are read.
    place : str
        The folder, as the user named it.
    spec : InputSpec
        The input.
    options : ImageOptions
        How images become arrays.

    Raises
    ------
    DataError
        The input is not an image, or neither the options nor the model fix its size.
    """

    cut = True
    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[Path], place: str, spec: InputSpec, options: ImageOptions):
        self._files = tuple(files)
        self._options = options
        self._spec = spec
        self._channels_first = layout_of(spec, options) == "NCHW"
        self._size, self._channels = _picture(spec, options, self._channels_first, place)
        self.place = place
        height, width = self._size
        sample = (self._channels, height, width) if self._channels_first else (height, width, self._channels)
        self.shape = (len(self._files), *sample)

    def count(self, batch_size: int) -> int:
        """Number of batches, a last one with fewer images included."""
        return -(-len(self._files) // batch_size)

    def chunks(self, batch_size: int) -> Iterator[Chunk]:
        """Decode one batch after another.

        Raises
        ------
        DataError
            A file is not a readable image.
        """
        for first in range(0, len(self._files), batch_size):
            pictures = [self._read(path) for path in self._files[first : first + batch_size]]
            yield Chunk(np.stack(pictures), file=self.place, first=first)

    def _read(self, path: Path) -> np.ndarray:
        require_regular(path, DataError)
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                eight_bits = _eight_bits(picture, str(path))
                pixels = np.asarray(self._resized(eight_bits.convert("L" if self._channels == 1 else "RGB")))
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
            message = f"the picture cannot be read: {error}"
            raise DataError(Problem(message, file=str(path), path=f"input {self._spec.name!r}")) from error
        if self._channels == 1:
            pixels = pixels[:, :, np.newaxis]
        elif self._options.colour == "BGR":
            pixels = pixels[:, :, ::-1]
        return pixels.transpose(2, 0, 1) if self._channels_first else pixels

    def _resized(self, picture: Image.Image) -> Image.Image:
        options = self._options
        height, width = self._size
        method = _RESAMPLING[options.interpolation]
        if options.crop is not None:
            picture = _centre(picture, round(picture.width * options.crop), round(picture.height * options.crop))
        if options.resize_side is not None:
            ratio = options.resize_side / min(picture.size)
            scaled = (max(width, round(picture.width * ratio)), max(height, round(picture.height * ratio)))
            if math.prod(scaled) > MOST_PIXELS:
                sides = f"{picture.width} x {picture.height}"
                raise ValueError(f"with resize_side its {sides} pixels become {scaled[0]} x {scaled[1]}")
            picture = _centre(picture.resize(scaled, method), width, height)
        return picture if picture.size == (width, height) else picture.resize((width, height), method)


def _eight_bits(picture: Image.Image, file: str) -> Image.Image:
    """The picture with 8 bits a channel: of 16, the high ones, as Pillow has it for colours and TensorFlow for all."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    if picture.format == "PNG":  # grey; older versions of Pillow call the mode I, newer ones I;16
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    raise DataError(
        Problem(
            f"the picture has pixels of mode {picture.mode}, of which nothing says how they become 0 ... 255",
            file=file,
            allowed="8 bits a channel, or a PNG with 16",
            hint="save the pictures as the model takes them, in a .npy file: np.save('images.npy', np.stack(ARRAYS))",
        )
    )


def _centre(picture: Image.Image, width: int, height: int) -> Image.Image:
    width, height = max(1, width), max(1, height)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _is_one_picture(shape: OpenShape) -> bool:
    """Whether an input takes one picture a run, [H, W, C], as behind the decoder of a JPEG file."""
    return len(shape) == 3 and shape[2] in (1, 3) and shape[0] != 1 and (shape[0] is not None or shape[1] is None)


def _picture(spec: InputSpec, options: ImageOptions, channels_first: bool, place: str) -> tuple[tuple[int, int], int]:
    """(height, width) and channels from the options, then from the input."""
    path = f"input {spec.name!r}"
    height: int | None = None
    width: int | None = None
    channels: int | None = None
    if spec.shape is not None and len(spec.shape) == 4:
        _, *sample = spec.shape
        channels, height, width = sample if channels_first else (sample[2], sample[0], sample[1])
    elif spec.shape is not None and _is_one_picture(spec.shape):
        height, width, channels = spec.shape
    elif spec.shape is not None and len(spec.shape) == 3:
        channels, (height, width) = 1, spec.shape[1:]
    elif spec.shape is not None and len(spec.shape) == 2 and options.size and spec.shape[1]:
        channels = spec.shape[1] // math.prod(options.size)
    height, width = options.size or (height, width)
    if height is None or width is None:
        raise DataError(
            Problem(
                "the size of the pictures is not known",
                file=place,
                path=path,
                hint="give height and width: --image-size 224,224, or image_size=(224, 224) in Python",
            )
        )
    longer = max(height, width)
    if options.resize_side is not None and options.resize_side < longer:
        message = f"{options.resize_side} is out of range"
        raise DataError(Problem(message, file=place, path="image option resize_side", allowed=f">= {longer}"))
    channels = 3 if channels is None else channels
    if channels not in (1, 3):
        message = f"pictures have 1 or 3 channels, the input {show(spec.shape)} is none"
        raise DataError(Problem(message, file=place, path=path))
    return (height, width), channels
