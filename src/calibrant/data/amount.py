"""How much data calibrates: what was asked for, or as many batches as hold DEFAULT_SAMPLES samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from calibrant.data.batches import Batches
from calibrant.data.input_spec import InputSpec
from calibrant.data.option_types import plain_number
from calibrant.errors import DataError, Problem
from calibrant.fed_shapes import FedShapes

DEFAULT_SAMPLES = 64
FEWEST_SAMPLES = 32
ALL = "all"
KEEP_ORDER = "is a dataset shuffled anew each time? shuffle(..., reshuffle_each_iteration=False)"
CHANGED = (
    "the data are not the same when they are read again, so that ranges were refined, and outputs compared, by others "
    f"than were observed; {KEEP_ORDER}"
)


def sample_limit(samples: Any) -> int | None:
    """The limit that ``samples`` means: a number, ``'all'`` (None), or None (DEFAULT_SAMPLES).

    Raises
    ------
    DataError
        It is something else.
    """
    if samples is None:
        return DEFAULT_SAMPLES
    if samples == ALL:
        return None
    number = plain_number(samples)
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        return number
    raise DataError(Problem(f"samples is {samples!r}", allowed=f"a whole number above 0, or {ALL!r}"))


def used_sentence(used: int, available: int | None, place: str) -> str:
    """``using 64 of 1,000 samples; ...``: how much of the data calibrates, and how to use more."""
    if available is None:
        return f"using {used:,} samples of {place}; --samples / batch_num for more"
    if used >= available:
        return "using the only sample" if used == 1 else f"using all {used:,} samples"
    return f"using {used:,} of {available:,} samples; --samples / batch_num for more"


def part_sentence(part: range, count: int | None, samples: int | None) -> str:
    """``using batches 0:2 of the 4 that hold 64 samples``: which of the batches are observed, of how many."""
    numbers = f"using batches {part.start}:{part.stop}"
    if count is None:
        return numbers
    return f"{numbers} of {count}" if samples is None else f"{numbers} of the {count} that hold {samples:,} samples"


@dataclass(frozen=True)
class DataUse:
    """The data that calibrated.

    Parameters
    ----------
    batches, samples : int
        Number of batches, and of samples in them.
    available : int | None
        Number of samples in the source; None if only reading all of it tells.
    warnings : tuple[str, ...]
        Sentences about data that make the ranges doubtful.
    fingerprint : str | None
        SHA-256 of the values.
    repeated : str | None
        That most of the first samples are copies, in words.
    one_a_run : bool
        Whether each batch is one sample, as of :class:`calibrant.data.batches.Batches`.
    fed : FedShapes | None
        Shapes of the first batch, as there.
    """

    batches: int
    samples: int
    available: int | None
    warnings: tuple[str, ...] = ()
    fingerprint: str | None = None
    repeated: str | None = None
    one_a_run: bool = False
    fed: FedShapes | None = None

    @classmethod
    def of(cls, batches: Batches) -> DataUse:
        """What was read of batches that have been iterated."""
        count, samples = batches.usage()
        pictures = {spec.name: _is_picture(spec) for spec in batches.inputs}
        told = {spec.name for spec in batches.inputs if spec.is_read and spec.shape != ()}
        extremes = {name: values for name, values in batches.seen.of.items() if name in told}
        warnings = data_warnings(samples, extremes, pictures)
        is_constant = extremes and all(low == high for low, high in extremes.values())
        if batches.repeated is not None and not is_constant:
            warnings.append(f"{batches.repeated}; give {FEWEST_SAMPLES} different ones or more")
        warnings += [
            f"all {samples} samples go with the same values of input {name!r}, from which alone its range comes; where "
            "they differ from run to run, give an iterable of batches (dicts) with several"
            for name in batches.unvaried
            if samples > 1 and extremes.get(name, (0, 0))[0] < extremes.get(name, (0, 0))[1]
        ]
        found = count, samples, batches.available, tuple(warnings), batches.fingerprint, batches.repeated
        return cls(*found, batches.one_a_run, batches.fed)

    def read_again(self, batches: Batches) -> DataUse:
        """The same, with a warning if the batches have been other ones when they were read once more."""
        return replace(self, warnings=(*self.warnings, CHANGED)) if batches.has_changed else self


def _is_picture(spec: InputSpec) -> bool:
    return spec.shape is not None and len(spec.shape) == 4 and 3 in (spec.shape[1], spec.shape[3])


def data_warnings(used: int, extremes: Mapping[str, tuple[float, float]], pictures: Mapping[str, bool]) -> list[str]:
    """What about the calibration data makes the ranges doubtful, one sentence each.

    Parameters
    ----------
    used : int
        Number of samples that calibrate.
    extremes : Mapping[str, tuple[float, float]]
        Smallest and largest value of each input.
    pictures : Mapping[str, bool]
        For each input, whether its shape is that of images with three channels.
    """
    warnings = []
    if used < FEWEST_SAMPLES:
        warnings.append(
            f"{used} {'sample calibrates' if used == 1 else 'samples calibrate'}; give {FEWEST_SAMPLES} or more"
        )
    is_constant = bool(extremes) and all(low == high for low, high in extremes.values())
    for name, (low, high) in extremes.items():
        values = f"the values of input {name!r} are {low:.4g} .. {high:.4g}"
        if low == high == 0 and not is_constant:
            continue  # an initial state beside the data
        if low == high:
            warnings.append(f"every value of input {name!r} is {low + 0.0:g}; these data calibrate nothing")
        elif pictures.get(name) and max(-low, high) > 300:
            warnings.append(f"{values}, but pictures are 0 .. 255, 0 .. 1 or about -3 .. 3; check scale, mean and std")
        elif pictures.get(name) and high - low < 0.05:
            warnings.append(f"{values}, a narrow range for pictures; are they scaled twice? check scale, mean and std")
        elif high - low < 1e-3 * max(-low, high):
            warnings.append(f"{values}, nearly constant beside their size; is their mean to be subtracted?")
        elif max(-low, high) > 1e6:
            warnings.append(f"{values}, far larger than features of networks are; check the preprocessing")
    return warnings
