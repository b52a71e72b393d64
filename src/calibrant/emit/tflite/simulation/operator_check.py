"""Comparing every operator of a file with its simulation by itself: both read what the file has computed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.interpreter import empty_tensors, new_interpreter
from calibrant.emit.tflite.simulation.integers import WITHIN_A_STEP
from calibrant.emit.tflite.simulation.parts import in_parts
from calibrant.emit.tflite.simulation.simulate import Simulation, holds_codes
from calibrant.graph.running.session import unoptimized
from calibrant.graph.tensorflow import tensorflow

SUMS = frozenset({"SUM", "MEAN"})
NEAR = 1e-3
"""How far, relative to the largest number, kernels in float may be from TensorFlow's."""

_Result = tuple[int, Operator, Tensor]  # position of an operator among those of the file, and what it makes


@dataclass(frozen=True)
class OperatorDifference:
    """One operator, and how far its result is from its simulation's.

    Parameters
    ----------
    position : int
        Among the operators of the file.
    name : str
        What LiteRT calls it.
    tensor : str
        The name of its result.
    steps : float
        Largest difference of codes; nan where the result is none, infinite where it has another shape.
    relative : float
        Largest difference over the largest result, of floating-point results; of sums and means over the largest
        number that they read or make.
    may_be_a_step : bool
        Whether it computes as it should where it is a step beside its simulation.
    """

    position: int
    name: str
    tensor: str
    steps: float
    relative: float
    may_be_a_step: bool = False


def is_wrong(found: OperatorDifference, exact: bool) -> bool:
    """Whether an operator computes something else.

    Parameters
    ----------
    exact : bool
        Whether its kernel should compute what the simulation does, as XNNPACK's do, and not only within a step.
    """
    most = 0 if exact and not found.may_be_a_step else 1
    return found.steps > most or not found.relative <= NEAR


def run_file(
    content: bytes, fed: Mapping[int, np.ndarray], wanted: Collection[int], delegate: bool = True, keep: bool = True
) -> dict[int, np.ndarray]:
    """Tensors of a file after one run; ``fed`` are its inputs by position, in their own type.

    Without ``keep`` it runs as in an application, which can have its results alone.
    """
    return dict(tensors_of_run(content, fed, wanted, delegate, keep))


