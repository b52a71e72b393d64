"""``report.json``: what happened to every layer, and what was left alone and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from calibrant.config.plan import Plan
from calibrant.fed_shapes import FedShapes
from calibrant.fold import Folded
from calibrant.graph.graph import Graph
from calibrant.quantized_network import QuantizedNetwork
from calibrant.report.bias_axes import bias_axis_warnings
from calibrant.report.choices import joint_group_rows, nonuniform_rows
from calibrant.report.integer_share import integer_share
from calibrant.report.layer_table import layer_rows, weight_only_rows
from calibrant.report.quantized_before import quantized_before_warnings
from calibrant.report.range_warnings import range_warnings, saturation_warnings
from calibrant.report.training_norms import training_norm_warnings

VERSION = 1


def report(
    original: Graph, folded: Folded, plan: Plan, network: QuantizedNetwork, fed: FedShapes | None
) -> dict[str, Any]:
    """Plain values, in a fixed order, without times or paths: the same inputs give the same bytes."""
    origins = {entry.name: dict(entry.sources) for entry in plan.layers}
    read = list(dict.fromkeys(each.tensor for entry in network.layers for each in entry.inputs))
    return {
        "version": VERSION,
        "model": {
            "inputs": list(original.input_keys),
            "outputs": list(original.output_keys),
            "input_tensors": list(original.inputs),
            "output_tensors": list(original.outputs),
            "nodes": len(original.nodes),
        },
        "totals": {
            "quantized_layers": len(network.layers),
            "weight_only_layers": len(network.weight_only),
            "quantized_tensors": len(network.tensors),
            "layers_left_in_float": len(plan.skipped),
            "fusions": len(folded.fusions),
            "batches": plan.batch_num,
            **integer_share(network, fed),
        },
        "layers": [{**row, "settings_from": origins.get(row["layer"], {})} for row in layer_rows(network)],
        "weight_only": weight_only_rows(network),
        "nonuniform_weights": nonuniform_rows(plan, network),
        "joint_groups": joint_group_rows(network),
        "left_in_float": [{"layer": name, "type": kind, "reason": reason} for name, kind, reason in plan.skipped],
        "fusions": [
            {"kind": fusion.kind, "layer": fusion.layer, "absorbed": list(fusion.absorbed)} for fusion in folded.fusions
        ],
        "not_fused": [{"node": node, "reason": reason} for node, reason in folded.left],
        "warnings": [
            *plan.warnings,
            *training_norm_warnings(original),
            *bias_axis_warnings(original),
            *quantized_before_warnings(network.graph, read),
            *range_warnings(network, plan),
            *saturation_warnings(network),
        ],
    }


def report_text(content: Mapping[str, Any]) -> str:
    """The text of ``report.json``: indented, but each row of the distributions on one line."""
    rows = content.get("distributions")
    text = json.dumps({name: value for name, value in content.items() if name != "distributions"}, indent=2)
    if rows is None:
        return text + "\n"
    lists = (f"{json.dumps(name)}: [\n" + ",\n".join(map(_line, rows[name])) + "\n    ]" for name in rows)
    return text[: -len("\n}")] + ',\n  "distributions": {\n    ' + ",\n    ".join(lists) + "\n  }\n}\n"


def _line(row: Mapping[str, Any]) -> str:
    return "      " + json.dumps(row, separators=(",", ":"))
