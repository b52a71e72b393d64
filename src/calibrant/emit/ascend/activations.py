"""AscendQuant for every quantized activation, with AscendAntiQuant after it for tensor quantizers."""

from __future__ import annotations

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.ascend import names
from calibrant.graph.graph import Edit
from calibrant.quantized_network import QuantizedInput, QuantizedNetwork


def put_quantizers(edit: Edit, network: QuantizedNetwork) -> None:
    """Let the readers of quantized activations read them quantized; equal ones on one tensor are one node."""
    codes: dict[tuple[str, Quantizer], str] = {}
    floats: dict[tuple[str, Quantizer], str] = {}
    for layer in network.layers:
        for found in layer.inputs:
            edit.set_input(found.node, found.index, _codes(edit, found, codes))
    for found in network.tensors:
        quantizer = found.quantizer
        key = (found.tensor, quantizer)
        if key not in floats:
            floats[key] = edit.add(
                "AscendAntiQuant",
                names.anti_quant(found.node),
                [_codes(edit, found, codes)],
                T=edit.graph.dtype(found.tensor),
                scale=float(quantizer.scale),
                offset=float(quantizer.offset),
            )
        edit.set_input(found.node, found.index, floats[key])


def _codes(edit: Edit, found: QuantizedInput, codes: dict[tuple[str, Quantizer], str]) -> str:
    quantizer = found.quantizer
    key = (found.tensor, quantizer)
    if key not in codes:
        codes[key] = edit.add(
            "AscendQuant",
            names.act_quant(found.node),
            [found.tensor],
            T=edit.graph.dtype(found.tensor),
            scale=float(quantizer.inverse),
            offset=float(quantizer.offset),
            quant_bits=quantizer.bits,
            dst_type="INT8",
        )
    return codes[key]
