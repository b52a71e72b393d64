"""Files of related tools that are taken for configuration files: recognized by fields that only they have."""

from __future__ import annotations

import json
import re

from calibrant.errors import Problem
from calibrant.text_source import Source

_KINDS = {
    "a configuration for quantization-aware retraining": (
        "retrain_data_quant_config",
        "retrain_weight_quant_config",
        "quant_skip_layers",
        "quant_skip_types",
        "ulq_quantize",
        "ulq_retrain",
        "arq_retrain",
        "retrain_config",
    ),
    "a configuration for pruning": (
        "prune_config",
        "filter_pruner",
        "selective_pruner",
        "regular_prune_skip_layers",
        "regular_prune_skip_types",
        "balanced_l2_norm_filter_prune",
        "l1_selective_prune",
        "auto_channel_prune_config",
    ),
    "a configuration for distillation": (
        "distill_group",
        "distill_data_quant_config",
        "distill_weight_quant_config",
        "group_size",
        "data_dump",
    ),
    "a record file": ("record", "scale_d", "scale_w", "offset_d", "offset_w"),
}
_INSTEAD = "a calibration configuration: batch_num, skip_layers, common_config, override_layer_configs, ..."
_CONFIG_JSON = 'an object with general settings and the layers by name: { "version": 1, "batch_num": 1, "conv1": {…} }'
_HINTS = {
    "a record file": "calibrant convert --record_file writes models from a record",
}
_TORCH_TYPES = ("Linear", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")  # Conv2d may be a slip of the pen
_FIELD = re.compile(r"(?<![\w\"'/.-])([a-z_0-9]+)\s*[:{<]")
_TYPE = re.compile(r"layer_types?\s*:\s*\[?\s*[\"'](" + "|".join(_TORCH_TYPES) + r")[\"']")


def foreign_problem(source: Source) -> Problem | None:
    """One sentence about a file of another kind; None for what can only be a mistake in a configuration file.

    Parameters
    ----------
    source : Source
        A text with at least one problem.
    """
    if _is_json_list(source.text):
        message = "this is a list in JSON, and neither a config.json nor a configuration file"
        hint = "calibrant quantize writes a config.json, as does create_quant_config of calibrant.amct"
        return Problem(message, file=source.name, allowed=_CONFIG_JSON, hint=hint)
    kinds = {field: kind for kind, fields in _KINDS.items() for field in fields}
    for number, line in enumerate(source.lines, start=1):
        code = line.split("#")[0]
        for match in _FIELD.finditer(code):
            kind = kinds.get(match.group(1))
            if kind is not None:
                hint = _HINTS.get(kind, "the model is quantized after training here; leave these fields out")
                message = f"this is {kind}: {match.group(1)!r} belongs to it"
                return source.problem(message, number, match.start(1) + 1, allowed=_INSTEAD, hint=hint)
        torch = _TYPE.search(code)
        if torch is not None:
            message = f"this configuration is for a PyTorch model: {torch.group(1)!r} is a layer type of PyTorch"
            hint = "layer types are TensorFlow's here: Conv2D, MatMul, DepthwiseConv2dNative, ..."
            return source.problem(message, number, torch.start(1) + 1, hint=hint)
    return None


def _is_json_list(text: str) -> bool:
    if not text.lstrip("\ufeff \t\r\n").startswith("["):
        return False
    try:
        return isinstance(json.loads(text.lstrip("\ufeff")), list)
    except (ValueError, RecursionError):
        return False
