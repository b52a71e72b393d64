"""The arithmetic of one quantizer: range to scale and offset, values to codes and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # below it, a reciprocal or a product is denormal
LARGEST_16_BIT_CODE = 127 * 256 + 127  # the largest sum of 256 times an INT8 code and another INT8 code
SCALE_OF_ZEROS_16 = 1 / 256
"""Of 16 bits where all values are zero: the upper INT8 code has scale 1, so biases have the steps they have with 8."""
_SMALLEST_FLOAT16 = np.float16(2.0**-24)
_LARGEST_FLOAT16 = np.finfo(np.float16).max


@dataclass(frozen=True)
class Quantizer:
    """A uniform quantizer: ``q = clip(rint(x * inverse) + offset, lowest, highest)``, ``x' = (q - offset) * scale``.

    Rounding is to nearest, ties to even. Everything is float32, operation for operation what the simulating graph
    (Mul, Round, AddV2, clip, Sub, Mul) computes, so both agree bit for bit. Real zero is always representable.

    Parameters
    ----------
    scale : np.float32
        Distance of two neighbouring levels in real units; positive and finite, held as float32.
    offset : int
        The code of real zero, one of the codes of :func:`code_limits`.
    bits : int
        Width of the codes, 2 to 16.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    scale: np.float32
    offset: int
    bits: int = 8

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            object.__setattr__(self, "scale", np.float32(self.scale))
        object.__setattr__(self, "offset", int(self.offset))
        object.__setattr__(self, "bits", _checked_bits(self.bits))
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a positive finite float32, not {self.scale}")
        if not self.lowest <= self.offset <= self.highest:
            raise ValueError(f"offset must be in [{self.lowest}, {self.highest}], not {self.offset}")

    @classmethod
    def from_range(cls, low: float, high: float, bits: int = 8, asymmetric: bool = True) -> Quantizer:
        """The quantizer for the real range [low, high], widened to contain zero.

        The scale is rounded to float32 first and the offset is computed from that scale. A range of zero width
        (all-zero data) gets scale 1, with 16 bits SCALE_OF_ZEROS_16, with real zero at the lowest code when asymmetric,
        at 0 otherwise. Any other range has its own scale, however small, down to SMALLEST_SCALE.

        Raises
        ------
        ValueError
            The range is not finite, or low > high.
        """
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise ValueError(f"a range must be finite and in order, not [{low}, {high}]")
        scales, offsets = qparams_from_ranges(np.array([low]), np.array([high]), _checked_bits(bits), asymmetric)
        return cls(scales[0], int(offsets[0]), int(bits))

    @property
    def inverse(self) -> np.float32:
        """The float32 reciprocal of the scale, by which values are multiplied."""
        return np.float32(1) / self.scale

    @property
    def accumulator_scale(self) -> np.float32:
        """The scale of what an INT8 layer multiplies: with 16 bits that of the upper INT8 code, 256 times the scale."""
        return self.scale * np.float32(256) if self.bits == 16 else self.scale

    @property
    def lowest(self) -> int:
        """The lowest code, as of :func:`code_limits`."""
        return code_limits(self.bits)[0]

    @property
    def highest(self) -> int:
        """The highest code, as of :func:`code_limits`."""
        return code_limits(self.bits)[1]

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest real value that can be represented."""
        low, high = self.dequantize(np.array([self.lowest, self.highest]))
        return float(low), float(high)

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Codes of finite real values: int8 up to 8 bits, int32 above; the shape is kept."""
        return self._codes(values).astype(np.int8 if self.bits <= 8 else np.int32)

    def dequantize(self, codes: np.ndarray) -> np.ndarray:
        """The real values (float32) of codes; infinite where float32 does not reach."""
        with np.errstate(over="ignore"):
            return (np.asarray(codes).astype(np.float32) - np.float32(self.offset)) * self.scale

    def fake_quantize(self, values: np.ndarray) -> np.ndarray:
        """Quantize and dequantize: ``values`` as float32 after the loss of quantization; NaN stays NaN."""
        return (self._codes(values) - np.float32(self.offset)) * self.scale

    def _codes(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            codes = np.rint(np.asarray(values, np.float32) * self.inverse) + np.float32(self.offset)
        return np.clip(codes, np.float32(self.lowest), np.float32(self.highest))

    def with_float16_scale(self) -> Quantizer:
        """This quantizer with its scale rounded to the nearest float16 (FORCE_FP16_QUANT), still held as float32.

        The offset is kept. Scales outside float16's range saturate: above 65504 to 65504 (the largest values clip),
        below 2^-24 to 2^-24.
        """
        with np.errstate(over="ignore", under="ignore"):
            rounded = np.float16(self.scale)
        rounded = min(max(rounded, _SMALLEST_FLOAT16), _LARGEST_FLOAT16)
        return Quantizer(np.float32(rounded), self.offset, self.bits)


def code_limits(bits: int) -> tuple[int, int]:
    """The lowest and the highest code: -2^(bits-1) and 2^(bits-1) - 1, with 16 bits -32639 and 32639.

    A code of 16 bits is 256 times an INT8 code and another INT8 code, from which integer layers of 8 bits compute the
    same.
    """
    if bits == 16:
        return -LARGEST_16_BIT_CODE, LARGEST_16_BIT_CODE
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def qparams_from_ranges(
    lows: np.ndarray, highs: np.ndarray, bits: int = 8, asymmetric: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """`Quantizer.from_range` for arrays of finite ranges: scales (float32) and offsets (int32) of the same shape."""
    lows, highs = np.minimum(np.asarray(lows, np.float64), 0.0), np.maximum(np.asarray(highs, np.float64), 0.0)
    lowest, highest = code_limits(bits)
    if asymmetric:
        scales = (highs - lows) / (highest - lowest)
    else:
        scales = np.where(highs >= -lows, highs / highest, lows / lowest)
    empty = highs == lows
    of_zeros = SCALE_OF_ZEROS_16 if bits == 16 else 1.0
    scales = np.where(empty, of_zeros, np.maximum(scales, SMALLEST_SCALE)).astype(np.float32)
    if not asymmetric:
        return scales, np.zeros(scales.shape, np.int32)
    offsets = np.clip(np.rint(lowest - lows / scales.astype(np.float64)), lowest, highest)
    return scales, np.where(empty, lowest, offsets).astype(np.int32)


def shortest_decimal(value: float) -> Decimal:
    """The decimal that a number was written as: the shortest that reads back as the same float32 (or else float64).

    A configuration file's 0.7 arrives as the float32 0.699999988079071; this gives 0.7 back.
    """
    narrow = np.float32(value)
    return Decimal(str(narrow)) if float(narrow) == float(value) else Decimal(repr(float(value)))


def _checked_bits(bits: int) -> int:
    if not 2 <= bits <= 16 or bits != int(bits):
        raise ValueError(f"bits must be a whole number from 2 to 16, not {bits}")
    return int(bits)
