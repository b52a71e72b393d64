"""The configuration file: its text to checked values, and these with a graph's facts to one plan per layer."""

from calibrant.config.graph_check import graph_problems
from calibrant.config.graph_info import (
    BALANCED_TYPES,
    CHANNEL_TYPES,
    QUANTIZABLE_TYPES,
    GraphInfo,
    LayerInfo,
)
from calibrant.config.json_write import write_config_json
from calibrant.config.load import load_config, read_config
from calibrant.config.model import (
    ARQuantize,
    CalibrationConfig,
    Configuration,
    DMQBalancer,
    FMRQuantize,
    HFMGQuantize,
    NuqConfig,
    NUQuantize,
    OverrideLayer,
    OverrideLayerType,
    TensorQuantize,
)
from calibrant.config.plan import ActivationPlan, LayerPlan, Plan, TensorPlan, WeightPlan
from calibrant.config.resolve import plan_problems, read_config_json, resolve
from calibrant.config.rows import PlanRow, plan_rows

__all__ = [
    "ARQuantize",
    "ActivationPlan",
    "BALANCED_TYPES",
    "CHANNEL_TYPES",
    "CalibrationConfig",
    "Configuration",
    "DMQBalancer",
    "FMRQuantize",
    "GraphInfo",
    "HFMGQuantize",
    "LayerInfo",
    "LayerPlan",
    "NUQuantize",
    "NuqConfig",
    "OverrideLayer",
    "OverrideLayerType",
    "Plan",
    "PlanRow",
    "QUANTIZABLE_TYPES",
    "TensorPlan",
    "TensorQuantize",
    "WeightPlan",
    "graph_problems",
    "load_config",
    "plan_problems",
    "plan_rows",
    "read_config",
    "read_config_json",
    "resolve",
    "write_config_json",
]
