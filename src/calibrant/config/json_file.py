"""``config.json`` back to a ``Configuration``.

It is the same that a configuration file gives, with an entry for each of the layers, so that the same rules and
priorities hold for both.
"""

from __future__ import annotations

from typing import Any

from calibrant.config.json_tree import JsonNode, read_json
from calibrant.config.json_values import JsonValues, format_node
from calibrant.config.json_write import TOP_KEYS, VERSION
from calibrant.config.model import (
    ARQuantize,
    CalibrationConfig,
    Configuration,
    DMQBalancer,
    FMRQuantize,
    HFMGQuantize,
    NUQuantize,
    OverrideLayer,
    TensorQuantize,
)
from calibrant.config.problems import ProblemList
from calibrant.config.rules import allowed_text
from calibrant.errors import did_you_mean
from calibrant.text_source import Source

JSON_LIMIT = 16 * 2**20
"""Largest ``config.json`` in bytes."""

_ACTIVATION_KEYS = {
    "ifmr": {"max_percentile": "float", "min_percentile": "float", "search_step": "float", "asymmetric": "bool"},
    "hfmg": {"num_of_bins": "int", "asymmetric": "bool"},
}
_WEIGHT_KEYS = {
    "arq_quantize": {"channel_wise": "bool"},
    "nuq_quantize": {"num_steps": "int", "num_of_iteration": "int"},
}


def is_config_json(text: str) -> bool:
    """Whether a text is meant as a ``config.json`` and not as a configuration file, which cannot begin with a brace."""
    return text.lstrip("\ufeff \t\r\n")[:1] == "{"


def parse_config_json(source: Source) -> tuple[Configuration, ProblemList]:
    """The configuration that the text of a ``config.json`` describes, and what is wrong with the text.

    Keys that are missing take their defaults, also inside a layer; a layer that is missing is not quantized. Settings
    for weights of a layer without weights, which the original tool writes, are ignored where it is resolved.

    Raises
    ------
    ConfigError
        The text is no JSON.
    """
    reader = _Reader(source)
    return reader.document(read_json(source)), reader.read.problems


