"""What code of the user returned: as a number, and in a message."""

from __future__ import annotations

import math
from typing import Any

from calibrant.data.option_types import plain_number


def returned_number(value: Any) -> float | None:
    """The value as a float, which may be infinite; None for what is no single real number, and for NaN."""
    value = plain_number(value)
    if isinstance(value, (str, bytes, bytearray)) or len(getattr(value, "shape", ())):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def shown(value: Any) -> str:
    """The beginning of how the value is written, on one line."""
    return f"{' '.join(repr(value).split()):.80}"
