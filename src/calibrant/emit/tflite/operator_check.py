"""Comparing every operator of a file with its simulation by itself: both read what the file has computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.flatbuffer import File, Tensor
from calibrant.emit.tflite.interpreter import new_interpreter
from calibrant.emit.tflite.simulation import Simulated, holds_codes
from calibrant.graph.tensorflow import tensorflow


@dataclass(frozen=True)
class OperatorDifference:
    """One operator, and how far its result is from its simulation's.

    Parameters
    ----------
    position : among the operators of the file.
    steps : largest difference of codes; nan where the result is none.
    relative : largest difference over the largest result, of floating-point results.
    """

    position: int
    name: str
    tensor: str
    steps: float
    relative: float


def run_file(content: bytes, fed: Mapping[int, np.ndarray], delegate: bool = True) -> dict[int, np.ndarray]:
    """All tensors of a file after one run; ``fed`` are its inputs by position, in their own type."""
    interpreter = new_interpreter(content, delegate)
    details = interpreter.get_input_details()
    for position, detail in enumerate(details):
        if tuple(detail["shape"]) != fed[position].shape:
            interpreter.resize_tensor_input(detail["index"], fed[position].shape, strict=True)
    interpreter.allocate_tensors()
    for position, detail in enumerate(details):
        interpreter.set_tensor(detail["index"], fed[position])
    interpreter.invoke()
    file = File(content)
    wanted = {
        tensor.index for each in file.operators() for tensor in (*each.inputs, *each.outputs) if tensor is not None
    }
    return {index: np.array(interpreter.get_tensor(index)) for index in sorted(wanted)}


def operator_differences(content: bytes, runs: Sequence[Mapping[int, np.ndarray]]) -> list[list[OperatorDifference]]:
    """Every operator against its simulation, for each of several runs of :func:`run_file`."""
    tf, file = tensorflow(), File(content)
    found: list[list[OperatorDifference]] = []
    with tf.Graph().as_default():
        simulated = Simulated(file, alone=True)
        operators = list(file.operators())
        for each in operators:
            simulated.run(each)
        with tf.compat.v1.Session() as session:
            for values in runs:
                feeds = {placed: values[index] for index, placed in simulated.fed.items()}
                made = session.run(simulated.made, feeds)
                found.append(
                    [
                        _difference(position, each.name, tensor, made[tensor.index], values[tensor.index])
                        for position, each in enumerate(operators)
                        for tensor in each.outputs
                        if tensor.index in made
                    ]
                )
    return found


def _difference(
    position: int, name: str, tensor: Tensor, simulated: np.ndarray, real: np.ndarray
) -> OperatorDifference:
    steps = relative = 0.0
    if holds_codes(tensor):
        codes = simulated.reshape(-1).astype(np.float64) + tensor.zero_point
        steps = float(np.abs(codes - real.reshape(-1)).max(initial=0))
    elif tensor.dtype == np.float32:
        first, second = simulated.reshape(-1).astype(np.float64), real.reshape(-1).astype(np.float64)
        size = float(np.abs(first[np.isfinite(first)]).max(initial=0))
        apart = np.abs(first - second)
        relative = float(apart[np.isfinite(apart)].max(initial=0)) / size if size else 0.0
    else:
        steps = float(np.any(simulated.reshape(-1) != real.reshape(-1)))
    return OperatorDifference(position, name, tensor.name, steps, relative)
