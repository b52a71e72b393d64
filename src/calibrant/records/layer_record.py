"""The factors of one layer as a plain value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRecord:
    """One entry of a record file; what the file does not say has the default here.

    Floats are float32 values. Weights have no offset: ``offset_w`` is written as one 0 for each scale_w and read as
    nothing else.

    Parameters
    ----------
    scale_d, offset_d : the activation's quantizer; scale_d is None where the file has none, and a scale_d without
        offset_d has the offset 0.
    scale_w : one factor per tensor or per channel; () for layers without weights.
    shift_bit : shift N of the accumulators, one for all or one per scale_w; () where none is used.
    cluster : the levels of non-uniform weights, ascending; () for uniform ones.
    skip_fusion : the layer is left out of fusion.
    dst_type, act_type : type of the quantized activations, "INT8".
    tensor_balance_factor : one factor per input channel, that activations are divided by; () without balancing.
    wts_type : range of the quantized weights, "INT8", "INT7" or "INT6".
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
        """The number in ``wts_type``."""
        return int(self.wts_type.removeprefix("INT"))
