"""A LiteRT file as operators and tensors: reading it, changing numbers in it, writing it again."""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.schema import flatbuffer_utils, schema
from calibrant.errors import ModelError, Problem

DTYPES: dict[int, np.dtype] = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.FLOAT16: np.dtype(np.float16),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.BOOL: np.dtype(np.bool_),
    schema.TensorType.COMPLEX64: np.dtype(np.complex64),
}
_TYPES = {dtype: value for value, dtype in DTYPES.items()}
OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


class Tensor:
    """One tensor of a file; what is set here is set in the file."""

    def __init__(self, file: File, index: int):
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
        """The constant that the tensor holds; None where it is computed."""
        data = self._file.model.buffers[self._raw.buffer].data
        if data is None or len(data) == 0 or self.dtype is None:
            return None
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), self.dtype).reshape(self.shape)

    @property
    def constant(self) -> np.ndarray:
        """The values of a tensor that is a constant."""
        values = self.values
        if values is None:
            raise ValueError(f"{self.name} is computed")
        return values

    def set_values(self, values: np.ndarray) -> None:
        """Let the tensor be this constant, of its type and shape; the old buffer may be shared and is left alone."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._raw.type, self._raw.shape = _TYPES[values.dtype], np.array(values.shape, np.int32)
        self._raw.buffer = len(self._file.model.buffers)
        self._file.model.buffers.append(buffer)


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


class File:
    """A LiteRT file, as its first graph.

    Raises
    ------
    ModelError
        The bytes are no such file.
    """

    def __init__(self, content: bytes, source: str = "model"):
        if content[4:8] != b"TFL3":
            raise ModelError(Problem("is not a LiteRT (TensorFlow Lite) file", file=source))
        try:
            self.model: Any = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
            self.graph: Any = self.model.subgraphs[0]
        except (struct.error, ValueError, TypeError, IndexError, MemoryError) as error:
            raise ModelError(Problem(f"is a damaged LiteRT file: {error}", file=source)) from None

    def operators(self) -> Iterator[Operator]:
        """The operators in the order in which they run."""
        for raw in self.graph.operators:
            code = self.model.operatorCodes[raw.opcodeIndex]
            name = OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
            if name == "CUSTOM":
                name = code.customCode.decode()
            read = tuple(Tensor(self, int(index)) if index >= 0 else None for index in raw.inputs)
            yield Operator(name, read, tuple(Tensor(self, int(index)) for index in raw.outputs), raw)

    def subgraph(self, number: int) -> File:
        """A body, condition or branch that operators of this file call, by its position in the file."""
        return _file_of(self.model, number)

    def subgraphs(self) -> Iterator[File]:
        """All graphs of the file, the first one among them."""
        return (self.subgraph(number) for number in range(len(self.model.subgraphs)))

    def tensors(self) -> Iterator[Tensor]:
        """All tensors."""
        return (Tensor(self, index) for index in range(len(self.graph.tensors)))

    def inputs(self) -> tuple[Tensor, ...]:
        """What is fed."""
        return tuple(Tensor(self, index) for index in self.graph.inputs)

    def outputs(self) -> tuple[Tensor, ...]:
        """The results."""
        return tuple(Tensor(self, index) for index in self.graph.outputs)

    def set_operators(self, operators: Iterable[Any]) -> None:
        """Take these operators of the schema instead, in the order in which they run."""
        self.graph.operators = list(operators)

    def begin(self, inputs: Iterable[int], outputs: Iterable[int]) -> None:
        """Say what is fed and what are the results of a file that has neither."""
        graph = self.graph
        graph.inputs, graph.outputs = np.array(list(inputs), np.int32), np.array(list(outputs), np.int32)

    def set_outputs(self, indices: Iterable[int]) -> None:
        """Let other tensors be the results."""
        self._set_ends("outputs", indices)

    def set_inputs(self, indices: Iterable[int]) -> None:
        """Let other tensors be fed."""
        self._set_ends("inputs", indices)

    def _set_ends(self, which: str, indices: Iterable[int]) -> None:
        graph, new = self.graph, np.array(list(indices), np.int32)
        moved = dict(zip((int(index) for index in getattr(graph, which)), new.tolist(), strict=True))
        setattr(graph, which, new)
        for signature in self.model.signatureDefs or ():
            for entry in getattr(signature, which) or ():
                entry.tensorIndex = moved.get(entry.tensorIndex, entry.tensorIndex)

    def add_tensor(self, name: str, like: Tensor, dtype: Any, quantizer: Quantizer | None = None) -> Tensor:
        """A new tensor of the shape of another one, computed by some operator."""
        raw = schema.TensorT()
        old = like.raw
        raw.shape, raw.shapeSignature, raw.hasRank, raw.buffer = old.shape, old.shapeSignature, old.hasRank, 0
        raw.type, raw.name = _TYPES[np.dtype(dtype)], name.encode()
        self.graph.tensors.append(raw)
        tensor = Tensor(self, len(self.graph.tensors) - 1)
        if quantizer is not None:
            tensor.quantize(quantizer)
        return tensor

    def add_constant(self, name: str, values: np.ndarray) -> Tensor:
        """A new constant."""
        raw, buffer = schema.TensorT(), schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        raw.shape, raw.buffer, raw.hasRank = np.array(values.shape, np.int32), len(self.model.buffers), True
        raw.type, raw.name = _TYPES[values.dtype], name.encode()
        self.model.buffers.append(buffer)
        self.graph.tensors.append(raw)
        return Tensor(self, len(self.graph.tensors) - 1)

    def new_operator(self, name: str, inputs: Iterable[int], outputs: Iterable[int], options: Any = None) -> Any:
        """An operator of the schema, not yet among those that run."""
        raw = schema.OperatorT()
        raw.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name))
        raw.inputs, raw.outputs = np.array(list(inputs), np.int32), np.array(list(outputs), np.int32)
        if options is not None:
            raw.builtinOptions = options
            raw.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return raw

    def _code(self, builtin: int) -> int:
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def used(self) -> list[int]:
        """The tensors that operators read, and the results: XNNPACK does not keep what nobody reads.

        Returns
        -------
        list[int]
            Indices in ascending order.
        """
        read = {tensor.index for each in self.operators() for tensor in each.inputs if tensor is not None}
        return sorted(read | {tensor.index for tensor in self.outputs()})

    def drop_unused(self) -> None:
        """Remove tensors, buffers and kinds of operators that nothing refers to any more; equal constants share one."""
        _drop_unused(self.model)

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

    def sign(self, key: str, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Let this be the only signature: names of the inputs and of the outputs, in their order."""
        signature, graph = schema.SignatureDefT(), self.graph
        signature.signatureKey, signature.subgraphIndex = key.encode(), 0
        signature.inputs = [_named_tensor(name, at) for name, at in zip(inputs, graph.inputs, strict=True)]
        signature.outputs = [_named_tensor(name, at) for name, at in zip(outputs, graph.outputs, strict=True)]
        self.model.signatureDefs = [signature]

    def copy(self) -> File:
        """A file to be changed; the bytes of constants are shared, as setting them replaces them.

        Returns
        -------
        File
            Equal to this one.
        """
        shared = {id(buffer.data): buffer.data for buffer in self.model.buffers}
        return _file_of(copy.deepcopy(self.model, shared))

    def content(self) -> bytes:
        """The file's bytes."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))


def _named_tensor(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry


def empty_file() -> File:
    """A file without tensors and operators."""
    model, graph, buffer = schema.ModelT(), schema.SubGraphT(), schema.BufferT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [], [graph], [buffer]
    graph.tensors, graph.operators = [], []
    graph.inputs, graph.outputs = np.zeros(0, np.int32), np.zeros(0, np.int32)
    return _file_of(model)


def _file_of(model: Any, number: int = 0) -> File:
    file = File.__new__(File)
    file.model, file.graph = model, model.subgraphs[number]
    return file


def _drop_unused(model: Any) -> None:
    used_codes: dict[int, int] = {}
    used_buffers: dict[int, int] = {0: 0}
    same_bytes: dict[bytes, int] = {}
    for graph in model.subgraphs:
        kept: dict[int, int] = {}
        read = [*graph.inputs, *graph.outputs]
        for raw in graph.operators:
            read += [*raw.inputs, *raw.outputs, *(raw.intermediates if raw.intermediates is not None else ())]
        for index in sorted({int(index) for index in read if index >= 0}):
            kept[index] = len(kept)
        graph.tensors = [graph.tensors[index] for index in kept]
        graph.inputs, graph.outputs = _renumbered(graph.inputs, kept), _renumbered(graph.outputs, kept)
        for raw in graph.operators:
            raw.inputs, raw.outputs = _renumbered(raw.inputs, kept), _renumbered(raw.outputs, kept)
            if raw.intermediates is not None:
                raw.intermediates = _renumbered(raw.intermediates, kept)
            raw.opcodeIndex = used_codes.setdefault(raw.opcodeIndex, len(used_codes))
        for tensor in graph.tensors:
            if (content := _bytes_of(model.buffers[tensor.buffer])) is not None:
                tensor.buffer = same_bytes.setdefault(content, tensor.buffer)
            tensor.buffer = used_buffers.setdefault(tensor.buffer, len(used_buffers))
        number = model.subgraphs.index(graph)
        for signature in model.signatureDefs or ():
            if signature.subgraphIndex == number:
                for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
                    entry.tensorIndex = kept[entry.tensorIndex]
    for entry in model.metadata or ():
        entry.buffer = used_buffers.setdefault(entry.buffer, len(used_buffers))
    model.operatorCodes = [model.operatorCodes[index] for index in used_codes]
    model.buffers = [model.buffers[index] for index in used_buffers]


def _bytes_of(buffer: Any) -> bytes | None:
    return np.asarray(buffer.data, np.uint8).tobytes() if buffer.data is not None and len(buffer.data) else None


def _renumbered(indices: Any, kept: dict[int, int]) -> np.ndarray:
    return np.array([kept[int(index)] if index >= 0 else -1 for index in indices], np.int32)
