"""How much each layer of a report loses, in one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORST = "Worst dB"
"""What the number of a layer is called where people read it; a smaller one is worse."""


def damage_by_layer(report: Mapping[str, Any]) -> dict[str, float]:
    """Layer → dB: what it alone leaves at the outputs where that was measured, else the least of its own tensors.

    A layer that makes no difference at all is left out.
    """
    if report.get("sensitivity"):
        measured = {row["layer"]: row["only_signal_to_noise_db"] for row in report["sensitivity"]}
        return {name: value for name, value in measured.items() if value is not None}
    own = {f"{row['layer']}:{row['index']}": row["own_db"] for row in report.get("error_growth", {}).get("inputs", ())}
    damage = {}
    for row in report["layers"]:
        values = [own.get(input_key(row, entry)) for entry in row["inputs"]]
        values += [entry["signal_to_noise_db"] for entry in row["inputs"]]
        values.append(row.get("weights", {}).get("signal_to_noise_db"))
        known = [value for value in values if value is not None]
        if known:
            damage[row["layer"]] = min(known)
    return damage


def input_key(row: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """``node:index`` of an input of a row; rows of tensors without a layer are called so already."""
    return row["layer"] if row["type"] == "tensor" else f"{row['layer']}:{entry['index']}"
