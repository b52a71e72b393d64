"""The configuration file that ``calibrant init`` writes: every default, every layer by name."""

from __future__ import annotations

import json
from collections.abc import Sequence

from calibrant.config.model import (
    ARQuantize,
    CalibrationConfig,
    Configuration,
    DMQBalancer,
    FMRQuantize,
    OverrideLayer,
)
from calibrant.config.rules import default_of
from calibrant.config.text_write import write_block, write_config

_SEARCH = ("search_range_start", "search_range_end", "search_step", "max_percentile", "min_percentile")


def starter_text(model: str, layers: Sequence[tuple[str, str]]) -> str:
    """Text that reads as the defaults; comments show what else can be said.

    Settings of layers are comments as well, as ``quantize`` refines only what the configuration does not set.

    Parameters
    ----------
    model : str
        What the model is called.
    layers : Sequence[tuple[str, str]]
        (name, type) of every layer that can be quantized.
    """
    weights = ARQuantize(default_of("ARQuantize", "channel_wise"), default_of("ARQuantize", "quant_bits"))
    activation = FMRQuantize(**{name: default_of("FMRQuantize", name) for name in _SEARCH})
    defaults = Configuration(activation_offset=True, joint_quant=False, do_fusion=True)
    every = Configuration(common_config=CalibrationConfig.of(weights, activation, None))
    head = (
        f"How {model} is quantized. These are the defaults; remove what you do not change.\n"
        "All fields: docs/configuration. Check the file: calibrant check FILE --model MODEL"
    )
    name = layers[0][0] if layers else "LAYER"
    one = OverrideLayer(name, CalibrationConfig.of(ARQuantize(channel_wise=True), None, DMQBalancer(0.5)))
    block = write_block(one, "override_layer_configs")
    listed = "".join(f"{json.dumps(layer, ensure_ascii=False)}  {kind}\n" for layer, kind in layers)
    parts = [
        write_config(defaults, head),
        _comment(
            "Calibration reads one batch, 16 samples of a model with an open batch. 64 are better for most networks:",
            write_config(Configuration(batch_num=4)),
        ),
        _comment(
            "Settings for all layers, with the defaults. A range is what its search finds where this or another entry\n"
            "has ifmr_quantize or hfmg_quantize; calibrant quantize refines the others:",
            write_config(every),
        ),
        _comment("Leave a layer in float:", write_config(Configuration(skip_layers=(name,)))),
        _comment("Settings for one layer; what its block leaves out gets the defaults:", block),
        _comment("The layers that can be quantized:", listed),
    ]
    return "\n".join(parts)


def _comment(title: str, text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in f"{title}\n{text}".splitlines())
