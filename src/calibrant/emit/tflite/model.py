"""The LiteRT file of a network: planning, writing, trying it out, signing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from calibrant.emit.output_names import tensors_with_output_names
from calibrant.emit.tflite.conversion.convert import OTHERWISE
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.conversion.name_check import without_wrong_names
from calibrant.emit.tflite.far_outputs import far_apart
from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.flatbuffer import METADATA, File
from calibrant.emit.tflite.float_ends import refuse_float_ends
from calibrant.emit.tflite.planning.fallback import offenders
from calibrant.emit.tflite.planning.plan import FilePlan, PlanInputs
from calibrant.emit.tflite.planning.scales import plan_with_scales
from calibrant.emit.tflite.planning.undefined import undefined
from calibrant.emit.tflite.planning.wiring import Wiring
from calibrant.emit.tflite.quantized_file import quantized_file
from calibrant.emit.tflite.sample import as_fed
from calibrant.emit.tflite.scores import softmax_input
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.emit.tflite.simulation.codes import real_values
from calibrant.emit.tflite.simulation.operator_check import OperatorDifference, is_wrong, operator_differences
from calibrant.emit.tflite.simulation.simulate import NotSimulated, Simulation, between_node, simulate
from calibrant.emit.tflite.trial import TrialError, tried
from calibrant.errors import ModelError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.logits import before_softmax
from calibrant.quantized_network import QuantizedNetwork

SIGNATURE = "serving_default"


@dataclass(frozen=True, eq=False)
class LiteFile:
    """What an export makes.

    Parameters
    ----------
    content, file : bytes, File
        The file, as bytes and read.
    simulation : Graph
        What it computes, as a graph.
    plan : FilePlan
        What runs on integers, by the positions of the float file.
    origin : Mapping[int, int]
        Position of an operator of this file → its position in the float file.
    float_file : FloatFile
        What it was made of.
    outputs : Sequence[np.ndarray]
        The numbers that it gives on the sample.
    """

    content: bytes
    file: File
    simulation: Graph
    plan: FilePlan
    origin: Mapping[int, int]
    float_file: FloatFile
    outputs: Sequence[np.ndarray]

    def scores(self) -> tuple[str, ...]:
        """For each output, the tensor of the simulation that a final SOFTMAX reads, or the output itself."""
        makers = {made.index: operator for operator in self.file.operators() for made in operator.outputs}
        found = []
        for end, output in zip(self.file.outputs(), self.simulation.outputs, strict=True):
            scores = softmax_input(makers, end)
            node = between_node(scores) if scores is not None else ""
            found.append(f"{node}:0" if node in self.simulation.nodes else before_softmax(self.simulation, output))
        return tuple(found)

    def floats(self) -> list[dict[str, Any]]:
        """The operators in float and why, for the report; with the quantized layers that they are."""
        operators = list(self.float_file.file.operators())
        layers: dict[int, list[str]] = {}
        for name, at in self.plan.operators.items():
            layers.setdefault(at, []).append(name)
        return [
            {
                "operator": operators[at].name,
                "tensor": _name(self.float_file, operators[at].outputs[0]),
                "reason": why,
                **({"layers": layers[at]} if at in layers else {}),
            }
            for at, why in sorted(self.plan.floats.items())
        ]

    def wide(self) -> list[str]:
        """The layers that compute with activations of 16 bits."""
        return [self.plan.layers[at] for at in sorted(self.plan.wide.layers)]


def lite_file(
    network: QuantizedNetwork,
    float_file: FloatFile,
    settings: TfliteSettings,
    sample: Mapping[int, np.ndarray],
    about: Mapping[str, Any] | None,
) -> LiteFile:
    """Make the file and its simulation, and run it before anyone sees it.

    Parameters
    ----------
    float_file : FloatFile
        Of ``network.graph``.
    sample : Mapping[int, np.ndarray]
        Inputs by position to try it with; real numbers.
    about : Mapping[str, Any] | None
        Plain values for the metadata entry ``calibrant``.

    Raises
    ------
    ModelError
        The file does not run, or inputs and outputs cannot be int8 as asked for.
    """
    network = _with_channel_weights(network)
    float_file = without_wrong_names(float_file, network.graph, sample)
    operators = list(float_file.file.operators())
    make = partial(_draft, network, float_file, settings, about)
    barred: dict[int, str] = {}
    while True:
        draft = make(barred)
        try:
            runs = _runs(draft, sample, network.graph.source)
        except TrialError as error:
            barred |= _fallback(make, barred, operators, sample, error)
            continue
        try:
            ends = network.output_tensors or network.graph.outputs
            simulation = simulate(draft.file, dict(enumerate(network.graph.inputs)), ends)
        except NotSimulated as error:
            raise ModelError(_not_simulated(error, network.graph.source)) from None
        # first what makes NaN: whatever reads them seems to be wrong as well
        wrong = _undefined(draft, float_file, runs[-1], sample, network.graph.source)
        wrong = wrong or _wrong_operators(draft, simulation, runs, network.graph.source)
        if not wrong:
            break
        barred |= wrong
    if settings.io == "int8":
        refuse_float_ends(draft.file, draft.plan, _given(network, float_file, settings, barred), network)
    outputs = [real_values(tensor, runs[0][tensor.index]) for tensor in draft.file.outputs()]
    _check_as_run_by_applications(draft, sample, outputs, network.graph)
    made = simulation.graph(network.graph.source)
    return LiteFile(draft.content, draft.file, made, draft.plan, draft.origin, float_file, outputs)


def _with_channel_weights(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network whose dense layers have scales for their channels, where it has such weights."""
    layers = (
        layer
        if (found := layer.channel_weights) is None
        else replace(layer, weights=found.weights, bias=found.bias, bias_correction=None)
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


@dataclass(frozen=True, eq=False)
class _Draft:
    """A file that nobody has run yet."""

    content: bytes
    file: File
    plan: FilePlan
    origin: Mapping[int, int]


def _draft(
    network: QuantizedNetwork,
    float_file: FloatFile,
    settings: TfliteSettings,
    about: Mapping[str, Any] | None,
    barred: Mapping[int, str],
) -> _Draft:
    plan, scales = plan_with_scales(_given(network, float_file, settings, barred), network)
    file = float_file.file.copy()
    fed = {tensor.index: name for tensor, name in zip(file.inputs(), network.graph.inputs, strict=True)}
    names = tensors_with_output_names(float_file.tensors, network.graph.outputs, network.output_tensors)
    origin = quantized_file(file, {**names, **fed}, plan, scales, settings.io)
    return _Draft(_signed(file, network.graph, about), file, plan, origin)


def _given(
    network: QuantizedNetwork, float_file: FloatFile, settings: TfliteSettings, barred: Mapping[int, str]
) -> PlanInputs:
    return PlanInputs(
        float_file,
        network.graph,
        layers=[layer.layer for layer in network.layers],
        places=list(network.inputs_by_place()),
        all_operators=settings.ops == "all",
        integer_ends=settings.io == "int8",
        barred=barred,
        known=network.intermediate.keys() - network.too_coarse,
        too_coarse=network.too_coarse,
        wide=[found.place for found in network.every_input() if found.quantizer.bits == 16],
    )


def _signed(file: File, graph: Graph, about: Mapping[str, Any] | None) -> bytes:
    file.sign(SIGNATURE, graph.input_keys, graph.output_keys)
    file.add_metadata(METADATA, json.dumps(about or {}, sort_keys=True, indent=1).encode())
    return file.content()


def _runs(draft: _Draft, sample: Mapping[int, np.ndarray], source: str) -> list[dict[int, np.ndarray]]:
    """All tensors with XNNPACK's kernels and with the built-in ones."""
    fed = as_fed(draft.file, sample)
    wanted = draft.file.used()
    return [tried(draft.content, fed, wanted, delegate, source) for delegate in (True, False)]


def _check_as_run_by_applications(
    draft: _Draft, sample: Mapping[int, np.ndarray], outputs: Sequence[np.ndarray], graph: Graph
) -> None:
    """Where nobody keeps the tensors in between, XNNPACK joins operators."""
    ends = list(draft.file.outputs())
    run = tried(draft.content, as_fed(draft.file, sample), [end.index for end in ends], True, graph.source, keep=False)
    far = far_apart(outputs, [real_values(end, run[end.index]) for end in ends])
    if far:
        raise ModelError(
            *(
                Problem(
                    "XNNPACK joins operators of its LiteRT file to one that computes other numbers",
                    file=graph.source,
                    path=graph.output_keys[at],
                    hint=OTHERWISE,
                )
                for at in far
            )
        )


def _fallback(
    make: Callable[[Mapping[int, str]], _Draft],
    barred: Mapping[int, str],
    operators: Sequence[Operator],
    sample: Mapping[int, np.ndarray],
    error: TrialError,
) -> dict[int, str]:
    """Operators with which in float the file runs, and why they have to be."""
    reason = f"with its integer kernel the file {error.reason}"
    found = offenders(
        make(barred).plan,
        operators,
        lambda suspects: _does_run(make({**barred, **dict.fromkeys(suspects, reason)}), sample),
    )
    if not found:
        raise error
    return dict.fromkeys(found, reason)


def _does_run(draft: _Draft, sample: Mapping[int, np.ndarray]) -> bool:
    try:
        _runs(draft, sample, "")
    except TrialError:
        return False
    return True


def _wrong_operators(
    draft: _Draft, simulation: Simulation, runs: list[dict[int, np.ndarray]], source: str
) -> dict[int, str]:
    """Operators of the float file that compute other numbers on integers than was meant, and how it shows."""
    wrong: dict[int, str] = {}
    for exact, found in zip((True, False), operator_differences(draft.file, simulation, runs), strict=True):
        for difference in found:
            if is_wrong(difference, exact):
                at = draft.origin.get(difference.position)
                if at is not None and at in draft.plan.integer:
                    wrong[at] = f"its kernel is {difference.steps:.0f} steps beside its formula"
                    continue
                readers = _integer_readers(draft, difference) if difference.name == "QUANTIZE" else ()
                if not readers:
                    raise ModelError(_unexplained(difference, source))
                wrong.update(dict.fromkeys(readers, "it reads numbers beyond those that QUANTIZE has codes for"))
    return wrong


def _undefined(
    draft: _Draft, float_file: FloatFile, run: Mapping[int, np.ndarray], sample: Mapping[int, np.ndarray], source: str
) -> dict[int, str]:
    """Operators on integers whose codes leave one in float without a number that the float network has, and why."""
    suspects = [draft.origin[at] for at in undefined(draft.file, run) if at in draft.origin]
    if not suspects:
        return {}
    wiring = Wiring(float_file)
    made = {at: [tensor.index for tensor in wiring.operators[at].outputs] for at in suspects}
    wanted = {index for found in made.values() for index in found}
    exact = tried(float_file.file.content(), as_fed(float_file.file, sample), wanted, False, source)
    lost = [wiring.operators[at] for at in suspects if all(np.isfinite(exact[index]).all() for index in made[at])]
    read = {tensor.index: each.name for each in lost for tensor in each.inputs if tensor is not None}
    return {
        wiring.maker[index]: f"its codes are too few for what is made of it ({name})"
        for index, name in read.items()
        if wiring.maker.get(index) in draft.plan.integer
    }


def _integer_readers(draft: _Draft, made: OperatorDifference) -> list[int]:
    """The operators of the float file that read what an operator of the draft makes, those on integers."""
    operators = list(draft.file.operators())
    [result] = operators[made.position].outputs
    readers = (
        draft.origin.get(position)
        for position, each in enumerate(operators)
        if any(tensor is not None and tensor.index == result.index for tensor in each.inputs)
    )
    return [at for at in readers if at is not None and at in draft.plan.integer]


def _not_simulated(error: NotSimulated, source: str) -> Problem:
    return Problem(
        f"its LiteRT file has {error}, whose numbers cannot be checked",
        file=source,
        hint="replace that part of the model, or export another format",
    )


def _unexplained(found: OperatorDifference, source: str) -> Problem:
    apart = f"{found.steps:.0f} apart" if found.steps else f"relative difference {found.relative:.2g}"
    apart = "of another shape" if math.isinf(found.steps) else apart
    return Problem(
        f"LiteRT's {found.name} computes other numbers than TensorFlow does ({apart})",
        file=source,
        path=found.tensor,
        hint="export another format",
    )


def _name(float_file: FloatFile, tensor: Any) -> str:
    return float_file.tensors.get(tensor.index, tensor.name.split(";")[0]).removesuffix(":0")
