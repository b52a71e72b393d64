"""Step: FORCE_FP16_QUANT only where float16 holds the scales."""

from __future__ import annotations

from calibrant.errors import ConfigError, Problem
from calibrant.quantized_network import QuantizedNetwork

LEAST, LARGEST = 2.0**-24, 65504.0


def refuse_float16_scales(network: QuantizedNetwork) -> None:
    """Say which activations have scales outside float16's range, where scales are to be rounded to it.

    Raises
    ------
    ConfigError : one problem for each activation.
    """
    if not network.force_float16_scale:
        return
    problems = [
        Problem(
            f"FORCE_FP16_QUANT rounds scales to float16, which does not hold that of {found.tensor}, {scale:.3g}",
            path=found.node,
            allowed=f"{LEAST:.3g} ... {LARGEST:g}",
            hint="leave out fakequant_precision_mode, or multiply the model's input by a constant",
        )
        for found in network.every_input()
        if not LEAST <= (scale := float(found.quantizer.scale)) <= LARGEST
    ]
    if problems:
        raise ConfigError(*problems)
