"""The error growth as plain values."""

from __future__ import annotations

from typing import Any

from calibrant.quantized_network import ErrorGrowth


def growth_rows(growth: ErrorGrowth | None) -> dict[str, Any]:
    """Number of samples, and a row per quantized input in graph order; none if it was not measured."""
    if growth is None:
        return {"samples": 0, "inputs": []}
    return {
        "samples": growth.samples,
        "inputs": [
            {
                "layer": entry.node,
                "index": entry.index,
                "arriving_db": entry.arriving_db,
                "own_db": entry.own_db,
                "channel_ratio": entry.channel_ratio,
            }
            for entry in growth.inputs
        ],
    }
