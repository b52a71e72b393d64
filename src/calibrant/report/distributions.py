"""What the quantizers saw: histograms of activations with the search around them, and the weights by channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from calibrant.algorithms.arithmetic import qparams_from_ranges
from calibrant.algorithms.arq import channels_last
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import quantization_errors
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork

BINS = 96
RATIOS = np.geomspace(1 / 64, 2, 43)
MOST_CHANNELS = 256
SHOWN_SHARE = 0.9999
"""Share of the values, from either end, that a histogram shows even where the clipping range leaves them out."""


def activation_rows(
    network: QuantizedNetwork, histogram_of: Callable[[QuantizedInput], Histogram]
) -> list[dict[str, Any]]:
    """One row per tensor and quantizer, with the inputs (``node:index``) that share it; plain values."""
    rows: dict[object, dict[str, Any]] = {}
    for entry in network.every_input():
        quantizer = entry.quantizer
        key = (entry.tensor, float(quantizer.scale), quantizer.offset, quantizer.bits)
        if key not in rows:
            histogram = histogram_of(entry)
            rows[key] = {
                "tensor": entry.tensor,
                "read_by": [],
                "values": histogram.count,
                "minimum": short(histogram.minimum),
                "maximum": short(histogram.maximum),
                "clipped": short(_clipped(histogram, *quantizer.range)),
                "histogram": _histogram(histogram, *quantizer.range),
                "search": search_curve(histogram, entry),
            }
        rows[key]["read_by"].append(f"{entry.node}:{entry.index}")
    return list(rows.values())


def search_curve(histogram: Histogram, entry: QuantizedInput) -> dict[str, Any]:
    """Signal-to-noise ratio against the clipping range as a multiple of the extremes seen, and the chosen range's.

    Returns
    -------
    dict[str, Any]
        ``ratios`` and ``signal_to_noise_db`` of the curve; ``chosen_ratio`` and ``chosen_db``.
    """
    quantizer = entry.quantizer
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    # A symmetric quantizer and an asymmetric one whose range is symmetric are the same arithmetic.
    asymmetric = quantizer.offset != 0
    scales, offsets = qparams_from_ranges(low * RATIOS, high * RATIOS, quantizer.bits, asymmetric)
    own = np.array([quantizer.scale]), np.array([quantizer.offset])
    errors = quantization_errors(histogram, np.append(scales, own[0]), np.append(offsets, own[1]), quantizer.bits)
    power = histogram.power
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(power / errors)
    shown = [short(value) if np.isfinite(value) else None for value in decibels]
    reach = max(high, -low)
    chosen = max(-quantizer.range[0], quantizer.range[1]) if not asymmetric else _reach(quantizer.range, low, high)
    return {
        "ratios": [short(ratio) for ratio in RATIOS],
        "signal_to_noise_db": shown[:-1],
        "chosen_ratio": short(chosen / reach) if reach else None,
        "chosen_db": shown[-1],
    }


def weight_rows(network: QuantizedNetwork) -> list[dict[str, Any]]:
    """One row per layer with weights: extremes, scale and error by channel, and how often each code occurs.

    Of more than MOST_CHANNELS channels as many are listed, evenly spaced by their largest magnitude.
    """
    return [_weight_row(layer) for layer in network.layers if layer.weights is not None]


def _weight_row(layer: QuantizedLayer) -> dict[str, Any]:
    weights, values = layer.require_weights(), layer.float_weights
    assert values is not None
    axes = layer.layer.channel_axes or (values.ndim - 1,)
    by_channel = channels_last(values, axes)
    lowest, highest = by_channel.min(axis=0), by_channel.max(axis=0)
    order = np.argsort(np.maximum(-lowest, highest), kind="stable")
    if len(order) > MOST_CHANNELS:
        order = order[np.linspace(0, len(order) - 1, MOST_CHANNELS).round().astype(int)]
    scales = np.broadcast_to(weights.scale, lowest.shape) if weights.scale.size in (1, lowest.size) else None
    codes = np.bincount(weights.values.astype(np.int64).ravel() + 128, minlength=256).reshape(32, 8).sum(axis=1)
    return {
        "layer": layer.layer.name,
        "channels": int(lowest.size),
        "shown_channels": [int(channel) for channel in order],
        "minimum": [short(lowest[channel]) for channel in order],
        "maximum": [short(highest[channel]) for channel in order],
        "scale": None if scales is None else [short(scales[channel]) for channel in order],
        "codes_by_eights": [int(count) for count in codes],
    }


def _histogram(histogram: Histogram, low: float, high: float) -> dict[str, Any]:
    """Counts in even bins around the range of a quantizer, and what lies outside of them."""
    width = (high - low) or 1.0
    start = max(min(low, histogram.value_from_bottom(SHOWN_SHARE).value), low - width)
    stop = min(max(high, histogram.value_from_top(SHOWN_SHARE).value), high + width)
    edges = np.linspace(start, stop, BINS + 1)
    below = histogram.spread_below(edges)
    return {
        "start": short(start),
        "step": short((stop - start) / BINS),
        "counts": [round(float(count), 1) for count in np.diff(below)],
        "below": round(float(below[0]), 1),
        "above": round(float(histogram.count - below[-1]), 1),
    }


def _clipped(histogram: Histogram, low: float, high: float) -> float:
    """Share of the values outside a range, 0 … 1, not counting what is within a hundredth of the range of it."""
    margin = (high - low) / 100
    below, within = histogram.spread_below(np.array([low - margin, high + margin]))
    return float(max(below + histogram.count - within, 0.0)) / histogram.count


def _reach(chosen: tuple[float, float], low: float, high: float) -> float:
    """How far a range goes, in the direction in which the values go farthest."""
    return chosen[1] if high >= -low else -chosen[0]


def short(value: Any) -> float:
    """A number with the four significant digits that a picture shows."""
    return float(f"{float(value):.4g}")
