"""Step: all that the error at the network's outputs decides, in its order: 16 bits, rounded weights, ranges."""

from __future__ import annotations

from dataclasses import replace

from calibrant.config.layer_block import with_overrides
from calibrant.config.model import Configuration
from calibrant.config.plan import is_default
from calibrant.data.batches import plural
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.progress import LOG, ProgressFn, Stopwatch
from calibrant.steps.balancing.channels import REFINE
from calibrant.steps.observed import Calibrated, searched
from calibrant.steps.prepared import Prepared
from calibrant.steps.ranges.fixed_scales import without_coarse_kernels
from calibrant.steps.ranges.parts import with_parts_alike
from calibrant.steps.refining.budget import BUDGET, within_budget
from calibrant.steps.refining.refine import FEWEST_SAMPLES, refined
from calibrant.steps.refining.refine_between import refined_between
from calibrant.steps.refining.whole_errors import WholeErrors
from calibrant.steps.second_pass import SecondPass, left_out_if
from calibrant.steps.weights.round_in_turn import rounded_in_turn


def with_budget(
    found: Calibrated, again: SecondPass, budget: float, tflite: TfliteSettings, watch: Stopwatch, track: ProgressFn
) -> tuple[Calibrated, Configuration]:
    """The network with 16 bits where they gain most, and the configuration that gives it the same without a budget.

    Parameters
    ----------
    found : Calibrated
        The network as it was calibrated.
    again : SecondPass
        The data.
    budget : float
        Share of the multiply-accumulates that may have activations of 16 bits, 0 … 1.
    tflite : TfliteSettings
        How a ``.tflite`` file is to be made.
    watch : Stopwatch
        Counts the time.
    track : ProgressFn
        Shows progress.
    """
    with watch.step("budget"):
        prepared = within_budget(found.prepared, found.network, again.batches, budget, tflite, again.runner, track)
        found = searched(prepared, found.half)
        plan = found.prepared.plan
        changed = [entry for entry in plan.layers if {BUDGET, REFINE} & set(dict(entry.sources).values())]
        configuration = with_overrides(
            replace(found.prepared.configuration, batch_num=plan.batch_num),
            plan,
            changed,
            open_ranges=[entry.name for entry in changed if is_default(entry)],
        )
    return found, configuration


def with_refinement(
    found: Calibrated,
    again: SecondPass,
    whole: WholeErrors,
    tflite: TfliteSettings,
    watch: Stopwatch,
    track: ProgressFn,
) -> Calibrated:
    """The network with weights rounded and ranges moved to where its outputs suffer least.

    Parameters
    ----------
    found : Calibrated
        The network as it was calibrated.
    again : SecondPass
        What is asked for; where nobody asked, what ends in an error is left out.
    whole : WholeErrors
        Errors of whole networks; it keeps nothing afterwards.
    tflite : TfliteSettings
        How a ``.tflite`` file is to be made.
    watch : Stopwatch
        Counts the time.
    track : ProgressFn
        Shows progress.
    """
    prepared, network, left_out = found.prepared, found.network, None
    if again.round_weights:
        with watch.step("round weights"), left_out_if(again.by_default):
            prepared, network = rounded_in_turn(prepared, network, whole, track)
    with watch.step("refine"), left_out_if(again.by_default):
        network = with_parts_alike(prepared, network)
        left_out = too_few_samples(prepared, whole) if again.by_default else None
        if left_out is not None:
            LOG.info("refine: left out, %s; --refine (refine=True) does it all the same", left_out)
        network = refined(prepared, network, whole, track, again.by_default)
        network = refined_between(prepared, network, whole, again.batches, track, again.by_default)
        if tflite.io != "int8":
            network = without_coarse_kernels(prepared.fixed, network, whole, again.by_default)
    whole.clear()
    return replace(found, prepared=prepared, network=network, unrefined=left_out)


def too_few_samples(prepared: Prepared, whole: WholeErrors) -> str | None:
    """Why ranges that nobody set are not refined by default; None where there are none, or enough samples for them.

    Parameters
    ----------
    prepared : Prepared
        The plan.
    whole : WholeErrors
        Reads the samples.
    """
    is_open = bool(prepared.intermediate) or any(map(is_default, prepared.plan.layers))
    if not is_open or not 0 < whole.samples < FEWEST_SAMPLES:
        return None
    return f"{plural(whole.samples, 'sample', 'samples')} of the {FEWEST_SAMPLES} that it needs"
