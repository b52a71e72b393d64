"""One row per quantized layer: its ranges, and how much of the signal is left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from calibrant.algorithms.arq import QuantizedWeights
from calibrant.algorithms.sqnr import sqnr_db
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork


def decibels(signal: float, noise: float) -> float | None:
    """Signal-to-quantization-noise ratio in dB; None where there is no noise or no signal."""
    ratio = sqnr_db(signal, noise)
    return ratio if math.isfinite(ratio) else None


def layer_rows(network: QuantizedNetwork) -> list[dict[str, Any]]:
    """A dict per layer, then one per quantized tensor, in graph order; plain values, ready for JSON."""
    return [
        *(layer_row(layer) for layer in network.layers),
        *(
            {"layer": f"{entry.node}:{entry.index}", "type": "tensor", "inputs": [input_row(entry)]}
            for entry in network.tensors
        ),
    ]


def layer_row(layer: QuantizedLayer) -> dict[str, Any]:
    """Everything about one layer."""
    row: dict[str, Any] = {
        "layer": layer.layer.name,
        "type": layer.layer.type,
        "inputs": [input_row(entry) for entry in layer.inputs],
    }
    if layer.weights is not None:
        row["weights"] = weights_row(layer.weights, np.asarray(layer.float_weights))
    if layer.bias is not None:
        row["bias"] = {"node": layer.layer.bias, "channels": int(layer.bias.size)}
        if layer.bias_correction is not None:
            row["bias"]["largest_correction"] = float(np.abs(layer.bias_correction).max())
    if layer.balance is not None:
        row["balance"] = {"smallest": float(layer.balance.min()), "largest": float(layer.balance.max())}
    return row


def weight_only_rows(network: QuantizedNetwork) -> list[dict[str, Any]]:
    """A dict per layer of which only the weights are quantized."""
    return [
        {
            "layer": entry.layer.name,
            "type": entry.layer.type,
            "constant": entry.layer.constant.node,
            "weights": weights_row(entry.weights, entry.layer.values),
        }
        for entry in network.weight_only
    ]


def input_row(entry: QuantizedInput) -> dict[str, Any]:
    """One quantized activation."""
    search = entry.search
    low, high = entry.quantizer.range
    row: dict[str, Any] = {
        "tensor": entry.tensor,
        "index": entry.index,
        "scale": float(entry.quantizer.scale),
        "offset": entry.quantizer.offset,
        "bits": entry.quantizer.bits,
        "low": low,
        "high": high,
        "signal_to_noise_db": decibels(search.signal_power, search.mean_squared_error),
        "codes_in_use": search.use and search.use.codes,
        "percentiles_exact": bool(search.low_is_exact and search.high_is_exact),
    }
    if entry.group is not None:
        row["joint_group"] = entry.group
    if entry.unrefined is not None:
        low, high = entry.unrefined.quantizer.range
        row["before_refinement"] = {
            "low": low,
            "high": high,
            "signal_to_noise_db": decibels(entry.unrefined.signal_power, entry.unrefined.mean_squared_error),
        }
    return row


def weights_row(weights: QuantizedWeights, float_weights: np.ndarray) -> Mapping[str, Any]:
    """The weights of one layer."""
    power = float(np.square(float_weights, dtype=np.float64).sum())
    row: dict[str, Any] = {
        "bits": weights.bits,
        "scales": int(weights.scale.size),
        "smallest_scale": float(weights.scale.min()),
        "largest_scale": float(weights.scale.max()),
        "signal_to_noise_db": decibels(power, weights.squared_error(float_weights)),
    }
    if weights.levels is not None:
        row["levels"] = list(weights.levels)
    return row
