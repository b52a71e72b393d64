"""Fusion 9, the part that is arithmetic: when Relu6 and Relu are the same in front of a quantizer."""


def relu6_can_be_relu(quantizer_high: float) -> bool:
    """Whether a quantizer whose range ends at ``quantizer_high`` clips everything that Relu6 would have clipped."""
    return quantizer_high <= 6
