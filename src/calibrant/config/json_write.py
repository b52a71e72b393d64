"""A plan as the text of ``config.json``, for a user to edit."""

from __future__ import annotations

import json
from typing import Any

from calibrant.config.plan import ActivationPlan, LayerPlan, Plan, WeightPlan
from calibrant.errors import ConfigError, Problem

VERSION = 1
TOP_KEYS = (
    "version",
    "batch_num",
    "activation_offset",
    "joint_quant",
    "do_fusion",
    "skip_fusion_layers",
    "tensor_quantize",
    "fakequant_precision_mode",
    "nuq_mapping_file",
)
"""Keys of the file that are not layers."""


def write_config_json(plan: Plan) -> str:
    """The text of ``config.json``: one object per quantizable layer after the settings of the whole graph.

    Layers that the configuration leaves in float come last, with ``"quant_enable": false`` and the settings they would
    have; those that cannot be quantized are not in the file.

    Raises
    ------
    ConfigError
        A layer has the name of one of the file's own keys.
    """
    document: dict[str, Any] = {
        "version": VERSION,
        "batch_num": plan.batch_num,
        "activation_offset": plan.activation_offset,
        "joint_quant": plan.joint_quant,
        "do_fusion": plan.do_fusion,
        "skip_fusion_layers": list(plan.skip_fusion_layers),
        "tensor_quantize": [
            {
                "layer_name": tensor.layer_name,
                "input_index": tensor.input_index,
                "activation_quant_params": _activation(tensor.activation),
            }
            for tensor in plan.tensors
        ],
    }
    if plan.force_float16_scale:
        document["fakequant_precision_mode"] = "FORCE_FP16_QUANT"
    if plan.nuq_mapping_file is not None:
        document["nuq_mapping_file"] = plan.nuq_mapping_file
    clashes = [layer.name for layer in plan.layers + plan.weight_only + plan.disabled if layer.name in TOP_KEYS]
    if clashes:
        raise ConfigError(*(Problem(f"a layer named {name!r} cannot be written to config.json") for name in clashes))
    document.update((layer.name, _layer(layer, True)) for layer in plan.layers)
    document.update((layer.name, _weight_only(layer)) for layer in plan.weight_only)
    document.update((layer.name, _layer(layer, False)) for layer in plan.disabled)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _layer(layer: LayerPlan, enabled: bool) -> dict[str, Any]:
    written: dict[str, Any] = {"quant_enable": enabled}
    if layer.migration_strength is not None:
        written["dmq_balancer_param"] = layer.migration_strength
    written["activation_quant_params"] = _activation(layer.activation)
    if layer.weights is not None:
        written["weight_quant_params"] = _weights(layer.weights)
    return written


def _weight_only(layer: LayerPlan) -> dict[str, Any]:
    written: dict[str, Any] = {"quant_enable": True}
    if layer.weights is not None:
        written["weight_quant_params"] = _weights(layer.weights)
    return written


def _activation(activation: ActivationPlan) -> dict[str, Any]:
    written: dict[str, Any] = {"num_bits": activation.bits, "act_algo": activation.algorithm}
    if activation.algorithm == "hfmg":
        written["num_of_bins"] = activation.num_of_bins
    else:
        written["max_percentile"] = activation.max_percentile
        written["min_percentile"] = activation.min_percentile
        written["search_range"] = [activation.search_range_start, activation.search_range_end]
        written["search_step"] = activation.search_step
    written["asymmetric"] = activation.asymmetric
    return written


def _weights(weights: WeightPlan) -> dict[str, Any]:
    if weights.algorithm == "nuq":
        return {
            "num_bits": weights.bits,
            "wts_algo": "nuq_quantize",
            "num_steps": weights.num_steps,
            "num_of_iteration": weights.num_of_iteration,
        }
    return {"num_bits": weights.bits, "wts_algo": "arq_quantize", "channel_wise": weights.channel_wise}
