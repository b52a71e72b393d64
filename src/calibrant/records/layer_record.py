"""The quantization parameters of one layer in a record file, as a plain value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRecord:
    """One entry of a record file; a field that the file leaves out has its default.

    Floats are float32 values. Weights have no offset: ``offset_w`` is written as one 0 for each scale_w, and any other
    value is refused.

    Parameters
    ----------
    scale_d : float | None
        Scale of the activation, above 0; None if the file has none.
    offset_d : int
        Offset of the activation, -128 … 127; 0 if the file has a scale_d without an offset_d.
    scale_w : tuple[float, ...]
        One scale per tensor or per channel, above 0; () for layers without weights.
    shift_bit : tuple[int, ...]
        Shift N of the accumulators, 0 … 31, one for all or one per scale_w; () if none is used.
    cluster : tuple[int, ...]
        The levels of non-uniform weights, -128 … 127, ascending; () for uniform weights.
    skip_fusion : bool
        Whether the layer is left out of fusion.
    dst_type : str
        Type of the quantized activations, "INT8" or "INT16".
    tensor_balance_factor : tuple[float, ...]
        One factor per input channel, above 0, by which activations are divided; () without balancing.
    act_type : str
        "INT8".
    wts_type : str
        Range of the quantized weights, "INT8", "INT7" or "INT6".
    """

    scale_d: float | None = None
    offset_d: int = 0
    scale_w: tuple[float, ...] = ()
    shift_bit: tuple[int, ...] = ()
    cluster: tuple[int, ...] = ()
    skip_fusion: bool = False
    dst_type: str = "INT8"
    tensor_balance_factor: tuple[float, ...] = ()
    act_type: str = "INT8"
    wts_type: str = "INT8"

    @property
    def weight_bits(self) -> int:
        """Width of the weights in bits, from ``wts_type``."""
        return int(self.wts_type.removeprefix("INT"))

    @property
    def activation_bits(self) -> int:
        """Width of the activations in bits, from ``dst_type``."""
        return int(self.dst_type.removeprefix("INT"))
