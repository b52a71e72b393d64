"""The settings of one layer of a plan as the override block that asks for them."""

from __future__ import annotations

from calibrant.config.model import (
    ARQuantize,
    CalibrationConfig,
    DMQBalancer,
    FMRQuantize,
    HFMGQuantize,
    NUQuantize,
    OverrideLayer,
)
from calibrant.config.plan import ActivationPlan, LayerPlan, WeightPlan


def layer_block(plan: LayerPlan) -> OverrideLayer:
    """An override that resolves to these settings, whatever else the configuration says."""
    return OverrideLayer(
        plan.name,
        CalibrationConfig.of(
            _weights(plan.weights),
            _activation(plan.activation),
            DMQBalancer(plan.migration_strength) if plan.migration_strength is not None else None,
        ),
    )


def _weights(plan: WeightPlan | None) -> ARQuantize | NUQuantize | None:
    if plan is None:
        return None
    if plan.algorithm == "nuq":
        return NUQuantize(plan.num_steps, plan.num_of_iteration)
    return ARQuantize(plan.channel_wise, plan.bits)


def _activation(plan: ActivationPlan) -> FMRQuantize | HFMGQuantize:
    if plan.algorithm == "hfmg":
        return HFMGQuantize(plan.num_of_bins, plan.asymmetric)
    return FMRQuantize(
        plan.search_range_start,
        plan.search_range_end,
        plan.search_step,
        plan.max_percentile,
        plan.min_percentile,
        plan.asymmetric,
    )
