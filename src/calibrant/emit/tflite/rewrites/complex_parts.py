"""Parts of a graph that compute in complex numbers, but are linear maps of real numbers: products of matrices.

A discrete cosine transform (MFCC) is written as a Fourier transform, and LiteRT has Fourier transforms of lengths that
are powers of two alone. A part that is a map of one axis is one product; others are computed in pairs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from calibrant.emit.tflite.rewrites.complex_pairs import ENDS, LARGEST
from calibrant.emit.tflite.rewrites.written.splice import put_written
from calibrant.errors import CalibrantError
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.running.run import Runner
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import NodeDef, dtypes

LINEAR = frozenset(
    {
        *("RFFT", "FFT", "IFFT", "IRFFT", "Cast", "Complex", "Conj", "Mul", "RealDiv", "AddV2", "Add", "Sub", "Neg"),
        *("StridedSlice", "Slice", "Pad", "PadV2", "ReverseV2", "ConcatV2", "Identity"),
    }
)
EXACT = 1e-5
"""Relative error up to which a map is that of its matrix."""


def complex_parts_as_products(edit: Edit) -> None:
    """Put products of real numbers in the place of such parts."""
    for node in list(edit.graph.nodes.values()):
        if node.name in edit.graph.regions:
            continue
        if node.op in ENDS:
            _of_the_last_axis(edit, node, nd.data_inputs(node)[0])
        elif node.op == "IRFFT":
            _of_the_last_axis(edit, node, f"{node.name}:0")


def _of_the_last_axis(edit: Edit, node: NodeDef, tensor: str) -> None:
    """``tensor``: the last one of the part, complex but for IRFFT."""
    graph, tf = edit.graph, tensorflow()
    found = _part(graph, tensor)
    if found is None or _is_known(graph, node, found[1]):
        return
    source = found[0]
    shape, made = graph.shape(source), graph.shape(f"{node.name}:0")
    if not shape or not made or None in shape[1:] or None in made[1:] or (shape[-1] or 0) * (made[-1] or 0) > LARGEST:
        return
    matrix = _matrix_of(graph, source, tensor)
    if matrix is None:
        return

    def written(x: Any) -> Any:
        rows = tf.reshape(x, [-1, len(matrix)])
        real, imaginary = (tf.matmul(rows, part.astype(np.float32)) for part in (matrix.real, matrix.imag))
        return tf.reshape(ENDS.get(node.op, ENDS["Real"])(real, imaginary), [-1, *made[1:]])

    put_written(edit, node, [source], written)


def _part(graph: Graph, end: str) -> tuple[str, list[NodeDef]] | None:
    """The one real tensor that a tensor is computed from in complex numbers, and the nodes between them."""
    inside: dict[str, NodeDef] = {}
    sources: set[str] = set()
    waiting = [graph.producer(end)]
    while waiting:
        node = waiting.pop()
        if node.op not in LINEAR:
            return None
        inside[node.name] = node
        for tensor in nd.data_inputs(node):
            if graph.constant(tensor) is not None or graph.producer(tensor).op == "ZerosLike":
                continue
            if graph.dtype(tensor).is_complex:
                producer = graph.producer(tensor)
                waiting += [producer] if producer.name not in inside else []
            elif graph.dtype(tensor) == dtypes.float32:
                sources.add(tensor)
            else:
                return None
    return (sources.pop(), list(inside.values())) if len(sources) == 1 else None


def _is_known(graph: Graph, end: NodeDef, inside: list[NodeDef]) -> bool:
    """Whether LiteRT computes the part itself."""
    if end.op not in ("Real", "Imag", "ComplexAbs") or [node.op for node in inside] != ["RFFT"]:
        return False
    length = graph.constant(nd.data_inputs(inside[0])[1])
    return length is None or all(int(each).bit_count() == 1 for each in length.reshape(-1))


def _matrix_of(graph: Graph, source: str, made: str) -> np.ndarray | None:
    """The matrix of a map of the last axis; None where it is no such map."""
    first, *others, length = (size or 0 for size in graph.shape(source) or ())
    part = replace(graph, inputs=(source,), outputs=(made,), input_keys=("x",), output_keys=("y",))
    samples = first or length
    random = np.random.default_rng(0).standard_normal((samples, *others, length)).astype(np.float32)
    units = np.eye(length, dtype=np.float32)
    rows = []
    try:
        with Runner(part) as runner:
            for start in range(0, length, samples):
                fed = np.zeros((samples, *others, length), np.float32)
                some = units[start : start + samples]
                fed[: len(some)] = some.reshape(len(some), *(1 for _ in others), length)
                [answer] = runner({"x": fed})
                rows.append(answer.reshape(samples, -1, answer.shape[-1])[: len(some), 0])
            [wanted] = runner({"x": random})
    except CalibrantError:
        return None
    matrix: np.ndarray = np.concatenate(rows)
    if wanted.shape[:-1] != random.shape[:-1]:
        return None
    return matrix if np.abs(random @ matrix - wanted).max() <= EXACT * np.abs(wanted).max() else None
