"""How the nodes of the deployable model are called."""

from __future__ import annotations


def act_quant(reader: str) -> str:
    """``<layer>/act_quant/AscendQuant``."""
    return f"{reader}/act_quant/AscendQuant"


def anti_quant(reader: str) -> str:
    """``<layer>/anti_quant/AscendAntiQuant``."""
    return f"{reader}/anti_quant/AscendAntiQuant"


def weight_quant(layer: str, part: str) -> str:
    """``<layer>/weight_quant/<part>``."""
    return f"{layer}/weight_quant/{part}"


def dequant(layer: str, part: str) -> str:
    """``<layer scope>/dequant/<part>``; a layer outside every scope is its own."""
    scope, separator, _ = layer.rpartition("/")
    return f"{scope if separator else layer}/dequant/{part}"
