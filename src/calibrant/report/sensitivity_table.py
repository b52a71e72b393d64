"""The layers by what each alone costs, with the blocks to put into a configuration file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from calibrant.config.layer_block import layer_block
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.config.text_write import write_block, write_config
from calibrant.quantized_network import Sensitivity


def sensitivity_rows(ranking: Sequence[Sensitivity], plan: Plan, comment: str = "") -> list[dict[str, Any]]:
    """One row per layer, the most harmful first; None where a layer makes no difference at all.

    ``override`` is the layer's present settings as a block to change and paste, in the place of the entry
    ``override_replaces`` where the configuration has one; ``skip`` leaves the layer in float. ``comment`` is
    a line in front of each: with which options it is the same run.
    """
    plans = {entry.name: entry for entry in plan.layers}
    return [
        {
            "layer": entry.layer,
            "type": entry.type,
            "only_signal_to_noise_db": _finite(entry.only_db),
            "only_cosine": entry.only_cosine,
            "without_signal_to_noise_db": _finite(entry.without_db),
            "without_cosine": entry.without_cosine,
            "override": comment + write_block(layer_block(plans[entry.layer]), "override_layer_configs"),
            "override_replaces": plans[entry.layer].own_entry,
            "skip": comment + write_config(Configuration(skip_layers=(entry.layer,))),
        }
        for entry in ranking
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
