"""Who makes and who reads the tensors of a float LiteRT file."""

from __future__ import annotations

import numpy as np

from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.planning.kernels import KERNELS, LAYER_INPUT, ONLY_THE_SHAPE

CLIPPING = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"})
CHOOSING = frozenset({"REDUCE_MAX", "REDUCE_MIN", "MAX_POOL_2D"})


class Wiring:
    """The operators of a file by what they read and make.

    Attributes
    ----------
    operators : list[Operator]
        In the order in which they run.
    fed, results : set[int]
        Indices of the file's inputs and outputs.
    maker : dict[int, int]
        Index of a tensor → position of the operator that makes it.
    readers : dict[int, list[int]]
        Index of a tensor → positions of the operators that read its numbers.
    """

    def __init__(self, float_file: FloatFile):
        file = float_file.file
        self.operators: list[Operator] = list(file.operators())
        self.fed = {tensor.index for tensor in file.inputs()}
        self.results = {tensor.index for tensor in file.outputs()}
        self.maker = {made.index: at for at, each in enumerate(self.operators) for made in each.outputs}
        self.readers: dict[int, list[int]] = {}
        for at, each in enumerate(self.operators):
            for tensor in each.inputs:
                if tensor is not None and each.name not in ONLY_THE_SHAPE:
                    self.readers.setdefault(tensor.index, []).append(at)

    def data(self, at: int) -> list[Tensor]:
        """The activations that an operator reads."""
        return [tensor for tensor in carried(self.operators[at]) if tensor.values is None]

    def is_used(self, index: int) -> bool:
        """Whether anything is done with a tensor."""
        return index in self.results or index in self.readers

    def only_reader(self, index: int) -> int | None:
        """The one operator that reads a tensor; None where several do, or where it is a result."""
        readers = self.readers.get(index, ())
        return readers[0] if len(readers) == 1 and index not in self.results else None

    def makes_several(self, at: int) -> bool:
        """Whether several results have the scale of one input, so that no reader of one of them may decide it."""
        return sum(tensor.dtype == np.float32 for tensor in self.operators[at].outputs) > 1

    def clips(self, at: int) -> bool:
        """Whether numbers beyond the range of an operator's result may as well be cut off before it."""
        each = self.operators[at]
        bounded = each.name in ("MAXIMUM", "MINIMUM") and len(self.data(at)) == 1
        return bounded or each.name in CLIPPING or each.name in CHOOSING


def looks_up(each: Operator) -> bool:
    """Whether an operator takes its numbers out of a constant: rows of a table, what fills a tensor or marks places."""
    source = {"GATHER": 0, "FILL": 1, "TILE": 0, "BROADCAST_TO": 0, "ONE_HOT": 2}.get(each.name)
    return source is not None and each.read(source).values is not None and each.outputs[0].dtype == np.float32


def carried(each: Operator) -> list[Tensor]:
    """What carries numbers that are rounded to codes, constants among it."""
    kernel = KERNELS.get(each.name)
    places = (LAYER_INPUT.get(each.name, 0),) if kernel is None else kernel.data
    read = each.inputs if places is None else [each.inputs[at] for at in places if at < len(each.inputs)]
    return [tensor for tensor in read if tensor is not None]
