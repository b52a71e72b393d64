"""The values that each field of the configuration file accepts, and its default: one row a field.

The same rows check the configuration file and ``config.json``, whose keys have the same meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from calibrant.config.graph_info import QUANTIZABLE_TYPES


@dataclass(frozen=True)
class Rule:
    """One field: its default (None where unset means something of its own), what it accepts, and that in words."""

    default: Any = None
    accepts: Callable[[Any], bool] | None = None
    allowed: str | None = None
    choices: tuple[str, ...] = ()

    def allows(self, value: Any) -> bool:
        """Whether a value of the field's type is accepted."""
        return self.accepts is None or self.accepts(value)


def _one_of(*values: Any, default: Any = None) -> Rule:
    words = [str(value) for value in values]
    return Rule(default, lambda value: value in values, f"{', '.join(words[:-1])} or {words[-1]}")


def _between(low: float, high: float, default: Any, words: str | None = None) -> Rule:
    return Rule(default, lambda value: low <= value <= high, words or f"a number from {low} to {high}")


def _percentile() -> Rule:
    return Rule(0.999999, lambda value: 0.5 < value <= 1, "a number above 0.5 and at most 1")


def _named(words: str) -> Rule:
    return Rule(None, lambda value: value != "", words)


_TYPE = Rule(None, lambda value: value in QUANTIZABLE_TYPES, ", ".join(QUANTIZABLE_TYPES), choices=QUANTIZABLE_TYPES)
_DATA_TYPE = _one_of("INT8", "INT16", default="INT8")

RULES: dict[tuple[str, str], Rule] = {
    ("AMCTConfig", "batch_num"): Rule(1, lambda value: value > 0, "a whole number above 0"),
    ("AMCTConfig", "activation_offset"): Rule(True),
    ("AMCTConfig", "joint_quant"): Rule(False),
    ("AMCTConfig", "do_fusion"): Rule(True),
    ("AMCTConfig", "skip_layers"): _named("the name of a layer of the graph"),
    ("AMCTConfig", "skip_layer_types"): _TYPE,
    ("AMCTConfig", "skip_approximation_layers"): _named("the name of a layer of the graph"),
    ("AMCTConfig", "skip_fusion_layers"): _named("the name of a layer that can be fused"),
    ("AMCTConfig", "fakequant_precision_mode"): Rule(None, None, "FORCE_FP16_QUANT"),
    ("NuqConfig", "mapping_file"): _named("the path of a JSON file"),
    ("OverrideLayerType", "layer_type"): _TYPE,
    ("OverrideLayer", "layer_name"): _named("the name of a quantizable layer"),
    ("TensorQuantize", "layer_name"): _named("the name of a MaxPool, Add or AddV2 node"),
    ("TensorQuantize", "input_index"): Rule(None, None, "the number of an input, counted from 0"),
    ("ARQuantize", "channel_wise"): Rule(None),
    ("ARQuantize", "quant_bits"): _one_of(6, 7, 8, default=8),
    ("FMRQuantize", "search_range_start"): Rule(
        0.7, lambda value: value > 0, "a number above 0 and below search_range_end"
    ),
    ("FMRQuantize", "search_range_end"): Rule(1.3, lambda value: value > 0, "a number above search_range_start"),
    ("FMRQuantize", "search_step"): Rule(
        0.01, lambda value: value > 0, "a number above 0 and at most search_range_end - search_range_start"
    ),
    ("FMRQuantize", "max_percentile"): _percentile(),
    ("FMRQuantize", "min_percentile"): _percentile(),
    ("FMRQuantize", "asymmetric"): Rule(None),
    ("FMRQuantize", "dst_type"): _DATA_TYPE,
    ("HFMGQuantize", "num_of_bins"): _one_of(1024, 2048, 4096, 8192, default=4096),
    ("HFMGQuantize", "asymmetric"): Rule(None),
    ("HFMGQuantize", "dst_type"): _DATA_TYPE,
    ("NUQuantize", "num_steps"): _one_of(16, 32, default=32),
    ("NUQuantize", "num_of_iteration"): _between(0, 5, 1, "a whole number from 0 to 5"),
    ("DMQBalancer", "migration_strength"): _between(0.2, 0.8, 0.5),
}

UNIQUE: dict[tuple[str, str], str | None] = {
    ("AMCTConfig", "skip_layers"): None,
    ("AMCTConfig", "skip_layer_types"): None,
    ("AMCTConfig", "skip_approximation_layers"): None,
    ("AMCTConfig", "skip_fusion_layers"): None,
    ("AMCTConfig", "override_layer_types"): "layer_type",
    ("AMCTConfig", "override_layer_configs"): "layer_name",
}
"""Repeated fields whose elements differ; for blocks, the field by which they do."""


def default_of(message: str, field: str) -> Any:
    """The value a field stands for when it is not written."""
    return RULES[message, field].default


def allowed_text(message: str, field: str) -> str | None:
    """What a field accepts, in words; None where its type says it all."""
    rule = RULES.get((message, field))
    return rule.allowed if rule else None
