"""What two runs that do the same thing write the same: everything but the report's part ``run``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

OF_THE_PAGE = ("verdict", "findings", "error_growth", "data_check", "distributions")


def reproducible(files: Mapping[str, bytes] | Path, page: bool = True) -> dict[str, object]:
    """Name → content of the files of a result; of report.json all but when and how fast it was made.

    ``report.html`` is left out: it is made of report.json alone. With ``page`` false, so is what is measured for it,
    which needs an output folder and data that can be read again.
    """
    contents = {path.name: path.read_bytes() for path in files.iterdir()} if isinstance(files, Path) else dict(files)
    contents.pop("report.html", None)
    report = json.loads(contents["report.json"])
    for name in ("run", *(() if page else OF_THE_PAGE)):
        report.pop(name, None)
    return {**contents, "report.json": report}
