"""Step: 16 bits for the activations that cost the outputs most, within a budget of multiply-accumulates.

The measure of an activation is the squared error at the outputs (before a final Softmax) with it alone quantized. These
errors nearly add up, so the best choice is a knapsack: the largest sum of errors whose layers have at most the budget's
share of the network's multiply-accumulates, which integer layers of 8 bits compute twice.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import ActivationPlan, Plan
from calibrant.data.open_data import Batches
from calibrant.emit.tflite.conversion.float_file import FloatFile
from calibrant.emit.tflite.planning.plan import PlanInputs, plan_file
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.multiply_accumulates import count_products
from calibrant.progress import LOG, ProgressFn
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.prepared import Prepared
from calibrant.steps.refining.output_errors import OutputErrors, pieces_of
from calibrant.steps.refining.refine import units_of
from calibrant.steps.refining.replanned import replanned

ENOUGH_SAMPLES, PIECE = 64, 16
MATTERS = 0.005
"""Share of the squared errors of all activations from which more bits are worth their layers' computing twice."""
PARTS = 1000  # of the budget
BUDGET = "budget"
"""Where the settings of a layer come from that gets 16 bits."""


def within_budget(
    prepared: Prepared,
    network: QuantizedNetwork,
    batches: Batches,
    budget: float,
    tflite: TfliteSettings,
    runner: CalibrationRunner,
    track: ProgressFn,
) -> Prepared:
    """The plan with 16 bits where they gain most, and what it needs; joint groups, and what has no weights, keep 8.

    Parameters
    ----------
    prepared : Prepared
        The plan, and what was observed.
    network : QuantizedNetwork
        With its quantization parameters.
    batches : Batches
        Calibration data, restartable; the first ENOUGH_SAMPLES samples are read.
    budget : float
        Share, 0...1, of the multiply-accumulates that activations of 16 bits may take.
    tflite : TfliteSettings
        How the LiteRT file is fed: int8 inputs have no more than 8 bits to give.
    runner : CalibrationRunner
        Observes what only the new plan needs.
    track : ProgressFn
        Shows progress.
    """
    coded, int8_inputs = _layers_with_codes(prepared), tflite.io == "int8"
    weighted = {layer.layer.name for layer in network.layers if layer.weights is not None}
    units = units_of(network, prepared)
    with OutputErrors(network.graph, units, network.force_float16_scale) as errors:
        present = {place: [unit[0].quantizer] for place, unit in enumerate(units)}
        pieces = pieces_of(network.graph, batches, PIECE, ENOUGH_SAMPLES)
        sizes = errors.measure(present, track(pieces, "budget", len(pieces)))
    squares = np.array([float(np.square(sizes[place]).sum()) for place in range(len(units))])
    counts = count_products(network.graph, batches.fed).counts
    whole = sum(counts.values())
    candidates = [
        place
        for place, unit in enumerate(units)
        if squares[place] > MATTERS * squares.sum()
        and all(
            entry.group is None
            and entry.quantizer.bits == 8
            and not (int8_inputs and _is_made_of_inputs(network.graph, entry.tensor, coded))
            and entry.node in weighted
            and entry.node in counts
            for entry in unit
        )
    ]
    costs = [sum(counts[entry.node] for entry in units[place]) for place in candidates]
    taken = {candidates[place] for place in best_within(squares[candidates].tolist(), costs, budget * whole)}
    names = {entry.node for place in taken for entry in units[place]}
    share = sum(counts[name] for name in names) / whole if whole else 0.0
    LOG.info(
        "budget: %d activations of %d layers get 16 bits, with %.1f %% of the multiply-accumulates",
        len(taken),
        len(names),
        100 * share,
    )
    wide = {entry.place for place in taken for entry in units[place]}
    places = {
        place: with_16_bits(settings) if place in wide else settings for place, settings in prepared.places.items()
    }
    return replanned(prepared, _with_wide(prepared.plan, names), places, batches, tflite, runner, track)


def _layers_with_codes(prepared: Prepared) -> frozenset[str]:
    """The layers with weights that compute on integers in a LiteRT file, and so make 16 bits of whatever they read."""
    if not isinstance(prepared.lite, FloatFile):
        return frozenset()
    layers = prepared.planned_layers
    plan = plan_file(PlanInputs(prepared.lite, prepared.graph, layers, tuple(prepared.places)))
    return frozenset(
        layer.name
        for layer in layers
        if layer.weight_input is not None and plan.operators.get(layer.name) in plan.layers
    )


def _is_made_of_inputs(graph: Graph, tensor: str, layers: Collection[str]) -> bool:
    """Whether an input of the network reaches a tensor through none of these layers: 16 bits of it were float."""
    waiting, seen = [tensor], {tensor}
    for each in waiting:
        if each in graph.inputs:
            return True
        node = graph.producer(each)
        if node.name in layers:
            continue
        read = [each for each in nd.data_inputs(node) if each not in seen and _may_be_real(graph.dtype(each))]
        waiting += read
        seen.update(read)
    return False


def _may_be_real(dtype: Any) -> bool:
    """Whether real numbers are in a tensor, as they may be in the lists of loops; not in shapes and conditions."""
    return not (dtype.is_integer or dtype.is_bool)


def best_within(values: Sequence[float], costs: Sequence[int], limit: float) -> list[int]:
    """The items with the largest sum of values whose costs are at most the limit; a part in PARTS of it may be left.

    Parameters
    ----------
    values : Sequence[float]
        Of each item, above 0.
    costs : Sequence[int]
        Of each item, not negative.
    limit : float
        Largest sum of costs.
    """
    if sum(costs) <= limit:
        return list(range(len(values)))
    if limit <= 0:
        return []
    sizes = [math.ceil(cost * PARTS / limit) for cost in costs]
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * (PARTS + 1)
    for item, (value, size) in enumerate(zip(values, sizes, strict=True)):
        for room in range(PARTS, size - 1, -1):
            total, items = best[room - size]
            if total + value > best[room][0]:
                best[room] = (total + value, (*items, item))
    return list(best[PARTS][1])


def _with_wide(plan: Plan, names: Collection[str]) -> Plan:
    return replace(
        plan,
        layers=tuple(
            replace(
                layer,
                activation=with_16_bits(layer.activation),
                sources=tuple({**dict(layer.sources), "activation": BUDGET, "asymmetric": "symmetric only"}.items()),
            )
            if layer.name in names
            else layer
            for layer in plan.layers
        ),
    )


def with_16_bits(settings: ActivationPlan) -> ActivationPlan:
    """The settings of a place that the budget gives 16 bits."""
    return replace(settings, bits=16, asymmetric=False)
