"""Step: kernels that have one scale for the results of every model, as those of Softmax, Sigmoid and Tanh have.

Of a softmax over 600 positions, or of shares of one percent, codes of 1/256 leave next to nothing. Where that costs the
outputs more than half of what all layers do, the kernel stays in float, and so does what has no other scale for its
results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.search_result import SearchResult
from calibrant.graph.logits import compared_tensors
from calibrant.progress import LOG
from calibrant.quantized_network import QuantizedNetwork
from calibrant.steps.refining.output_errors import squared_errors
from calibrant.steps.refining.refine import FEWEST_SAMPLES
from calibrant.steps.refining.refine_between import readers_of
from calibrant.steps.refining.too_costly import tolerable, too_costly
from calibrant.steps.refining.whole_errors import WholeErrors, mean_sizes


def without_coarse_kernels(
    fixed: Mapping[str, Quantizer], network: QuantizedNetwork, whole: WholeErrors, by_default: bool
) -> QuantizedNetwork:
    """The network with such kernels in float where their scale costs more than half of what all layers do.

    Parameters
    ----------
    fixed : Mapping[str, Quantizer]
        Tensor → what the kernel that makes it rounds it with.
    network : QuantizedNetwork
        With its ranges as they stay.
    whole : WholeErrors
        Compares networks on the first samples.
    by_default : bool
        As in :func:`calibrant.steps.refining.refine.refined`.
    """
    judged = {tensor: quantizer for tensor, quantizer in fixed.items() if tensor not in network.too_coarse}
    units = readers_of(network.graph, {tensor: _search(quantizer) for tensor, quantizer in judged.items()})
    are_outputs = not judged.keys().isdisjoint(compared_tensors(network.graph))
    if not (units or are_outputs) or not whole.samples or (by_default and whole.samples < FEWEST_SAMPLES):
        return network
    coarse = [*too_costly(units, network, whole), *_coarse_outputs(judged, network, whole)]
    LOG.debug("refine: %d kernels with a scale of their own stay in float", len(coarse))
    return replace(network, too_coarse=network.too_coarse | frozenset(coarse))


def _coarse_outputs(fixed: Mapping[str, Quantizer], network: QuantizedNetwork, whole: WholeErrors) -> list[str]:
    """Outputs that cost more; a final Softmax is none of them, as outputs are compared before it."""
    found, most = [], tolerable(network, whole)
    for place, tensor in enumerate(compared_tensors(network.graph)):
        if tensor in fixed:
            reference = [[outputs[place]] for outputs in whole.reference]
            rounded = [[fixed[tensor].fake_quantize(output.astype(np.float32))] for [output] in reference]
            if mean_sizes(squared_errors(reference, rounded, whole.pieces))[0] > most[place]:
                found.append(tensor)
    return found


def _search(quantizer: Quantizer) -> SearchResult:
    return SearchResult(quantizer, *quantizer.range, 0.0, 0.0, True, True, 1)
