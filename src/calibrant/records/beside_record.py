"""``RECORD.calibration.json``: what a calibration found and the record file has no field for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

VERSION = 1


@dataclass(frozen=True)
class CalibrationNotes:
    """What belongs to one record file and is not in it.

    Parameters
    ----------
    layers : keys of the record file.
    do_fusion, skip_fusion_layers, force_float16_scale : of the configuration.
    bias_corrections : layer → what its bias holds more than the float network's, one number per output channel.
    """

    layers: Sequence[str]
    do_fusion: bool = True
    skip_fusion_layers: Sequence[str] = ()
    force_float16_scale: bool = False
    bias_corrections: Mapping[str, Sequence[float]] | None = None


def notes_path(record_file: Path) -> Path:
    """The file beside a record file."""
    return record_file.with_name(f"{record_file.name}.calibration.json")


def notes_text(notes: CalibrationNotes, record_text: str) -> str:
    """The content of the file; it knows the record file by its content."""
    return json.dumps({"version": VERSION, "record_sha256": _digest(record_text), **asdict(notes)}) + "\n"


def read_notes(record_file: Path) -> tuple[CalibrationNotes | None, bool]:
    """The notes beside a record file, None where there are none; and whether the record file is the one they are about.

    A file that is damaged is as good as none.
    """
    try:
        content = json.loads(notes_path(record_file).read_text(encoding="utf-8"))
        if content.pop("version") != VERSION:
            return None, False
        digest = content.pop("record_sha256")
        return CalibrationNotes(**content), digest == _digest(record_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
