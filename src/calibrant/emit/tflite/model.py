"""The LiteRT file of a network: planning, writing, trying it out, signing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.float_file import FloatFile
from calibrant.emit.tflite.operator_check import OperatorDifference, operator_differences
from calibrant.emit.tflite.plan import FilePlan, PlanInputs
from calibrant.emit.tflite.quantized_file import quantized_file
from calibrant.emit.tflite.scales import plan_with_scales
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.emit.tflite.simulated_codes import quantized
from calibrant.emit.tflite.simulated_integers import WITHIN_A_STEP
from calibrant.emit.tflite.simulation import simulation
from calibrant.emit.tflite.trial import tried
from calibrant.errors import ModelError, Problem
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedNetwork

METADATA = "calibrant"
NEAR = 1e-3
"""How far, relative to the largest number, kernels in float may be from TensorFlow's."""


@dataclass(frozen=True, eq=False)
class LiteFile:
    """What an export makes.

    Parameters
    ----------
    content : the file.
    simulation : what it computes, as a graph.
    plan, origin : what runs on integers, by the positions of the float file; position of an operator of this file →
        position in the float file.
    float_file : what it was made of.
    """

    content: bytes
    simulation: Graph
    plan: FilePlan
    origin: Mapping[int, int]
    float_file: FloatFile

    def floats(self) -> list[dict[str, str]]:
        """The operators in float and why, for the report."""
        operators = list(File(self.float_file.content).operators())
        return [
            {"operator": operators[at].name, "tensor": _name(self.float_file, operators[at].outputs[0]), "reason": why}
            for at, why in sorted(self.plan.floats.items())
        ]


def lite_file(
    network: QuantizedNetwork,
    float_file: FloatFile,
    settings: TfliteSettings,
    sample: Mapping[int, np.ndarray],
    about: Mapping[str, Any] | None = None,
) -> LiteFile:
    """Make the file and its simulation, and run it before anyone sees it.

    Parameters
    ----------
    float_file : of ``network.graph``.
    sample : inputs by position to try it with; real numbers.
    about : plain values for the metadata entry ``calibrant``.

    Raises
    ------
    ModelError : the file does not run, or inputs and outputs cannot be int8 as asked for.
    """
    places = [(found.node, found.index) for found in network.every_input()]
    layers = [layer.layer for layer in network.layers]
    known = frozenset(network.intermediate)
    barred: dict[int, str] = {}
    while True:
        given = PlanInputs(float_file, network.graph, layers, places, settings.ops == "all", dict(barred), known)
        plan, scales = plan_with_scales(given, network)
        file = File(float_file.content)
        origin = quantized_file(file, dict(float_file.tensors), plan, scales, network, settings.io)
        if settings.io == "int8":
            _refuse_float_ends(file, network.graph)
        content = _signed(file, about)
        wrong = _try(content, sample, network.graph.source, origin, plan)
        if not wrong:
            break
        barred.update(wrong)
    made = File(content)
    simulated = simulation(made, dict(enumerate(network.graph.inputs)), network.graph.source)
    return LiteFile(content, simulated, plan, origin, float_file)


def _signed(file: File, about: Mapping[str, Any] | None) -> bytes:
    file.add_metadata(METADATA, json.dumps(about or {}, sort_keys=True, indent=1).encode())
    return file.content()


def _try(
    content: bytes, sample: Mapping[int, np.ndarray], source: str, origin: Mapping[int, int], plan: FilePlan
) -> dict[int, str]:
    """Operators of the float file that compute other numbers on integers than was meant, and how it shows."""
    fed = {at: quantized(tensor, sample[at]) for at, tensor in enumerate(File(content).inputs())}
    wrong: dict[int, str] = {}
    runs = [tried(content, fed, delegate, source) for delegate in (True, False)]
    for exact, found in zip((True, False), operator_differences(content, runs), strict=True):
        for difference in found:
            if _is_wrong(difference, exact):
                at = origin.get(difference.position)
                if at is None or at not in plan.integer:
                    raise ModelError(_unexplained(difference, source))
                wrong[at] = f"its kernel is {difference.steps:.0f} steps beside its formula"
    return wrong


def _is_wrong(found: OperatorDifference, exact: bool) -> bool:
    most = 0 if exact and found.name not in WITHIN_A_STEP else 1
    return found.steps > most or not found.relative <= NEAR


def _unexplained(found: OperatorDifference, source: str) -> Problem:
    return Problem(
        f"LiteRT's {found.name} computes other numbers than TensorFlow does (relative difference {found.relative:.2g})",
        file=source,
        path=found.tensor,
        hint="export another format",
    )


def _refuse_float_ends(file: File, graph: Graph) -> None:
    ends = (("input", file.inputs(), graph.inputs), ("output", file.outputs(), graph.outputs))
    problems = [
        Problem(
            f"the {role} {name.removesuffix(':0')} is float, as what {verb} it has no integer kernel with its scale",
            file=graph.source,
            hint="leave inputs and outputs in float with --tflite-io float32",
        )
        for (role, tensors, names), verb in zip(ends, ("reads", "makes"), strict=True)
        for tensor, name in zip(tensors, names, strict=True)
        if tensor.dtype == np.float32
    ]
    if problems:
        raise ModelError(*problems)


def _name(float_file: FloatFile, tensor: Any) -> str:
    return float_file.tensors.get(tensor.index, tensor.name.split(";")[0]).removesuffix(":0")
