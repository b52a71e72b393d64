"""Convert arrays to the type and shape of a model's input, or say why they do not fit."""

from __future__ import annotations

import math

import numpy as np

from calibrant.data.input_source import Chunk
from calibrant.data.input_spec import InputSpec, OpenShape, Shape, show, static_shape
from calibrant.errors import DataError, Problem


class Extremes:
    """The smallest and the largest value of each input."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[float, float]] = {}

    def add(self, name: str, low: float, high: float) -> None:
        """Add the extremes of a batch."""
        lowest, highest = self.of.get(name, (low, high))
        self.of[name] = min(low, lowest), max(high, highest)


def coerce(piece: Chunk, spec: InputSpec, seen: Extremes | None = None) -> np.ndarray:
    """The chunk as a C-contiguous array of the input's type and shape, with finite values only.

    Types are converted if every value is kept (uint8 pixels for a float32 input, int64 tokens for an int32 one), and
    from float to float; floats for an integer input are refused. Shapes: see :func:`fit_shape`. The extremes of floats
    are added to ``seen``.

    Raises
    ------
    DataError
        Names the file, the input and, for a value, its place.
    """
    array = piece.array
    shape = fit_shape(array.shape, spec.shape)
    if shape is None:
        raise DataError(shape_problem(array.shape, spec, piece.file, piece.label))
    array = _convert(array, spec, piece).reshape(shape)
    _check_finite(array, spec, piece, seen)
    return array


def refuse_masked(value: object, name: str) -> None:
    """Raise an error for an array with masked values, which would become the numbers behind the mask."""
    if np.ma.is_masked(value):
        hint = "say what they are: array.filled(0), or leave their samples out"
        raise DataError(Problem("values of the array are masked", path=f"input {name!r}", hint=hint))


def fit_shape(found: Shape, wanted: OpenShape | None) -> Shape | None:
    """The shape in which the data fit the input, or None if they do not fit.

    The first dimension is the batch. Samples fit as they are, or by adding and dropping dimensions of size 1
    ([N, 49, 10] for [N, 49, 10, 1]), or by flattening or unflattening the whole sample in row-major order
    ([N, 28, 28] for [N, 784]). Everything else could mean several things and does not fit.
    """
    if wanted is None or (len(found) == len(wanted) and agree(found, wanted)):
        return found
    if not wanted:
        return () if math.prod(found) == 1 else None
    if found and agree(found[:1], wanted[:1]):
        sample = _fit_sample(found[1:], wanted[1:])
        if sample is not None:
            return (found[0], *sample)
    return None


def any_batch(shape: OpenShape | None) -> OpenShape | None:
    """The shape of an input with any number of samples."""
    return (None, *shape[1:]) if shape else shape


def shape_problem(found: Shape, spec: InputSpec, file: str | None, label: str | None) -> Problem:
    """The problem of data that :func:`fit_shape` refuses."""
    hint = None
    sample = static_shape(spec.shape[1:]) if spec.shape is not None and len(found) == len(spec.shape) else None
    if spec.shape is not None and sample is not None:
        if found[1:] == sample:
            hint = f"the model's batch is fixed at {spec.shape[0]}"
        elif sorted(found[1:]) == sorted(sample):
            hint = "the axes are in another order; transpose the data"
    elif spec.shape is not None and len(found) == len(spec.shape) - 1 and agree(found, spec.shape[1:]):
        hint = "is this one sample? it needs an axis for the batch: array[np.newaxis]"
    elif spec.has_samples and spec.shape is not None and len(found) == len(spec.shape) + 1 and found[1:] == spec.shape:
        merged = ", ".join(map(str, (-1, *spec.shape[1:])))
        hint = f"the first axis of the input is of samples, as an output has it: array.reshape({merged})"
    where = f"{label}: " if label else ""
    return Problem(
        f"{where}the data have shape {show(found)}, the input wants {show(spec.shape)}",
        file=file,
        path=f"input {spec.name!r}",
        hint=hint,
    )


def dtype_problem(found: np.dtype, spec: InputSpec, file: str | None, label: str | None) -> Problem | None:
    """The problem of a type that can never become the input's, or None; values are checked by :func:`coerce`."""
    wanted = spec.dtype
    if wanted.kind == "O":
        possible = found.kind in "OSU"
    elif _is_floating(found):
        possible = wanted.kind not in "biu"
    else:
        possible = found == wanted or found.kind in "biu"
    if possible:
        return None
    where = f"{label}: " if label else ""
    message = f"{where}the data are {type_name(found)}, the input wants {wanted_type(spec)}"
    return Problem(message, file=file, path=f"input {spec.name!r}", hint=_conversion(found, spec))


