"""The rules for the values of a record entry; each finding names its field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from calibrant.algorithms.arithmetic import SMALLEST_SCALE

_SCALE = f"a finite number of {SMALLEST_SCALE:.9g} or more"
_FACTOR = "a finite number above 0"
_REPEATED = ("scale_w", "offset_w", "shift_bit", "cluster", "tensor_balance_factor")
_WEIGHT_BITS = {"INT6": 6, "INT7": 7, "INT8": 8}
_TYPES = {"dst_type": ("INT8", "INT16"), "act_type": ("INT8",), "wts_type": tuple(_WEIGHT_BITS)}


@dataclass(frozen=True)
class Finding:
    """One value that is not allowed; ``index`` of the ``count`` values of a repeated field."""

    field: str
    message: str
    allowed: str
    index: int | None = None
    count: int = 1

    @property
    def path(self) -> str:
        """The field inside its entry."""
        path = self.field if self.field in ("key", "value") else f"value.{self.field}"
        return path if self.index is None else f"{path}[{self.index}]"


def entry_findings(entry: Message) -> Iterator[Finding]:
    """Everything that is wrong with one entry, apart from the other entries."""
    if not entry.key:
        yield Finding("key", "a record without the name of its layer", 'key: "layer"')
    if not entry.HasField("value"):
        yield Finding("value", "a record without factors", "value { … }")
    value = entry.value
    for field in ("scale_d", "scale_w"):
        yield from _each(value, field, lambda number: _is_factor(number) and number >= SMALLEST_SCALE, _SCALE)
    yield from _each(value, "tensor_balance_factor", _is_factor, _FACTOR)
    yield from _each(value, "offset_d", lambda number: -128 <= number <= 127, "-128 … 127")
    half = 1 << (_WEIGHT_BITS.get(value.wts_type, 8) - 1)
    allowed = f"{-half} … {half - 1}" + (f" with the wts_type {value.wts_type}" if half < 128 else "")
    yield from _each(value, "cluster", lambda number: -half <= number < half, allowed)
    yield from _each(value, "offset_w", lambda number: number == 0, "0, weights are symmetric")
    yield from _each(value, "shift_bit", lambda number: number <= 31, "0 … 31")
    for field, types in _TYPES.items():
        yield from _each(value, field, types.__contains__, ", ".join(types))
    yield from _together(value)


def _each(value: Message, field: str, fits: Callable[[float], bool], allowed: str) -> Iterator[Finding]:
    repeated = field in _REPEATED
    if not repeated and not value.HasField(field):
        return
    numbers = getattr(value, field) if repeated else [getattr(value, field)]
    for index, number in enumerate(numbers):
        if not fits(number):
            shown = repr(number) if isinstance(number, str) else f"{number:.9g}"
            yield Finding(field, f"{field} is {shown}", allowed, index if repeated else None, len(numbers))


def _is_factor(number: float) -> bool:
    return math.isfinite(number) and number > 0


def _together(value: Message) -> Iterator[Finding]:
    """Fields that depend on each other."""
    weights = len(value.scale_w)
    if value.HasField("offset_d") and not value.HasField("scale_d"):
        yield Finding("offset_d", "offset_d without scale_d", "both or none")
    if len(value.offset_w) not in (0, weights):
        message = f"{len(value.offset_w)} offset_w beside {weights} scale_w"
        yield Finding("offset_w", message, "one for each scale_w, or none")
    if len(value.shift_bit) not in (0, 1, weights):
        message = f"{len(value.shift_bit)} shift_bit beside {weights} scale_w"
        yield Finding("shift_bit", message, "one, one for each scale_w, or none")
    if value.dst_type == "INT16" and not weights:
        yield Finding("dst_type", "dst_type INT16 without scale_w", "INT8 for anything but layers with weights")
    if value.dst_type == "INT16" and value.offset_d:
        yield Finding("offset_d", f"offset_d is {value.offset_d} beside the dst_type INT16", "0 with 16 bits")
    if value.cluster and not weights:
        yield Finding("cluster", "cluster without scale_w", "levels of a layer with weights")
    if len(set(value.cluster)) < len(value.cluster):
        yield Finding("cluster", "a level of the cluster is there twice", "distinct levels")
