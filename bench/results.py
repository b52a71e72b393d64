"""``bench.json``: what was measured, each script under names of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

FILE = Path("bench.json")


def everything() -> dict[str, Any]:
    """What the file holds."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def store(found: dict[str, Any]) -> None:
    """Put what was found under its names, with the date, and keep everything else that the file holds."""
    known = everything()
    dates = {**known.get("measured", {}), **dict.fromkeys(found, time.strftime("%Y-%m-%d"))}
    FILE.write_text(json.dumps({**known, **found, "measured": dates}, indent=2) + "\n")
