"""The tensors and operators of a LiteRT file: what is set here is set in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.schema import schema
from calibrant.emit.tflite.strings import strings_in

DTYPES: dict[int, np.dtype] = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.FLOAT16: np.dtype(np.float16),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.UINT16: np.dtype(np.uint16),
    schema.TensorType.UINT32: np.dtype(np.uint32),
    schema.TensorType.UINT64: np.dtype(np.uint64),
    schema.TensorType.BOOL: np.dtype(np.bool_),
    schema.TensorType.COMPLEX64: np.dtype(np.complex64),
    schema.TensorType.STRING: np.dtype(object),
}
TYPES = {dtype: value for value, dtype in DTYPES.items()}


class Tensor:
    """One tensor of a file; what is set here is set in the file."""

    def __init__(self, file: Any, index: int):
        self._file = file
        self._raw = file.graph.tensors[index]
        self.index = index

    @property
    def raw(self) -> Any:
        """The tensor of the schema."""
        return self._raw

    @property
    def name(self) -> str:
        """The names of the nodes that it comes from, separated by semicolons."""
        return self._raw.name.decode()

    @name.setter
    def name(self, name: str) -> None:
        self._raw.name = name.encode()

    @property
    def signature(self) -> tuple[int | None, ...]:
        """The shape; None stands for a dimension that is open."""
        shape = self._raw.shapeSignature if self._raw.shapeSignature is not None else self._raw.shape
        return tuple(None if size < 0 else int(size) for size in shape) if shape is not None else ()

    @property
    def dtype(self) -> np.dtype | None:
        """The NumPy type; None for types that NumPy does not have."""
        return DTYPES.get(self._raw.type)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape; 1 stands for a dimension that is open."""
        return tuple(int(size) for size in self._raw.shape) if self._raw.shape is not None else ()

    @property
    def scale(self) -> np.ndarray:
        """Scales, float32; empty where the tensor is not quantized."""
        found = self._raw.quantization
        return np.asarray(found.scale if found is not None and found.scale is not None else [], np.float32)

    def quantize(self, quantizer: Quantizer) -> None:
        """Make the tensor one of codes; a constant keeps its buffer, which has to be set as well."""
        self._raw.type = schema.TensorType.INT8 if quantizer.bits <= 8 else schema.TensorType.INT16
        self.set_quantization(np.array([quantizer.scale]), quantizer.offset)

    def set_quantization(self, scale: np.ndarray, zero_point: int = 0, axis: int = 0) -> None:
        """The scales, float32, several along one axis; with the same code of zero."""
        found = schema.QuantizationParametersT()
        found.scale = np.asarray(scale, np.float32).reshape(-1)
        found.zeroPoint = np.full(found.scale.size, zero_point, np.int64)
        found.quantizedDimension = axis if found.scale.size > 1 else 0
        self._raw.quantization = found

    def copy_quantization(self, other: Tensor) -> None:
        """Take another tensor's scales."""
        self._raw.quantization = other.raw.quantization

    @property
    def zero_point(self) -> int:
        """The code of real zero (the first, where there are several; the others are equal)."""
        found = self._raw.quantization
        return int(found.zeroPoint[0]) if found is not None and found.zeroPoint is not None else 0

    @property
    def values(self) -> np.ndarray | None:
        """The constant that the tensor holds, read-only; None where it is computed and has elements."""
        data = self._file.model.buffers[self._raw.buffer].data
        if self.dtype is not None and 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        if data is None or len(data) == 0 or self.dtype is None:
            return None
        content = np.ascontiguousarray(data, np.uint8)
        if self.dtype == object:
            return strings_in(content.tobytes(), self.shape)
        values = np.frombuffer(content, self.dtype).reshape(self.shape)
        values.flags.writeable = False
        return values

    @property
    def constant(self) -> np.ndarray:
        """The values of a tensor that is a constant."""
        values = self.values
        if values is None:
            raise ValueError(f"{self.name} is computed")
        return values

    def set_values(self, values: np.ndarray) -> None:
        """Let the tensor be this constant, of its type and shape; the old buffer may be shared and is left alone."""
        self._raw.type, self._raw.shape = TYPES[values.dtype], np.array(values.shape, np.int32)
        self._raw.buffer = self._file.add_buffer(values)


@dataclass(frozen=True)
class Operator:
    """One operator: its name in LiteRT (``CONV_2D``), the tensors it reads (None: left out) and those it makes."""

    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    raw: Any = field(default=None, repr=False, compare=False)

    def read(self, at: int) -> Tensor:
        """A tensor that this kind of operator always reads.

        Parameters
        ----------
        at : int
            Position among the inputs.

        Returns
        -------
        Tensor
            The input.

        Raises
        ------
        ValueError
            It is left out.
        """
        tensor = self.inputs[at]
        if tensor is None:
            raise ValueError(f"{self.name} has no input {at}")
        return tensor

    @property
    def options(self) -> Any:
        """The schema's options of this kind of operator; None where it has none."""
        return self.raw.builtinOptions if self.raw.builtinOptions is not None else self.raw.builtinOptions2

    @property
    def is_integer(self) -> bool:
        """Whether it computes with int8 or int16: it makes such codes and reads no floating-point numbers."""
        read = [tensor.dtype for tensor in self.inputs if tensor is not None]
        return self.outputs[0].dtype in (np.int8, np.int16) and np.float32 not in read and np.int8 in read
