"""What two runs that do the same thing write the same: everything but the report's part ``run``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def reproducible(files: Mapping[str, bytes] | Path) -> dict[str, object]:
    """Name → content of the files of a result; of report.json all but when and how fast it was made."""
    contents = {path.name: path.read_bytes() for path in files.iterdir()} if isinstance(files, Path) else dict(files)
    report = json.loads(contents["report.json"])
    report.pop("run", None)
    return {**contents, "report.json": report}
