"""A LiteRT file as operators and tensors: reading it, changing numbers in it, writing it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from calibrant.errors import ModelError, Problem

DTYPES = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.FLOAT16: np.dtype(np.float16),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.BOOL: np.dtype(np.bool_),
}
OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


class Tensor:
    """One tensor of a file; what is set here is set in the file."""

    def __init__(self, file: File, index: int):
        self._file = file
        self._raw = file.model.subgraphs[0].tensors[index]
        self.index = index

    @property
    def name(self) -> str:
        """The names of the nodes that it comes from, separated by semicolons."""
        return self._raw.name.decode()

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

    def set_scale(self, values: np.ndarray) -> None:
        """Change the scales; several where there was one count along the first axis, with the same code of zero."""
        found = self._raw.quantization
        if len(values) > len(found.scale):
            found.zeroPoint = np.repeat(np.asarray(found.zeroPoint, np.int64)[:1], len(values))
            found.quantizedDimension = 0
        found.scale = np.asarray(values, np.float32)

    @property
    def zero_point(self) -> int:
        """The code of real zero (the first, where there are several; the others are equal)."""
        found = self._raw.quantization
        return int(found.zeroPoint[0]) if found is not None and found.zeroPoint is not None else 0

    @property
    def values(self) -> np.ndarray | None:
        """The constant that the tensor holds; None where it is computed."""
        data = self._file.model.buffers[self._raw.buffer].data
        if data is None or len(data) == 0 or self.dtype is None:
            return None
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), self.dtype).reshape(self.shape)

    @values.setter
    def values(self, values: np.ndarray) -> None:
        content = np.ascontiguousarray(values, self.dtype).tobytes()
        if content == np.asarray(self._file.model.buffers[self._raw.buffer].data, np.uint8).tobytes():
            return
        buffer = schema.BufferT()  # the old one may be shared with other tensors
        buffer.data = np.frombuffer(content, np.uint8)
        self._raw.buffer = len(self._file.model.buffers)
        self._file.model.buffers.append(buffer)


@dataclass(frozen=True)
class Operator:
    """One operator: its name in LiteRT (``CONV_2D``), the tensors it reads (None: left out) and those it makes."""

    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    @property
    def is_integer(self) -> bool:
        """Whether it computes with int8: it makes int8 and reads no floating-point numbers."""
        read = [tensor.dtype for tensor in self.inputs if tensor is not None]
        return self.outputs[0].dtype == np.int8 and np.float32 not in read and np.int8 in read


class File:
    """A LiteRT file with one graph.

    Raises
    ------
    ModelError : the bytes are no such file.
    """

    def __init__(self, content: bytes, source: str = "model"):
        if content[4:8] != b"TFL3":
            raise ModelError(Problem("is not a LiteRT (TensorFlow Lite) file", file=source))
        self.model: Any = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))

    def operators(self) -> Iterator[Operator]:
        """The operators in the order in which they run."""
        for raw in self.model.subgraphs[0].operators:
            code = self.model.operatorCodes[raw.opcodeIndex]
            name = OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
            read = tuple(Tensor(self, index) if index >= 0 else None for index in raw.inputs)
            yield Operator(name, read, tuple(Tensor(self, index) for index in raw.outputs))

    def tensors(self) -> Iterator[Tensor]:
        """All tensors."""
        return (Tensor(self, index) for index in range(len(self.model.subgraphs[0].tensors)))

    def inputs(self) -> tuple[Tensor, ...]:
        """What is fed."""
        return tuple(Tensor(self, index) for index in self.model.subgraphs[0].inputs)

    def outputs(self) -> tuple[Tensor, ...]:
        """The results."""
        return tuple(Tensor(self, index) for index in self.model.subgraphs[0].outputs)

    def read_instead(self, position: int, place: int, tensor: Tensor) -> None:
        """Let the operator at a position read another tensor at one of its inputs."""
        raw = self.model.subgraphs[0].operators[position]
        read = [int(index) for index in raw.inputs]
        read[place] = tensor.index
        raw.inputs = np.array(read, np.int32)

    def drop_unread(self, name: str) -> None:
        """Remove operators of one kind whose results nobody reads."""
        graph = self.model.subgraphs[0]
        kept = [int(index) for index in graph.outputs]
        read = {int(index) for raw in graph.operators for index in raw.inputs} | set(kept)
        graph.operators = [
            raw
            for raw, operator in zip(graph.operators, self.operators(), strict=True)
            if operator.name != name or any(int(index) in read for index in raw.outputs)
        ]

    def metadata(self, name: str) -> bytes | None:
        """The content of one entry, or None."""
        for entry in self.model.metadata or ():
            if entry.name.decode() == name:
                return bytes(np.asarray(self.model.buffers[entry.buffer].data, np.uint8))
        return None

    def add_metadata(self, name: str, content: bytes) -> None:
        """Add an entry."""
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry.name, entry.buffer = name.encode(), len(self.model.buffers)
        self.model.buffers.append(buffer)
        self.model.metadata = [*(self.model.metadata or ()), entry]

    def content(self) -> bytes:
        """The file's bytes."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))
