"""``bench.json``: what was measured, each script under names of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path("bench.json")


def stored(name: str) -> dict[str, Any]:
    """What the file holds under a name; nothing, where it holds nothing."""
    return json.loads(FILE.read_text()).get(name, {}) if FILE.exists() else {}


def store(found: dict[str, Any]) -> None:
    """Put what was found under its names and keep everything else that the file holds."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps({**known, **found}, indent=2) + "\n")
