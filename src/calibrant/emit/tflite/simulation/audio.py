"""Custom operators of LiteRT that make features of sounds, as TensorFlow operations.

They stand for TensorFlow's own operations, so their rows are named as these are. The default resolver of LiteRT has
them, and so has every interpreter.
"""

from __future__ import annotations

from typing import Any

from flatbuffers import flexbuffers

from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.simulation.rows import Row, raw


def _with_its_attributes(operation: str, *inputs: str) -> Row:
    def row(s: Any, o: Operator) -> Any:
        return raw(operation, *inputs, **flexbuffers.Loads(bytes(o.raw.customOptions)))(s, o)

    return row


AUDIO: dict[str, Row] = {
    "AudioSpectrogram": _with_its_attributes("AudioSpectrogram", "input"),
    "Mfcc": _with_its_attributes("Mfcc", "spectrogram", "sample_rate"),
}
