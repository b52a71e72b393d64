"""Options that say how data files become batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from calibrant.errors import DataError

_OPTIONS = (
    click.option("--batch-size", type=click.IntRange(min=1), help="Samples a batch (default 16, or the model's own)."),
    click.option(
        "--shuffle",
        type=click.IntRange(min=0),
        help="Take the images of a folder in random order; the seed. Not beside --labels.",
    ),
    click.option("--input_shape", "--input-shape", help='Shapes of .bin data: "name:n,h,w,c;name:…".'),
    click.option(
        "--data_types", "--data-types", "--data_type", help='Types of .bin data, in input order: "float32;…".'
    ),
    click.option("--image-size", help="Height and width that images are resized to: 224,224."),
    click.option("--crop", type=float, help="Central fraction of each image that is kept before resizing."),
    click.option(
        "--resize-side", type=int, help="Resize the shorter side to this, then cut the size out of the centre."
    ),
    click.option("--scale", help="Factor on raw values, a number or a fraction like 1/255."),
    click.option("--mean", help="Mean to subtract: one number, or one per channel."),
    click.option("--std", help="Standard deviation to divide by: one number, or one per channel."),
    click.option("--colour", "--color", type=click.Choice(["RGB", "BGR"]), help="Order of colour channels (RGB)."),
)

ABOUT_FILES = ("input_shape", "data_types", "image_size", "crop", "resize_side", "scale", "mean", "std", "colour")
"""Options that the library calls otherwise."""


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what labels mean."""
    for option in (
        click.option("--output", help="Which of several outputs the labels belong to."),
        click.option(
            "--ignore-label",
            type=int,
            multiple=True,
            help="Samples, or positions of sequences and maps, with this label do not count.",
        ),
        click.option(
            "--label-offset",
            type=int,
            default=0,
            help="Added to class numbers: 1 where the model counts a background class first.",
        ),
    ):
        command = option(command)
    return command


def samples_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that says how many samples calibrate."""
    text = "How many samples calibrate at most, in whole batches, or all; else batch_num of the configuration, or 64."
    return click.option("--samples", callback=_samples, help=text)(command)


def _samples(context: click.Context, parameter: click.Parameter, text: str | None) -> int | str | None:
    if text is None or text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor 'all'") from None


def library_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a command as keywords of the library: those about data in its words, the others as they are."""
    result = {name: value for name, value in options.items() if name not in ABOUT_FILES}
    if options["input_shape"]:
        result["shapes"] = _shapes(options["input_shape"])
    if options["data_types"]:
        result["dtypes"] = _dtypes(options["data_types"], list(result.get("shapes", {})))
    images = {
        "size": _integers("--image-size", options["image_size"]),
        "crop": options["crop"],
        "resize_side": options["resize_side"],
        "scale": _fraction(options["scale"]),
        "mean": _numbers("--mean", options["mean"]),
        "std": _numbers("--std", options["std"]),
        "colour": options["colour"],
    }
    chosen = {key: value for key, value in images.items() if value is not None}
    if chosen:
        from calibrant.data.images import ImageOptions

        result["image_options"] = ImageOptions(**chosen)
    return result


def _shapes(text: str) -> dict[str, tuple[int | None, ...]]:
    from calibrant.data.input_spec import parse_input_shapes

    with _bad_parameter("--input_shape"):
        return parse_input_shapes(text)


def _dtypes(text: str, names: list[str]) -> dict[str, Any]:
    from calibrant.data.input_spec import parse_data_types

    if not names:
        raise click.BadParameter("give --input_shape with a name for each type", param_hint="--data_types")
    with _bad_parameter("--data_types"):
        return dict(parse_data_types(text, names))


@contextmanager
def _bad_parameter(option: str) -> Iterator[None]:
    """Turn a DataError into click's error, which names the option."""
    try:
        yield
    except DataError as error:
        message = "; ".join(
            f"{problem.message}, allowed: {problem.allowed}" if problem.allowed else problem.message
            for problem in error.problems
        )
        raise click.BadParameter(message, param_hint=option) from None


def _fraction(text: str | None) -> float | None:
    if text is None:
        return None
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / (float(denominator) if slash else 1)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{text!r} is neither a number nor a fraction", param_hint="--scale") from None


def _numbers(option: str, text: str | None) -> float | tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers", param_hint=option) from None
    return values[0] if len(values) == 1 else values


def _integers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 2):
        raise click.BadParameter(f"{text!r} is not height,width", param_hint=option)
    return values if len(values) == 2 else values * 2
