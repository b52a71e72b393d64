"""deq_scale: scale, shift and weight offset of one output channel in one uint64."""

from __future__ import annotations

import numpy as np

_SHIFT_AT, _OFFSET_AT = np.uint64(32), np.uint64(40)
_BYTE = np.uint64(0xFF)


def pack(scale: np.ndarray, shift: np.ndarray | int = 0, offset_w: np.ndarray | int = 0) -> np.ndarray:
    """Pack factors: bits 0-31 the float32 scale, bits 32-39 the shift, bits 40-47 offset_w as int8.

    Parameters
    ----------
    scale : np.ndarray
        Products scale_d * scale_w, float32, any shape.
    shift : np.ndarray | int
        N, 0 ... 255, broadcast to the shape of ``scale``.
    offset_w : np.ndarray | int
        -128 ... 127, broadcast to the shape of ``scale``.

    Returns
    -------
    np.ndarray
        The packed values, uint64, in the shape of ``scale``.

    Raises
    ------
    ValueError
        Shift or offset_w outside its range.
    """
    scale = np.asarray(scale, np.float32)
    shift, offset_w = (np.broadcast_to(np.asarray(value, np.int64), scale.shape) for value in (shift, offset_w))
    if np.any((shift < 0) | (shift > 255)):
        raise ValueError(f"a shift must be in [0, 255], not {shift.min()} … {shift.max()}")
    if np.any((offset_w < -128) | (offset_w > 127)):
        raise ValueError(f"offset_w must be in [-128, 127], not {offset_w.min()} … {offset_w.max()}")
    low = np.ascontiguousarray(scale).view(np.uint32).reshape(scale.shape).astype(np.uint64)
    return (
        low
        | (shift.astype(np.uint64) << _SHIFT_AT)
        | (offset_w.astype(np.int8).view(np.uint8).astype(np.uint64) << _OFFSET_AT)
    )


def unpack(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The factors of packed uint64 values: scale (float32), shift (int32), offset_w (int32), in their shape.

    Bits 48-63 are not looked at.
    """
    packed = np.asarray(packed, np.uint64)
    scale = np.ascontiguousarray((packed & np.uint64(0xFFFFFFFF)).astype(np.uint32)).view(np.float32)
    shift = ((packed >> _SHIFT_AT) & _BYTE).astype(np.int32)
    offset_w = np.ascontiguousarray(((packed >> _OFFSET_AT) & _BYTE).astype(np.uint8)).view(np.int8).astype(np.int32)
    return scale.reshape(packed.shape), shift, offset_w.reshape(packed.shape)
