"""What hurt, and what to try: findings with their evidence, the worst first, and one sentence that sums up."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibrant.algorithms.arq import channels_last, quantize_weights
from calibrant.algorithms.ifmr import IfmrSettings
from calibrant.algorithms.sqnr import sqnr_db
from calibrant.config.layer_block import layer_block
from calibrant.config.model import Configuration
from calibrant.config.plan import ActivationPlan, LayerPlan, Plan, is_default
from calibrant.config.text_write import write_block, write_config
from calibrant.layer_kinds import KINDS
from calibrant.quantized_network import OutputSqnr, QuantizedInput, QuantizedLayer, QuantizedNetwork
from calibrant.report.output_sqnr import judged_db, least_together, shown_db

WORTH_SAYING = 1.0
"""dB that a change must gain on the tensor itself."""
CLEAR_GAIN = 3.0
LOW = 30.0
"""dB of a tensor below which its layer is worth a look."""
CLEAR = 40.0
"""dB of a tensor from which another range gains nothing: that is what 8 bits leave of weights."""
MOST_ALIKE = 3
MOVING = 24.0
"""Severity of ranges that move with more data."""
CONSTANT = 27.0
"""Severity of a tensor that never changed: it loses nothing on these data."""
UNEVEN = 30.0
"""Largest over median magnitude of the channels from which the balancer is proposed."""


@dataclass(frozen=True)
class Finding:
    """One thing to know, and what to do about it.

    Parameters
    ----------
    severity : float
        Smaller is worse; where a tensor is concerned, its signal-to-noise ratio in dB.
    layer : str | None
        The layer concerned; None for data and the whole network.
    what : str
        The evidence, as a sentence.
    advice : str
        What to change, as a sentence.
    block : str | None
        Text to paste into the configuration file.
    gain_db : float | None
        Measured gain on the tensor; None where it was not measured.
    replaces : str | None
        The entry of the configuration in whose place the text goes; None where it is added.
    """

    severity: float
    layer: str | None
    what: str
    advice: str
    block: str | None = None
    gain_db: float | None = None
    replaces: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        return {
            "layer": self.layer,
            "what": self.what,
            "advice": self.advice,
            "block": self.block,
            "replaces": self.replaces,
            "gain_db": None if self.gain_db is None else round(self.gain_db, 1),
        }


def findings(
    network: QuantizedNetwork,
    plan: Plan,
    activations: Sequence[Mapping[str, Any]],
    growth: Sequence[Mapping[str, Any]],
    data_warnings: Sequence[str] = (),
    layer_warnings: Sequence[str] = (),
    too_few_data: str | None = None,
    refined: bool = False,
    by_outputs: Collection[str] = (),
    comment: str = "",
) -> list[dict[str, Any]]:
    """All findings, the worst first.

    Parameters
    ----------
    activations : Sequence[Mapping[str, Any]]
        Rows of :func:`calibrant.report.distributions.activation_rows`.
    growth : Sequence[Mapping[str, Any]]
        Rows of the error growth; none where it was not measured.
    data_warnings, layer_warnings : Sequence[str]
        Sentences about the data, and about single layers (which begin with the layer's name in quotes).
    too_few_data : str | None
        How far the ranges still move, where that is a concern.
    refined : bool
        Whether the ranges have been refined.
    by_outputs : Collection[str]
        Nodes whose ranges the error at the outputs decided: the error of their own tensors says nothing against them.
    comment : str
        A line in front of each text to paste: with which options it is the same run.
    """
    plans = {entry.name: entry for entry in plan.layers}
    growth_at = {f"{row['layer']}:{row['index']}": row for row in growth}
    found = [Finding(-2.0, None, _sentence(text), "Mend the calibration data first.") for text in data_warnings]
    constant = {entry.node for layer in network.layers for entry in layer.inputs if _is_constant(entry)}
    found += [_of_warning(text, plans, constant) for text in layer_warnings]
    if too_few_data is not None:
        found.append(Finding(MOVING, None, too_few_data, "Calibrate on more samples: --samples, or batch_num."))
    for row in activations:
        found += _of_activation(row, plans, growth_at, refined, by_outputs)
    for layer in network.layers:
        found += _of_weights(layer, plans)
    for name in plan.skip_fusion_layers:
        what = f"skip_fusion_layers keeps the batch norm of {name!r} apart."
        advice = "Take the name out of skip_fusion_layers: a folded norm costs nothing."
        found.append(Finding(25.0, name, what, advice))
    if not plan.do_fusion:
        found.append(Finding(25.0, None, "do_fusion is false: no norm is folded.", "Remove do_fusion : false."))
    listed = [entry.as_dict() for entry in _grouped(sorted(found, key=lambda entry: entry.severity))]
    return [{**row, "block": row["block"] and comment + row["block"]} for row in listed]


def verdict(totals: Mapping[str, Any], measured: OutputSqnr | None, count: int) -> str:
    """One sentence: how near the outputs are to the float model's, and how much of the network is quantized.

    Parameters
    ----------
    totals : Mapping[str, Any]
        The report's totals.
    measured : OutputSqnr | None
        The error of the outputs; None where it was not measured.
    count : int
        Number of findings.
    """
    layers, left = totals["quantized_layers"], totals["layers_left_in_float"]
    share = f"{layers} {'layer' if layers == 1 else 'layers'} quantized, {left} left in float"
    todo = f"; {count} {'finding' if count == 1 else 'findings'} below" if count else ""
    if measured is None:
        return f"{share}{todo}."
    worst = measured.total_db
    if math.isinf(worst) and worst > 0:
        return f"The outputs equal the float model's; {share}{todo}."
    steps = ((35, "very near"), (25, "near"), (15, "noticeably off"), (-math.inf, "far from"))
    judged = judged_db(measured)
    word = next(text for limit, text in steps if judged >= limit)
    together = f", {shown_db(least_together(measured))} of all samples together" if judged < worst else ""
    return f"The outputs are {word} the float model's ({shown_db(worst)}{together}); {share}{todo}."


def _grouped(found: Sequence[Finding]) -> list[Finding]:
    """More than MOST_ALIKE findings with one advice become one, with the evidence of the worst and all blocks."""
    by_advice: dict[str, list[Finding]] = {}
    for entry in found:
        by_advice.setdefault(entry.advice, []).append(entry)
    kept = []
    for entry in found:
        alike = by_advice[entry.advice]
        if len(alike) <= MOST_ALIKE:
            kept.append(entry)
        elif entry is alike[0]:
            more = f" {len(alike) - 1} more layers are like this."
            blocks = "".join(dict.fromkeys(other.block for other in alike if other.block))
            places = ", ".join(dict.fromkeys(other.replaces for other in alike if other.replaces))
            kept.append(replace(entry, what=entry.what + more, block=blocks or None, replaces=places or None))
    return kept


def _is_constant(entry: QuantizedInput) -> bool:
    return entry.search.use is not None and entry.search.use.is_constant


def _of_warning(text: str, plans: Mapping[str, LayerPlan], constant: Collection[str]) -> Finding:
    name = next((name for name in plans if text.startswith(f"{name!r}: ")), None)
    what = text if name is None else text[len(repr(name)) + 2 :]
    unsaid = "See the layer's histogram." if name is not None else "It concerns the whole network."
    what, _, advice = what.rpartition("; ") if "; " in what else (what, "", unsaid)
    block = _skip(name) if name is not None and "skip_layers" in advice else None
    return Finding(CONSTANT if name in constant else 5.0, name, _sentence(what), _sentence(advice), block)


def _of_activation(
    row: Mapping[str, Any],
    plans: Mapping[str, LayerPlan],
    growth: Mapping[str, Mapping[str, Any]],
    refined: bool,
    by_outputs: Collection[str],
) -> list[Finding]:
    name = row["read_by"][0].rpartition(":")[0]
    search = row["search"]
    chosen = search["chosen_db"]
    curve = [value for value in search["signal_to_noise_db"] if value is not None]
    own = growth.get(row["read_by"][0], {})
    plan = plans.get(name)
    if chosen is None or not curve:
        return []
    gain = max(curve) - chosen
    is_left = not any(reader.rpartition(":")[0] in by_outputs for reader in row["read_by"])
    is_other = plan is None or plan.activation != _default_search(plan.activation)
    found = []
    if gain >= WORTH_SAYING and chosen < CLEAR and is_left and is_other:
        share = (
            f"{100 * row['clipped']:.3g} % of the values of {row['tensor']} are clipped"
            if row["clipped"]
            else (f"the range of {row['tensor']} is wider than its values need")
        )
        block = None if plan is None else _block(replace(plan, activation=_default_search(plan.activation)))
        best = f"the best range there is would have {max(curve):.1f} dB instead of {chosen:.1f} dB"
        what, advice = _sentence(f"{share}; {best}"), "Use the default search of the range."
        found.append(Finding(chosen, name, what, advice, block, gain, _replaced(plan, block)))
    by_channel = own.get("own_db")
    if by_channel is not None and by_channel < LOW and own["channel_ratio"] >= UNEVEN:
        what = (
            f"The channels of {row['tensor']} differ in size: the largest reaches {own['channel_ratio']:.0f} times as "
            f"far as the median; the mean channel keeps {by_channel:.1f} dB."
        )
        can = plan is not None and plan.can_be_balanced and plan.migration_strength is None
        block = _block(replace(plan, migration_strength=0.5), is_default(plan)) if plan is not None and can else None
        advice = "Balance the channels with dmq_balancer." if can else "Look for what makes one channel so large."
        found.append(Finding(by_channel, name, what, advice, block, replaces=_replaced(plan, block)))
    elif by_channel is not None and by_channel < LOW and not found:
        what = f"Rounding and clipping leave the mean channel of {row['tensor']} {by_channel:.1f} dB."
        advice = (
            "Try calibrant tune --refine." if refined else "Try --refine, which moves ranges by the outputs' error."
        )
        found.append(Finding(by_channel + 5, name, what, advice))
    return found


def _of_weights(layer: QuantizedLayer, plans: Mapping[str, LayerPlan]) -> list[Finding]:
    weights, values, plan = layer.weights, layer.float_weights, plans[layer.layer.name]
    if weights is None or values is None or plan.weights is None:
        return []
    axes = KINDS[layer.layer.type].channel_axes
    now = _channel_decibels(values, weights.dequantize(), axes)
    if now is None:
        return []
    found = []
    if axes and weights.scale.size == 1 and weights.levels is None:
        better = _channel_decibels(values, quantize_weights(values, weights.bits, axes).dequantize(), axes)
        if better is not None and better - now >= CLEAR_GAIN:
            what = f"One scale for all channels leaves the mean channel's weights {now:.1f} dB."
            block = _block(replace(plan, weights=replace(plan.weights, channel_wise=True)), is_default(plan))
            advice = "Give each channel a scale of its own."
            found.append(Finding(now, plan.name, what, advice, block, better - now, plan.own_entry))
    if weights.bits < 8 and weights.levels is None:
        more = quantize_weights(values, 8, weights.channel_axes).dequantize()
        gain = (_channel_decibels(values, more, axes) or now) - now
        what = f"Weights of {weights.bits} bits have {now:.1f} dB."
        block = _block(replace(plan, weights=replace(plan.weights, bits=8)), is_default(plan))
        found.append(Finding(now, plan.name, what, "Use 8 bits.", block, gain, plan.own_entry))
    if not found and now < LOW:
        what = f"The mean channel's weights keep {now:.1f} dB."
        found.append(Finding(now, plan.name, what, "Leave the layer in float if accuracy is lost.", _skip(plan.name)))
    return found


def _channel_decibels(values: np.ndarray, rounded: np.ndarray, axes: tuple[int, ...]) -> float | None:
    """Mean over the output channels of the signal-to-noise ratio of the weights, within 0 and 90 dB."""
    axes = axes or (values.ndim - 1,)
    signal = np.square(channels_last(values, axes), dtype=np.float64).sum(axis=0)
    noise = np.square(channels_last(values - rounded, axes), dtype=np.float64).sum(axis=0)
    heard = signal > 0
    ratios = [min(max(sqnr_db(a, b), 0.0), 90.0) for a, b in zip(signal[heard], noise[heard], strict=True)]
    return float(np.mean(ratios)) if ratios else None


def _default_search(plan: ActivationPlan) -> ActivationPlan:
    best = IfmrSettings()
    return ActivationPlan(
        "ifmr",
        plan.asymmetric,
        plan.bits,
        best.search_range_start,
        best.search_range_end,
        best.search_step,
        best.max_percentile,
        best.min_percentile,
    )


def _block(plan: LayerPlan, open_range: bool = False) -> str:
    return write_block(layer_block(plan, open_range), "override_layer_configs")


def _replaced(plan: LayerPlan | None, block: str | None) -> str | None:
    return None if plan is None or block is None else plan.own_entry


def _skip(name: str) -> str:
    return write_config(Configuration(skip_layers=(name,)))


def _sentence(text: str) -> str:
    text = text.strip()
    return (text[:1].upper() + text[1:] if not text.startswith(("'", '"')) else text).rstrip(".") + "."
