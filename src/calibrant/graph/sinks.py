"""Where a network ends in a ``tf.Graph`` that holds other things too: input pipelines, savers, counters."""

from __future__ import annotations

from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph.possible_outputs import NEVER_OUTPUTS
from calibrant.graph.rewire import SCOPE
from calibrant.layer_kinds import KINDS


def network_outputs(graph: Any) -> list[str]:
    """Tensors that nobody reads and that a quantizable layer leads to, in the order of the graph.

    Parameters
    ----------
    graph : Any
        ``tf.Graph``.

    Raises
    ------
    ModelError
        There is none.
    """
    downstream: set[str] = set()
    candidates = []
    operations = [operation for operation in graph.get_operations() if not operation.name.startswith(SCOPE)]
    for operation in operations:  # inputs come before their readers, loop edges aside
        sources = (tensor.op.name for tensor in operation.inputs)
        if operation.type in KINDS or any(name in downstream for name in sources):
            downstream.add(operation.name)
            if operation.outputs and operation.type not in NEVER_OUTPUTS:
                candidates.append(operation)
    ends = [
        operation.outputs[0].name
        for operation in candidates
        if not any(consumer.name in downstream for tensor in operation.outputs for consumer in tensor.consumers())
    ]
    if not ends:
        allowed = ", ".join(sorted(KINDS))
        raise ModelError(Problem("the graph has no layer that can be quantized", file="tf.Graph", allowed=allowed))
    return ends
