"""A LiteRT file as operators and tensors: reading it, changing numbers in it, writing it again."""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import flatbuffers
import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.drop_unused import drop_unused
from calibrant.emit.tflite.file_parts import TYPES, Operator, Tensor
from calibrant.emit.tflite.schema import flatbuffer_utils, schema
from calibrant.errors import ModelError, Problem

OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
IDENTIFIER = b"TFL3"
SMALL_BYTES = 1 << 16
"""Room for all but constants; more is made where it is needed."""
METADATA = "calibrant"
"""The entry of what a file says about its making."""


class File:
    """A LiteRT file, as its first graph.

    Raises
    ------
    ModelError
        The bytes are no such file.
    """

    def __init__(self, content: bytes, source: str = "model"):
        if content[4:8] != IDENTIFIER:
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

    @property
    def has_subgraphs(self) -> bool:
        """Whether it has loops or branches, whose bodies are graphs beside the main one."""
        return len(self.model.subgraphs) > 1

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
        raw.type, raw.name = TYPES[np.dtype(dtype)], name.encode()
        self.graph.tensors.append(raw)
        tensor = Tensor(self, len(self.graph.tensors) - 1)
        if quantizer is not None:
            tensor.quantize(quantizer)
        return tensor

    def add_constant(self, name: str, values: np.ndarray) -> Tensor:
        """A new constant."""
        raw = schema.TensorT()
        raw.shape, raw.buffer, raw.hasRank = np.array(values.shape, np.int32), self.add_buffer(values), True
        raw.type, raw.name = TYPES[values.dtype], name.encode()
        self.graph.tensors.append(raw)
        return Tensor(self, len(self.graph.tensors) - 1)

    def add_buffer(self, values: np.ndarray) -> int:
        """A new buffer.

        Parameters
        ----------
        values : np.ndarray
            Numbers, whose bytes it holds.

        Returns
        -------
        int
            Its index.
        """
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def new_operator(self, name: str, inputs: Iterable[int], outputs: Iterable[int], options: Any = None) -> Any:
        """An operator of the schema, not yet among those that run."""
        raw = schema.OperatorT()
        raw.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name))
        raw.inputs, raw.outputs = np.array(list(inputs), np.int32), np.array(list(outputs), np.int32)
        if options is not None:
            raw.builtinOptions = options
            raw.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return raw

    def turn_into(self, raw: Any, name: str, options: Any) -> None:
        """Let an operator of the schema be one of another kind, with the same inputs and outputs."""
        made = self.new_operator(name, (), (), options)
        raw.opcodeIndex = made.opcodeIndex
        raw.builtinOptions, raw.builtinOptionsType = made.builtinOptions, made.builtinOptionsType

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
        drop_unused(self.model)

    def metadata(self, name: str) -> bytes | None:
        """The content of one entry, or None."""
        for entry in self.model.metadata or ():
            if entry.name.decode() == name:
                return bytes(np.asarray(self.model.buffers[entry.buffer].data, np.uint8))
        return None

    def add_metadata(self, name: str, content: bytes) -> None:
        """Add an entry."""
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), self.add_buffer(np.frombuffer(content, np.uint8))
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
        size = sum(len(buffer.data) for buffer in self.model.buffers if buffer.data is not None)
        builder = flatbuffers.Builder(size + SMALL_BYTES)  # one that grows holds its content twice
        builder.Finish(self.model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(memoryview(builder.Bytes)[builder.Head() :])


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
