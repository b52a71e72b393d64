"""The quantization parameters of a network as the entries of a record file."""

from __future__ import annotations

from collections.abc import Collection

from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork
from calibrant.records.layer_record import LayerRecord


def layer_records(network: QuantizedNetwork, skip_fusion_layers: Collection[str] = ()) -> dict[str, LayerRecord]:
    """Layer name → entry, ``layer:input_index`` → entry for quantized tensors; in graph order.

    A product of two activations has the entry of its first operand under its own name and that of the second under
    ``layer:1``. A layer of which only the weights are quantized has an entry without scale_d.
    """
    records = {}
    for layer in network.layers:
        records[layer.layer.name] = _record(layer, layer.layer.name in skip_fusion_layers)
        for entry in layer.inputs[1:]:
            records[f"{layer.layer.name}:{entry.index}"] = LayerRecord(
                float(entry.quantizer.scale), entry.quantizer.offset
            )
    for enclosed in network.weight_only:
        scales = tuple(float(scale) for scale in enclosed.weights.scale)
        records[enclosed.layer.name] = LayerRecord(
            scale_w=scales, cluster=enclosed.weights.levels or (), wts_type=f"INT{enclosed.weights.bits}"
        )
    for entry in network.tensors:
        records[f"{entry.node}:{entry.index}"] = LayerRecord(float(entry.quantizer.scale), entry.quantizer.offset)
    return records


def _record(layer: QuantizedLayer, skip_fusion: bool) -> LayerRecord:
    quantizer, weights = layer.inputs[0].quantizer, layer.weights
    return LayerRecord(
        scale_d=float(quantizer.scale),
        offset_d=quantizer.offset,
        scale_w=tuple(float(scale) for scale in weights.scale) if weights is not None else (),
        cluster=weights.levels or () if weights is not None else (),
        skip_fusion=skip_fusion,
        tensor_balance_factor=tuple(float(f) for f in layer.balance) if layer.balance is not None else (),
        dst_type=f"INT{quantizer.bits}",
        wts_type=f"INT{weights.bits}" if weights is not None else "INT8",
    )
