"""What becomes of a damaged input."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from calibrant.errors import CalibrantError


def verdict_of(call: Callable[[], object]) -> str:
    """``accepted``, ``refused``, or what else a call ended in."""
    try:
        call()
    except CalibrantError:
        return "refused"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {str(error)[:150]}"
    return "accepted"
