"""Step: refuse FORCE_FP16_QUANT if float16 cannot hold the scales."""

from __future__ import annotations

from calibrant.errors import ConfigError, Problem
from calibrant.quantized_network import QuantizedNetwork

SMALLEST_SCALE, LARGEST_SCALE = 2.0**-24, 65504.0


def refuse_float16_scales(network: QuantizedNetwork) -> None:
    """Refuse a network whose scales are to be rounded to float16 but are outside its range.

    Raises
    ------
    ConfigError
        Scales outside the range, with one problem for each activation.
    """
    if not network.force_float16_scale:
        return
    problems = [
        Problem(
            f"FORCE_FP16_QUANT rounds scales to float16, which does not hold that of {entry.tensor}, {scale:.3g}",
            path=entry.node,
            allowed=f"{SMALLEST_SCALE:.3g} ... {LARGEST_SCALE:g}",
            hint="leave out fakequant_precision_mode, or multiply the model's input by a constant",
        )
        for entry in network.every_input()
        if not SMALLEST_SCALE <= (scale := float(entry.quantizer.scale)) <= LARGEST_SCALE
    ]
    if problems:
        raise ConfigError(*problems)