def _is_floating(dtype: np.dtype) -> bool:
    """NumPy takes TensorFlow's bfloat16 for bytes without a meaning."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _conversion(found: np.dtype, spec: InputSpec) -> str | None:
    """How to make the values of a type fit that are not converted here."""
    if _is_floating(found):
        return "scale and round the data yourself, the right way to do so is not known here"
    if found.kind == "V" and found.itemsize == 2 and not found.names:
        return "if it was bfloat16, which NumPy files do not say: save array.astype('float32')"
    if found.names:
        return f"give one field as an array: array[{found.names[0]!r}]"
    return f"if they are numbers: array.astype({spec.dtype.name!r})" if found.kind == "O" else None


def type_name(dtype: np.dtype) -> str:
    """The type of an array as a message calls it."""
    if dtype.names:
        return f"structured records ({', '.join(dtype.names)})"
    if dtype.kind == "O":
        return "Python objects"
    return "strings" if dtype.kind in "SU" else dtype.name


def wanted_type(spec: InputSpec) -> str:
    """The type of an input as a message calls it; TensorFlow's strings are Python objects to NumPy."""
    return "strings" if spec.dtype.kind == "O" else spec.dtype.name


def agree(found: OpenShape, wanted: OpenShape) -> bool:
    """Whether shapes of as many axes have the same sizes, where both are known."""
    return all(None in pair or pair[0] == pair[1] for pair in zip(found, wanted, strict=True))


def _fit_sample(found: Shape, wanted: OpenShape) -> Shape | None:
    fitted = _without_ones(found, wanted)
    static = static_shape(wanted)
    if fitted is not None or static is None or math.prod(found) != math.prod(static):
        return fitted
    flat = 1 in (sum(size != 1 for size in found), sum(size != 1 for size in static))
    return static if flat else None


def _without_ones(found: Shape, wanted: OpenShape) -> Shape | None:
    kept = [size for size in found if size != 1]
    asked = [size for size in wanted if size != 1]
    if len(kept) != len(asked) or not agree(tuple(kept), tuple(asked)):
        return None
    remaining = iter(kept)
    return tuple(1 if size == 1 else next(remaining) for size in wanted)


def _convert(array: np.ndarray, spec: InputSpec, piece: Chunk) -> np.ndarray:
    problem = dtype_problem(array.dtype, spec, piece.file, piece.label)
    if problem is not None:
        raise DataError(problem)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(array, dtype=spec.dtype)
    exact = _is_floating(array.dtype) or spec.dtype.kind == "O" or np.can_cast(array.dtype, spec.dtype, "safe")
    if not exact and not _same_integers(array, converted):
        message = f"{_at(piece)}the data are {type_name(array.dtype)} and hold values that {wanted_type(spec)} cannot"
        raise DataError(Problem(message, file=piece.file, path=f"input {spec.name!r}"))
    return converted


def _same_integers(array: np.ndarray, converted: np.ndarray) -> bool:
    if array.size == 0:
        return True
    if converted.dtype.kind == "b":
        return bool(((array == 0) | (array == 1)).all())
    if converted.dtype.kind in "iu":
        limits = np.iinfo(converted.dtype)
        return int(array.min()) >= limits.min and int(array.max()) <= limits.max
    largest = max(abs(int(array.min())), abs(int(array.max())))
    return largest <= 2 ** (np.finfo(converted.dtype).nmant + 1) if converted.dtype.kind == "f" else True


def _check_finite(array: np.ndarray, spec: InputSpec, piece: Chunk, seen: Extremes | None) -> None:
    if array.dtype.kind != "f" or array.size == 0:
        return
    low, high = float(array.min()), float(array.max())
    if math.isfinite(low) and math.isfinite(high):
        if seen is not None:
            seen.add(spec.name, low, high)
        return
    finite = np.isfinite(array)
    place = tuple(int(index) for index in np.argwhere(~finite)[0])
    value = {True: "NaN"}.get(bool(np.isnan(array[place])), "Inf")
    if value == "Inf" and np.isfinite(np.asarray(piece.array).reshape(array.shape)[place]):
        value = f"a value too large for {wanted_type(spec)}"
    sample, index = "", place[1:]
    if piece.is_sample:
        index = place
    elif place:
        sample = f"sample {place[0]} of it, " if piece.first is None else f"sample {piece.first + place[0]}, "
    count = int((~finite).sum())
    values = "1 such value" if count == 1 else f"{count} such values"
    message = f"{_at(piece)}{value} at {sample}index {list(index)}; {values} in this batch"
    raise DataError(Problem(message, file=piece.file, path=f"input {spec.name!r}"))


def _at(piece: Chunk) -> str:
    return f"{piece.label}: " if piece.label else ""
