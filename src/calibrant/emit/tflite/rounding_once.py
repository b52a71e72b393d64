"""Values that the converter rounds twice are rounded once: to the factors of the layer that reads them."""

from __future__ import annotations

import numpy as np

from calibrant.emit.tflite.flatbuffer import File


def round_once(file: File) -> int:
    """Let every requantization of a tensor that was float just before read the float tensor; how many there were.

    The converter puts the factors of its integer kernel behind a Softmax that computes in float, and then our own. An
    input of the file keeps the two roundings: both are ours, and where inputs are int8 the first is not in the file.
    """
    operators = list(file.operators())
    fed = {tensor.index for tensor in file.inputs()}
    makers = {made.index: operator for operator in operators for made in operator.outputs}
    changed = 0
    for position, operator in enumerate(operators):
        read = operator.inputs[0] if operator.inputs else None
        first = makers.get(read.index) if operator.name == "QUANTIZE" and read is not None else None
        if first is None or first.name != "QUANTIZE" or first.inputs[0].index in fed:
            continue
        if first.inputs[0].dtype == np.float32:
            file.read_instead(position, 0, first.inputs[0])
            changed += 1
    file.drop_unread("QUANTIZE")
    return changed
