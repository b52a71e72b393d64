"""The settings of layers of a plan as the override blocks that ask for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from calibrant.config.model import (
    ARQuantize,
    CalibrationConfig,
    Configuration,
    DMQBalancer,
    FMRQuantize,
    HFMGQuantize,
    NUQuantize,
    OverrideLayer,
)
from calibrant.config.plan import ActivationPlan, LayerPlan, Plan, WeightPlan


def layer_block(plan: LayerPlan, open_range: bool = False) -> OverrideLayer:
    """An override that resolves to these settings, whatever else the configuration says.

    With ``open_range`` it says nothing about the range of the activations, which is then refined by default.
    """
    return OverrideLayer(
        plan.name,
        CalibrationConfig.of(
            _weights(plan.weights),
            None if open_range else _activation(plan.activation),
            DMQBalancer(plan.migration_strength) if plan.migration_strength is not None else None,
        ),
    )


def with_overrides(
    given: Configuration,
    plan: Plan,
    changed: Collection[LayerPlan],
    in_float: Sequence[str] = (),
    open_ranges: Collection[str] = (),
) -> Configuration:
    """The given configuration with overrides for changed layers, and further layers in ``skip_layers``.

    Parameters
    ----------
    plan : Plan
        What the given configuration resolves to.
    changed : Collection[LayerPlan]
        The new settings of some of its layers.
    in_float : Sequence[str]
        Names of layers that are to stay in float.
    open_ranges : Collection[str]
        Names of changed layers whose overrides leave the range of the activations as open as it was.
    """
    left = {entry.name for entry in changed} | set(in_float)
    skipped = given.skip_layers
    if given.listed is not None:  # a configuration file has no other way to say that a layer is not listed
        left |= {entry.name for entry in plan.disabled}
        skipped = tuple(entry.name for entry in plan.disabled)
    return replace(
        given,
        override_layer_configs=(
            *(block for block in given.override_layer_configs if block.layer_name not in left),
            *(layer_block(entry, entry.name in open_ranges) for entry in changed),
        ),
        skip_layers=(*skipped, *in_float),
        listed=None,
        nuq_mapping_file=None,
        warnings=(),
        source=None,
        places={},
        labels={},
    )


def _weights(plan: WeightPlan | None) -> ARQuantize | NUQuantize | None:
    if plan is None:
        return None
    if plan.algorithm == "nuq":
        return NUQuantize(plan.num_steps, plan.num_of_iteration)
    return ARQuantize(plan.channel_wise, plan.bits)


def _activation(plan: ActivationPlan) -> FMRQuantize | HFMGQuantize:
    data_type = "INT16" if plan.bits == 16 else None
    if plan.algorithm == "hfmg":
        return HFMGQuantize(plan.num_of_bins, plan.asymmetric, data_type)
    return FMRQuantize(
        plan.search_range_start,
        plan.search_range_end,
        plan.search_step,
        plan.max_percentile,
        plan.min_percentile,
        plan.asymmetric,
        data_type,
    )