class _Reader:
    """Walks over the tree of one file; what is wrong goes to ``problems``, and the walk goes on."""

    def __init__(self, source: Source):
        self.read = JsonValues(source)

    def document(self, node: JsonNode) -> Configuration:
        values = self.read.object(node, "", None)
        self.read.choice(values, "version", "int", "", VERSION)
        mapping_file = self.read.scalar(values, "nuq_mapping_file", "string", "")
        kinds = {"batch_num": "int", "activation_offset": "bool", "joint_quant": "bool", "do_fusion": "bool"}
        settings = {key: self.read.scalar(values, key, kind, "", key) for key, kind in kinds.items()}
        mode = None
        if "fakequant_precision_mode" in values:
            mode = self.read.choice(values, "fakequant_precision_mode", "string", "", "FORCE_FP16_QUANT")
        overrides: list[OverrideLayer] = []
        listed: dict[str, bool] = {}
        for name, value in values.items():
            if name in TOP_KEYS:
                continue
            if value.kind != "object":
                hint = did_you_mean(name[:80], TOP_KEYS)
                self.read.report(
                    value, name, f"the key {name!r} is unknown and no layer", allowed=", ".join(TOP_KEYS), hint=hint
                )
                continue
            listed[name], override = self.layer(name, value, f"override_layer_configs[{len(overrides)}]")
            overrides.append(override)
        return Configuration(
            **settings,
            fakequant_precision_mode=mode,
            skip_fusion_layers=self.names(values.get("skip_fusion_layers")),
            override_layer_configs=tuple(overrides),
            tensor_quantize=self.tensors(values.get("tensor_quantize")),
            listed=listed,
            nuq_mapping_file=mapping_file,
            source=self.read.source,
            places=self.read.places,
            labels=self.read.labels,
        )

    def names(self, node: JsonNode | None) -> tuple[str, ...]:
        names: list[str] = []
        for element in self.read.elements(node, "skip_fusion_layers"):
            label = f"skip_fusion_layers[{len(names)}]"
            self.read.place(label, element, label)
            if isinstance(element.value, str):
                names.append(element.value)
            else:
                self.read.report(element, label, f"{format_node(element)} is not text in quotes")
        return tuple(names)

    def tensors(self, node: JsonNode | None) -> tuple[TensorQuantize, ...]:
        tensors: list[TensorQuantize] = []
        for element in self.read.elements(node, "tensor_quantize"):
            label = f"tensor_quantize[{len(tensors)}]"
            self.read.place(label, element, label)
            values = self.read.object(element, label, ("layer_name", "input_index", "activation_quant_params"))
            for key in ("layer_name", "input_index"):
                if element.kind == "object" and key not in values:
                    self.read.report(
                        element, label, f"the key {key!r} is missing", allowed=allowed_text("TensorQuantize", key)
                    )
            activation = self.activation(values.get("activation_quant_params"), label, label)
            tensors.append(
                TensorQuantize(
                    self.read.scalar(values, "layer_name", "string", label, f"{label}.layer_name"),
                    self.read.scalar(values, "input_index", "int", label, f"{label}.input_index"),
                    activation if isinstance(activation, FMRQuantize) else None,
                    activation if isinstance(activation, HFMGQuantize) else None,
                )
            )
        return tuple(tensors)

    def layer(self, name: str, node: JsonNode, path: str) -> tuple[bool, OverrideLayer]:
        """Whether a layer is quantized, and its settings."""
        self.read.place(path, node, name)
        self.read.place(f"{path}.layer_name", node, name)
        known = ("quant_enable", "dmq_balancer_param", "activation_quant_params", "weight_quant_params")
        values = self.read.object(node, name, known)
        enabled = self.read.scalar(values, "quant_enable", "bool", name)
        path = f"{path}.calibration_config"
        inner = f"{path}.dmq_balancer.migration_strength"
        strength = self.read.scalar(values, "dmq_balancer_param", "float", name, inner)
        if "dmq_balancer_param" in values:
            self.read.place(f"{path}.dmq_balancer", values["dmq_balancer_param"], f"{name}.dmq_balancer_param")
        settings = CalibrationConfig.of(
            self.weights(values.get("weight_quant_params"), name, path),
            self.activation(values.get("activation_quant_params"), name, path),
            None if strength is None else DMQBalancer(strength),
        )
        return enabled is not False, OverrideLayer(name, settings)

    def weights(self, node: JsonNode | None, label: str, path: str) -> ARQuantize | NUQuantize | None:
        if node is None:
            return None
        label = f"{label}.weight_quant_params"
        everything = self.read.object(
            node, label, ("num_bits", "wts_algo", *_WEIGHT_KEYS["arq_quantize"], *_WEIGHT_KEYS["nuq_quantize"])
        )
        algorithm = self.read.choice(everything, "wts_algo", "string", label, *_WEIGHT_KEYS)
        written = self.fields(everything, algorithm, _WEIGHT_KEYS, label, f"{path}.{algorithm}")
        if algorithm == "nuq_quantize":
            self.read.choice(everything, "num_bits", "int", label, 8)
            return NUQuantize(**written)
        bits = self.read.scalar(everything, "num_bits", "int", label, f"{path}.arq_quantize.quant_bits")
        return ARQuantize(**written, quant_bits=bits)

    def activation(self, node: JsonNode | None, label: str, path: str) -> FMRQuantize | HFMGQuantize | None:
        if node is None:
            return None
        label = f"{label}.activation_quant_params"
        known = ("num_bits", "act_algo", "search_range", *_ACTIVATION_KEYS["ifmr"], "num_of_bins")
        values = self.read.object(node, label, known)
        data_type = "INT16" if self.read.choice(values, "num_bits", "int", label, 8, 16) == 16 else None
        algorithm = self.read.choice(values, "act_algo", "string", label, *_ACTIVATION_KEYS)
        block = f"{algorithm}_quantize"
        written = self.fields(values, algorithm, _ACTIVATION_KEYS, label, f"{path}.{block}")
        if algorithm == "hfmg":
            if "search_range" in values:
                self.read.report(
                    values["search_range"], f"{label}.search_range", "'search_range' is a key of ifmr, not of hfmg"
                )
            return HFMGQuantize(**written, dst_type=data_type)
        start, end = self.search_range(values.get("search_range"), f"{label}.search_range", f"{path}.{block}")
        return FMRQuantize(search_range_start=start, search_range_end=end, **written, dst_type=data_type)

    def fields(
        self, values: dict[str, JsonNode], algorithm: str, tables: dict[str, dict[str, str]], label: str, path: str
    ) -> dict[str, Any]:
        """The keys of one algorithm; those of another one are reported."""
        for other, keys in tables.items():
            for key in keys:
                if key in values and key not in tables[algorithm]:
                    message = f"{key!r} is a key of {other}, not of {algorithm}"
                    self.read.report(values[key], f"{label}.{key}", message, allowed=", ".join(tables[algorithm]))
        return {
            key: self.read.scalar(values, key, kind, label, f"{path}.{key}") for key, kind in tables[algorithm].items()
        }

    def search_range(self, node: JsonNode | None, label: str, path: str) -> tuple[float | None, float | None]:
        if node is None:
            return None, None
        ends = node.value if node.kind == "array" else []
        if len(ends) != 2:
            self.read.report(node, label, f"{format_node(node)} is not a range", allowed="[start, end]")
            return None, None
        values = {"start": ends[0], "end": ends[1]}
        return (
            self.read.scalar(values, "start", "float", label, f"{path}.search_range_start"),
            self.read.scalar(values, "end", "float", label, f"{path}.search_range_end"),
        )
