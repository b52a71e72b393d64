"""``RECORD.calibration.json``: results of a calibration for which the record file has no field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from calibrant.json_text import read_json

VERSION = 1


@dataclass(frozen=True)
class CalibrationNotes:
    """What belongs to one record file but has no field in it.

    Parameters
    ----------
    layers : Sequence[str]
        Keys of the record file.
    do_fusion : bool
        As in the configuration.
    skip_fusion_layers : Sequence[str]
        As in the configuration.
    force_float16_scale : bool
        As in the configuration.
    bias_corrections : Mapping[str, Sequence[float]] | None
        By layer, what is added to the bias of the float network, one number per output channel.
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
    """The content of the file, with a digest of the record file's text."""
    return json.dumps({"version": VERSION, "record_sha256": _digest(record_text), **asdict(notes)}) + "\n"


def read_notes(record_file: Path) -> tuple[CalibrationNotes | None, bool]:
    """The notes beside a record file, or None; and whether they were written for this very record file.

    A damaged file counts as none.
    """
    try:
        content = read_json(notes_path(record_file))
        if content.pop("version") != VERSION:
            return None, False
        digest = content.pop("record_sha256")
        return CalibrationNotes(**content), digest == _digest(record_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
