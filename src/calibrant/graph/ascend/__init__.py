"""The operator set of the Ascend graph compiler: how factors are packed, and what the operators mean in stock ops.

The meaning (docs/specification/artefacts.md), which the writer in ``emit/ascend`` and the reader here share:

==================  ====================================================================================================
AscendQuant         ``q = clip(rint(x * scale) + offset)``, handed on as ``q - offset``. So a padded zero is a real zero
                    and the accumulator needs no correction; a device that computes on ``q`` itself moves
                    ``offset * sum(weights)`` into its bias.
AscendWeightQuant   ``x - offset_w``.
the layer           an exact integer product of the two, whatever the float type T of its node.
BiasAdd             adds int32 steps of scale_d * scale_w to the accumulator; it comes before AscendDequant.
AscendDequant       ``x * s``, s the float32 in bits 0-31 of its channel's deq_scale. With a shift N > 0 the accumulator
                    goes through int16: ``clip(floor(x * area / 2^N), -2^15, 2^15 - 1) * s * 2^N / area``. An average
                    hands on the sum over its window divided by area, the product of ksize; area is 1 elsewhere.
AscendAntiQuant     ``x * scale``; the offset is off already.
==================  ====================================================================================================
"""
