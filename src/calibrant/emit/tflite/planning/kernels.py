"""The table of LiteRT's operators: which have a kernel on int8 codes, and what it asks of scales.

A row is all that an operator needs to run on integers in a file; what is not listed stays in float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer


class Result(Enum):
    """Which scale and zero point a kernel's result has."""

    OWN = "any, found by observing it"
    SAME = "those of all data inputs: codes are moved or compared, so a result may decide those of its inputs"
    KEPT = "those of its input, rounded: the input decides"
    FIXED = "the same for every model"
    OTHER_TYPE = "none: indices or truth values"


def _largest(read: Sequence[float], made: float) -> float:
    return max(read, default=0.0) / made


def _product(read: Sequence[float], made: float) -> float:
    return math.prod(read) / made


def _square(read: Sequence[float], made: float) -> float:
    return (2 * max(read)) ** 2 / 2.0**14 / made


@dataclass(frozen=True)
class Kernel:
    """An operator with an int8 kernel.

    Parameters
    ----------
    result : Result
        What scale and zero point the result has.
    data : tuple[int, ...] | None
        Input indices that carry codes; None: all inputs.
    fixed : Quantizer | None
        Scale and zero point where the kernel fixes them.
    between_layers : bool
        Runs on integers between integer layers even where the others are to stay in float (``--tflite-ops
        layers``).
    ratio : Callable[[Sequence[float], float], float]
        The scales of its data and of its result (1 where that has none) → a number that is limited.
    below : float
        What ``ratio`` has to be less than. Beyond it kernels fail, overflow or end the process.
    of_codes : bool
        Runs on integers only where what it reads has codes anyway, as it makes much of the smallest numbers.
    """

    result: Result
    data: tuple[int, ...] | None = (0,)
    fixed: Quantizer | None = None
    between_layers: bool = False
    ratio: Callable[[Sequence[float], float], float] = _largest
    below: float = 2.0**8
    of_codes: bool = False


_SHARE = Quantizer(np.float32(1 / 256), -128)
_SIGNED = Quantizer(np.float32(1 / 128), 0)
_MOVE = Kernel(Result.SAME, between_layers=True)
_MOVE_SECOND = Kernel(Result.SAME, (1,), between_layers=True)
_MOVE_ALL = Kernel(Result.SAME, None, between_layers=True)
_CHOOSE = Kernel(Result.SAME)
_CHOOSE_ALL = Kernel(Result.SAME, None)
_UNARY = Kernel(Result.OWN)
_TABLE = Kernel(Result.OWN, below=math.inf)
_COMPARE = Kernel(Result.OTHER_TYPE, None, below=1.0)

COMPARING = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
RANKING = frozenset({"TOPK_V2", "ARG_MAX", "ARG_MIN", *COMPARING})
"""Operators to which numbers with equal codes are equal."""
KERNELS: dict[str, Kernel] = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "MAX_POOL_2D", "PAD", "SLICE"), _MOVE),
    **dict.fromkeys(("STRIDED_SLICE", "SPLIT_V", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPACE_TO_DEPTH"), _MOVE),
    **dict.fromkeys(("DEPTH_TO_SPACE", "UNPACK", "GATHER", "TILE", "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR"), _MOVE),
    **dict.fromkeys(("SPLIT", "FILL"), _MOVE_SECOND),
    "PADV2": Kernel(Result.SAME, (0, 2), between_layers=True),
    "ONE_HOT": Kernel(Result.SAME, (2, 3), between_layers=True),
    "CONCATENATION": _MOVE_ALL,
    "PACK": _MOVE_ALL,
    **dict.fromkeys(("GATHER_ND", "REVERSE_V2", "BROADCAST_TO", "REDUCE_MAX", "REDUCE_MIN"), _MOVE),
    "TOPK_V2": _CHOOSE,
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), _CHOOSE_ALL),
    **dict.fromkeys(("SELECT_V2", "SELECT"), Kernel(Result.SAME, (1, 2))),
    "AVERAGE_POOL_2D": Kernel(Result.KEPT, between_layers=True),
    "RESIZE_BILINEAR": Kernel(Result.KEPT),
    "ADD": Kernel(Result.OWN, None, between_layers=True, below=2.0**7),
    "SUB": Kernel(Result.OWN, None, below=2.0**7),
    "MUL": Kernel(Result.OWN, None, ratio=_product, below=1.125),
    "SQUARED_DIFFERENCE": Kernel(Result.OWN, None, ratio=_square, below=1.0),
    "BATCH_MATMUL": Kernel(Result.OWN, (0, 1), ratio=_product),
    "MEAN": Kernel(Result.OWN, between_layers=True, below=2.0**16),
    "SUM": Kernel(Result.OWN, below=2.0**16),
    "RELU": Kernel(Result.OWN, between_layers=True),
    "RELU6": Kernel(Result.OWN, between_layers=True),
    **dict.fromkeys(("RELU_N1_TO_1", "LEAKY_RELU", "ELU", "GELU", "ABS"), _UNARY),
    **dict.fromkeys(("EXP", "LOG", "RSQRT"), _TABLE),
    "SQRT": Kernel(Result.OWN, below=math.inf, of_codes=True),
    "HARD_SWISH": Kernel(Result.OWN, below=2.0**6),
    "PRELU": _UNARY,
    "LOGISTIC": Kernel(Result.FIXED, fixed=_SHARE),
    "SOFTMAX": Kernel(Result.FIXED, fixed=_SHARE),
    "LOG_SOFTMAX": Kernel(Result.FIXED, fixed=Quantizer(np.float32(16 / 256), 127)),
    "TANH": Kernel(Result.FIXED, fixed=_SIGNED),
    "L2_NORMALIZATION": Kernel(Result.FIXED, fixed=_SIGNED),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN"), Kernel(Result.OTHER_TYPE, below=math.inf)),
    **dict.fromkeys(COMPARING, _COMPARE),
}

CONVOLVING = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
WITHOUT_KERNEL = {
    "DIV": "LiteRT's integer kernel of DIV ends at a divisor whose code is 0, whatever number that is",
    **dict.fromkeys(CONVOLVING, "its matrix or kernel is of no layer that is quantized"),
}
"""Why operators stay in float whose integer kernels are not in the table; of others LiteRT has none."""

LAYER_KERNELS = {
    "Conv2D": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "DepthwiseConv2dNative": ("DEPTHWISE_CONV_2D", "CONV_2D"),
    "Conv2DBackpropInput": ("TRANSPOSE_CONV",),
    "Conv3D": ("CONV_2D",),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), ("FULLY_CONNECTED", "BATCH_MATMUL")),
    "AvgPool": ("AVERAGE_POOL_2D", "MEAN"),
}
"""What the converter makes of each kind of quantized layer; others have no integer kernel."""
OF_OPEN_SIZES = {"CONV_3D": "; of volumes of known sizes it has one, fix them with --tflite-shape"}
"""What to do where the converter has made another operator of a layer."""
LAYER_INPUT = {"TRANSPOSE_CONV": 2}
"""Input that carries a layer's activations where it is not the first."""

ONLY_THE_SHAPE = frozenset({"SHAPE", "RANK"})
