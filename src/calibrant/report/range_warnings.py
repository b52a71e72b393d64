"""Warnings about activations whose range says little about most of their values, and biases outside of theirs."""

from __future__ import annotations

import numpy as np

from calibrant.algorithms.code_use import MOST_VALUES_SHARE
from calibrant.config.plan import LayerPlan, Plan
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork

MOST_ZEROED = 0.7


def range_warnings(network: QuantizedNetwork, plan: Plan) -> list[str]:
    """One sentence per tensor that was constant, or whose values use few of its codes."""
    sentences: dict[str, str] = {}
    layers = {entry.name: entry for entry in plan.layers}
    for entry in network.every_input():
        sentence = _sentence(entry, layers.get(entry.node))
        if sentence:
            sentences.setdefault(entry.tensor, f"{entry.node!r}: {sentence}")
    return list(sentences.values())


def _sentence(entry: QuantizedInput, layer: LayerPlan | None) -> str | None:
    use = entry.search.use
    if use is None:
        return None
    if use.is_constant:
        known = (
            f"scale {entry.quantizer.scale:g} was taken" if use.maximum == 0 else "nothing is known about other values"
        )
        way_out = "calibrate on data with other values, unless it never has any (as an initial state)"
        return f"its input {entry.tensor} was {use.maximum + 0.0:g} throughout the calibration data; {known}; {way_out}"
    low, high = entry.quantizer.range
    codes = 2**entry.quantizer.bits
    extremes = f"its values reach from {use.minimum:.4g} to {use.maximum:.4g}, its range is {low:.4g} .. {high:.4g}"
    if use.is_poor:
        most = f"{100 * MOST_VALUES_SHARE:g} % of the values of its input {entry.tensor}"
        share = f"{most} share {use.codes} of {codes} codes"
        return f"{share}: {extremes}; look for faulty samples in the data, or try calibrant tune"
    if use.zeroed > MOST_ZEROED:
        share = f"{100 * use.zeroed:.0f} % of the values of its input {entry.tensor} are rounded to zero"
        return f"{share}: {extremes}; try {_ways_out(layer)}"
    return None


def _ways_out(layer: LayerPlan | None) -> str:
    if layer is None:
        return "calibrant tune"
    if layer.can_be_balanced and layer.migration_strength is None:
        return "dmq_balancer where its channels differ in size, skip_layers, or calibrant tune"
    return "skip_layers, or calibrant tune"


def saturation_warnings(network: QuantizedNetwork) -> list[str]:
    """One sentence per layer with a bias of more than 2^31 steps of scale_d * scale_w.

    It happens where both scales are tiny against the bias: a layer whose input or weights hardly matter.
    """
    limits = np.iinfo(np.int32)
    warnings = []
    for layer in network.layers:
        if layer.bias is None:
            continue
        cut_off = int(np.isin(layer.integer_bias(), (limits.min, limits.max)).sum())
        if cut_off:
            warnings.append(
                f"{layer.layer.name!r}: {cut_off} of {layer.bias.size} biases exceed 32 bits in steps of "
                "scale_d * scale_w and are cut off; skip_layers would leave the layer in float"
            )
    return warnings
