"""Damaged text: configurations, records, mapping files, config.json. Each is taken or refused with a project error."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from calibrant.config.load import load_config
from calibrant.records.mapping_file import read_mapping
from calibrant.records.record_file import read_records

CONFIGURATION = """# all layers
batch_num: 4
activation_offset: true
do_fusion: true
skip_layers: "conv1"
common_config {
  arq_quantize { channel_wise: true }
  ifmr_quantize { max_percentile: 0.999999 search_range_start: 0.7 search_range_end: 1.3 }
}
override_layer_configs: { layer_name: "fc/MatMul" calibration_config { arq_quantize { channel_wise: false } } }
"""
EVERY_FIELD = """joint_quant: false
skip_layer_types: "MatMul" skip_approximation_layers: "a"
fakequant_precision_mode: FORCE_FP16_QUANT
skip_fusion_layers: 'conv2'
common_config {
  arq_quantize < channel_wise: true, quant_bits: 8 >
  hfmg_quantize { num_of_bins: 4096; asymmetric: true dst_type: INT8 }
  dmq_balancer { migration_strength: 0.5 }
}
override_layer_types { layer_type: "Conv2D" calibration_config { ifmr_quantize {
  search_step: 0.01 max_percentile: 0.9999 min_percentile: 0.9999 asymmetric: false dst_type: INT16 } } }
nuq_config { mapping_file: "every_field" nuq_quantize { num_steps: 32 num_of_iteration: 1 } }
tensor_quantize { layer_name: "add" input_index: 1 hfmg_quantize { num_of_bins: 1024 } }
"""
RECORD = """record {
  key: "conv1"
  value { scale_d: 0.0798 offset_d: 1 scale_w: 0.00297 scale_w: 0.0121 offset_w: 0 offset_w: 0 shift_bit: 1 }
}
record { key: "fc" value { scale_d: 0.5 offset_d: -3 scale_w: 0.5 offset_w: 0 } }
record { key: "dw" value { scale_d: 0.5 dst_type: "INT16" act_type: "INT8" wts_type: "INT8" skip_fusion: true
  tensor_balance_factor: 1.5 tensor_balance_factor: 1e-3 scale_w: 0.5 offset_w: 0 cluster: -128 cluster: 127 } }
"""
MAPPING = """{"graph": [{"op": [
{"name": "conv", "type": "Conv2D", "attr": [{"key": "_fe_weight_compress", "value": {"b": true}}]}]}]}"""
JSON = """{"version": 1, "batch_num": 2, "activation_offset": true, "joint_quant": false, "do_fusion": true,
"skip_fusion_layers": [], "conv1": {"quant_enable": true, "activation_quant_params": {"num_bits": 8,
"max_percentile": 0.999999, "min_percentile": 0.999999, "search_range": [0.7, 1.3], "search_step": 0.01},
"weight_quant_params": {"wts_algo": "arq_quantize", "num_bits": 8, "channel_wise": true}},
"fc": {"quant_enable": false, "dmq_balancer_param": 0.5,
"activation_quant_params": {"act_algo": "hfmg", "num_bits": 16, "num_of_bins": 4096, "asymmetric": false},
"weight_quant_params": {"wts_algo": "nuq_quantize", "num_bits": 8, "num_steps": 32, "num_of_iteration": 1}},
"tensor_quantize": [{"layer_name": "add", "input_index": 0, "activation_quant_params": {"num_bits": 8}}],
"fakequant_precision_mode": "FORCE_FP16_QUANT", "nuq_mapping_file": "mapping.json"}"""
WORDS = (
    *("{", "}", "[", "]", ":", ",", ";", '"', "'", "\\", "#", "/", "\n", "\0", "\ud83d", "é", "-", "+", ".", "e9"),
    *("nan", "inf", "-0", "1e999", "0x7f", "9" * 400, "true", "null", "version", "[" * 300, "{" * 300, '{"a":' * 300),
    *("\\u0000", "\\777", "1" * 5000, "a" * 5000, "}}}}", "\t", "\r", "\ufeff", "<", ">", "batch_num: 0", '"op": 3,'),
)
KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "configuration": (CONFIGURATION, load_config),
    "every_field": (EVERY_FIELD, load_config),
    "record": (RECORD, read_records),
    "mapping": (MAPPING, read_mapping),
    "config_json": (JSON, load_config),
}


def mutant(seed: str, rng: random.Random) -> bytes:
    """The seed with one to five pieces removed, doubled or replaced; sometimes bytes that are no text."""
    text = seed
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 1, 1, 2, 8, 40)))
        piece = text[start:stop]
        kind = rng.randrange(5)
        if kind == 0:
            piece = ""
        elif kind == 1:
            piece *= rng.choice((2, 3, 50))
        elif kind == 2:
            piece = rng.choice(WORDS)
        elif kind == 3:
            at = rng.randrange(len(seed))
            piece = seed[at : at + rng.choice((1, 4, 30))]
        else:
            piece = "".join(chr(rng.randrange(128)) for _ in piece)
        text = text[:start] + piece + text[stop:]
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.05 and content:
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        content = bytes(damaged)
    return content
