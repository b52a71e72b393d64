"""Step: observe what a network needs whose places have got other bits than those for which the data were run.

Which tensors between layers a LiteRT file needs depends on the layers that read 16 bits: of some such layers it may
need others than of none and of all. A run with the new plan from the beginning would observe exactly these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from calibrant.algorithms.histogram import Histogram
from calibrant.calibration.runner import CalibrationRunner
from calibrant.config.plan import ActivationPlan, Plan
from calibrant.data.open_data import Batches
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.progress import ProgressFn
from calibrant.steps.prepared import Prepared
from calibrant.steps.ranges.intermediate_tensors import intermediate_tensors, observable_between


def replanned(
    prepared: Prepared,
    plan: Plan,
    places: Mapping[NodeInput, ActivationPlan],
    batches: Batches,
    tflite: TfliteSettings,
    runner: CalibrationRunner,
    track: ProgressFn,
) -> Prepared:
    """The network with another plan; what it needs and nobody has observed yet is observed in one more pass.

    Parameters
    ----------
    prepared : Prepared
        The network, and what was observed.
    plan : Plan
        Its new plan.
    places : Mapping[NodeInput, ActivationPlan]
        (node, input index) → settings of every activation that gets a quantizer, by the new plan.
    batches : Batches
        Calibration data, restartable.
    tflite : TfliteSettings
        How the LiteRT file is fed.
    runner : CalibrationRunner
        Runs the pass.
    track : ProgressFn
        Shows progress.
    """
    layers = [prepared.layers[entry.name] for entry in plan.layers]
    wide = [place for place, settings in places.items() if settings.bits == 16]
    needed, saturating, fixed = intermediate_tensors(prepared.lite, prepared.graph, layers, places, tflite, wide)
    read = tuple(read_tensor(prepared.graph, place) for place in places)
    observed, seen, intermediate = observable_between(prepared.graph, prepared.unclipped, read, needed, saturating)
    known = {
        tensor: histogram
        for tensor, histogram in prepared.histograms.items()
        if seen.get(tensor) == prepared.seen.get(tensor)
    }
    missing = {tensor: Histogram() for tensor in intermediate if tensor not in known}
    if missing:
        runner.observe(observed, {seen.get(name, name): [each] for name, each in missing.items()}, batches, track)
    every = {**known, **missing}
    return replace(
        prepared,
        plan=plan,
        places=places,
        observed=observed,
        seen=seen,
        fixed=fixed,
        intermediate=intermediate,
        spare={},
        histograms={tensor: every[tensor] for tensor in (*read, *intermediate)},
    )