def tensors_of_run(
    content: bytes, fed: Mapping[int, np.ndarray], wanted: Collection[int], delegate: bool, keep: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """As :func:`run_file`, one tensor after the other; the file has run when the first one comes."""
    interpreter = new_interpreter(content, delegate, keep=keep)
    details = interpreter.get_input_details()
    for position, detail in enumerate(details):
        if tuple(detail["shape"]) != fed[position].shape:
            interpreter.resize_tensor_input(detail["index"], fed[position].shape, strict=True)
    interpreter.allocate_tensors()
    for position, detail in enumerate(details):
        interpreter.set_tensor(detail["index"], fed[position])
    interpreter.invoke()
    empty = empty_tensors(interpreter)
    for index in wanted:
        yield index, empty[index] if index in empty else np.array(interpreter.get_tensor(index))


def operator_differences(
    file: File, simulation: Simulation, runs: Sequence[Mapping[int, np.ndarray]]
) -> list[list[OperatorDifference]]:
    """Compare every operator by itself with its simulation.

    Parameters
    ----------
    file : File
        What ran.
    simulation : Simulation
        Of this file.
    runs : Sequence[Mapping[int, np.ndarray]]
        What :func:`run_file` found, once or more.

    Returns
    -------
    list[list[OperatorDifference]]
        For each run, the results of all operators in their order.
    """
    # TensorFlow lets nobody feed what it has found to be a constant, such as a shape.
    operators = list(file.operators())
    tensors = {tensor.index: tensor for tensor in (*file.inputs(), *(made for o in operators for made in o.outputs))}
    there = {index for index in simulation.made if all(index in values for values in runs)}
    odd = {index for index in there if any(not _fits(simulation, index, values) for values in runs)}
    there -= odd
    compared = [(at, o, made) for at, o in enumerate(operators) for made in o.outputs if made.index in there]
    feedable = {index for index in there if simulation.definition.is_feedable(simulation.read[index])}
    parts = list(_parts(compared, simulation, runs[0], feedable)) if runs else []
    found: list[list[OperatorDifference]] = []
    with tensorflow().compat.v1.Session(graph=simulation.definition, config=unoptimized()) as session:
        for values in runs:
            differences = []
            for part, read in parts:
                feeds = {simulation.read[index]: _as_read(tensors[index], values[index]) for index in read}
                made = session.run([simulation.made[tensor.index] for _, _, tensor in part], feeds)
                differences += [
                    _difference(at, operator, tensor, simulated, values)
                    for (at, operator, tensor), simulated in zip(part, made, strict=True)
                ]
            found.append(differences)
    other_shapes = [
        OperatorDifference(at, o.name, made.name, math.inf, math.inf)
        for at, o in enumerate(operators)
        for made in o.outputs
        if made.index in odd
    ]
    return [other_shapes + differences for differences in found]


def _parts(
    compared: Sequence[_Result], simulation: Simulation, values: Mapping[int, np.ndarray], feedable: Collection[int]
) -> Iterator[tuple[list[_Result], list[int]]]:
    """Results to be simulated at once, and which tensors to feed for them: few parts, and few numbers in each."""
    sizes = [_numbers(operator) + values[made.index].size for _, operator, made in compared]
    fed = {simulation.read[index].ref(): index for index in feedable}
    for part in in_parts(compared, sizes):
        yield part, _read_by(part, simulation, fed)


def _numbers(operator: Operator) -> int:
    """Of the constants and of what else an operator reads, as far as the file says."""
    return sum(math.prod(tensor.shape) for tensor in operator.inputs if tensor is not None)


def _read_by(part: Sequence[_Result], simulation: Simulation, fed: Mapping[Any, int]) -> list[int]:
    """The tensors of the file that are read for some results, and nothing behind them."""
    left = [simulation.made[made.index] for _, _, made in part]
    seen: set[Any] = set()
    found: set[int] = set()
    while left:
        tensor = left.pop()
        if tensor.ref() in seen:
            continue
        seen.add(tensor.ref())
        if tensor.ref() in fed:
            found.add(fed[tensor.ref()])
        else:
            left.extend(tensor.op.inputs)
    return sorted(found)


def _fits(simulation: Simulation, index: int, values: Mapping[int, np.ndarray]) -> bool:
    """Whether a tensor has a shape that its simulation can have."""
    return bool(simulation.made[index].shape.is_compatible_with(values[index].shape))


def _as_read(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) - np.float32(tensor.zero_point) if holds_codes(tensor) else values


def _difference(
    position: int, operator: Operator, tensor: Tensor, simulated: np.ndarray, values: Mapping[int, np.ndarray]
) -> OperatorDifference:
    steps = relative = 0.0
    real = values[tensor.index]
    if simulated.size != real.size:
        return OperatorDifference(position, operator.name, tensor.name, math.inf, math.inf)
    if holds_codes(tensor):
        codes = simulated.reshape(-1).astype(np.float64) + tensor.zero_point
        steps = float(np.abs(codes - real.reshape(-1)).max(initial=0))
    elif tensor.dtype in (np.float32, np.complex64):
        wide = np.promote_types(tensor.dtype, np.float64)
        first, second = simulated.reshape(-1).astype(wide), real.reshape(-1).astype(wide)
        size = _size(first)
        if operator.name in SUMS:  # of centred numbers only rounding is left
            size = max(size, _size(values[operator.read(0).index]))
        with np.errstate(invalid="ignore"):
            apart = np.abs(first - second)
        relative = float(apart[np.isfinite(apart)].max(initial=0)) / size if size else 0.0
    else:
        steps = float(np.any(simulated.reshape(-1) != real.reshape(-1)))
    return OperatorDifference(position, operator.name, tensor.name, steps, relative, _may_be_a_step(operator, tensor))


def _may_be_a_step(operator: Operator, made: Tensor) -> bool:
    """Whether a kernel rounds halves by another rule than its simulation; QUANTIZE does at the end of an array."""
    return operator.name in WITHIN_A_STEP or (operator.name == "QUANTIZE" and made.dtype == np.int16)


def _size(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0))
