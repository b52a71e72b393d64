"""Leaving out of a LiteRT file what nothing refers to."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def drop_unused(model: Any) -> None:
    """Remove tensors, buffers and kinds of operators that nothing refers to; equal constants share one buffer."""
    used_codes: dict[int, int] = {}
    used_buffers: dict[int, int] = {0: 0}
    same_bytes: dict[tuple[int, bytes], int] = {}
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
            if (content := _digest(model.buffers[tensor.buffer])) is not None:
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


def _digest(buffer: Any) -> tuple[int, bytes] | None:
    """What only buffers with the same bytes have; None without any."""
    if buffer.data is None or not len(buffer.data):
        return None
    content = np.ascontiguousarray(buffer.data, np.uint8)
    return content.size, hashlib.sha256(content.data).digest()


def _renumbered(indices: Any, kept: dict[int, int]) -> np.ndarray:
    return np.array([kept[int(index)] if index >= 0 else -1 for index in indices], np.int32)
