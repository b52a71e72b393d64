"""Whether a LiteRT file computes every operator as its simulation does, given what the file has computed before it.

Kernels may differ by a step, and a network may make much of it: a norm divides a whole group by one number.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calibrant.emit.tflite.sample import as_fed
from calibrant.emit.tflite.simulation.operator_check import is_wrong, operator_differences, run_file
from calibrant.emit.tflite.simulation.simulate import NotSimulated, simulate
from calibrant.evaluation.divergence import OutputDivergence
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.evaluation.verification import Limits
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import run_once
from calibrant.graph.tensorflow import tensorflow


def operators_hold(runner: TfliteRunner, stored: Graph, fed: Mapping[int, np.ndarray]) -> bool:
    """Whether a file is the one that was simulated, and no operator of it beside its formula.

    The kernels are those that applications get by default. Of a file that cannot be simulated, as one of other origin,
    it is not known, so that they do not hold.

    Parameters
    ----------
    stored : Graph
        The simulation that was written beside the file: weights or scales that were changed since then are not in it.
    fed : Mapping[int, np.ndarray]
        Values of the inputs by position, real numbers.
    """
    try:
        simulation = simulate(runner.file, {at: f"input{at}" for at in range(len(fed))})
        if not _compute_the_same(simulation.graph(runner.source), stored, fed):
            return False
        run = run_file(runner.content, as_fed(runner.file, fed), runner.file.used())
        [differences] = operator_differences(runner.file, simulation, [run])
    except (NotSimulated, ValueError, RuntimeError, tensorflow().errors.OpError):
        return False
    return not any(is_wrong(found, exact=True) for found in differences)


def _compute_the_same(first: Graph, second: Graph, fed: Mapping[int, np.ndarray]) -> bool:
    both = (run_once(graph, dict(zip(graph.input_keys, fed.values(), strict=True))) for graph in (first, second))
    return all(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc") for one, other in zip(*both, strict=True))


def no_worse_than_rounding(kernels: OutputDivergence, rounding: OutputDivergence, limits: Limits) -> bool:
    """Whether kernels change no output more than rounding between layers does.

    Parameters
    ----------
    kernels : OutputDivergence
        Of the file, beside its simulation.
    rounding : OutputDivergence
        Of the simulation, beside the fake-quantized model.
    """
    if kernels.lost or kernels.alike < min(limits.agreement, rounding.alike):
        return False
    pairs = zip(kernels.outputs, rounding.outputs, strict=True)
    return all(
        found.share_equal >= min(limits.share_within, other.share_equal) if found.whole else found.noise <= other.noise
        for found, other in pairs
    )
