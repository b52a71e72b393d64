"""What the report says about choices that concern several layers: non-uniform weights and joint quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibrant.config.plan import Plan
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork

_REASONS = {
    "nuq_config": "the mapping file marks its weights as compressed",
    "common_config": "common_config sets nuq_quantize for every layer",
    "config.json": "config.json sets nuq_quantize",
}


def nonuniform_rows(plan: Plan, network: QuantizedNetwork) -> dict[str, Any]:
    """The layers with non-uniform weights, why each was chosen, and the levels that are left of 256.

    The mapping file is given by its name alone: the report does not depend on where it lies.
    """
    origins = {entry.name: dict(entry.sources).get("weights", "default") for entry in plan.layers}
    return {
        "mapping_file": Path(plan.nuq_mapping_file).name if plan.nuq_mapping_file else None,
        "layers": [
            {
                "layer": layer.layer.name,
                "chosen_by": origins[layer.layer.name],
                "reason": _reason(origins[layer.layer.name]),
                "levels": list(layer.weights.levels),
            }
            for layer in network.layers
            if layer.weights is not None and layer.weights.levels is not None
        ],
    }


def joint_group_rows(network: QuantizedNetwork) -> list[dict[str, Any]]:
    """The groups of quantizers that share one scale, each with its members as ``node:input_index``."""
    groups: dict[str, list[QuantizedInput]] = {}
    for entry in network.every_input():
        if entry.group is not None:
            groups.setdefault(entry.group, []).append(entry)
    return [
        {
            "group": name,
            "scale": float(members[0].quantizer.scale),
            "offset": members[0].quantizer.offset,
            "members": [f"{entry.node}:{entry.index}" for entry in members],
        }
        for name, members in groups.items()
    ]


def _reason(origin: str) -> str:
    return _REASONS.get(origin, f"{origin} sets nuq_quantize for it")
