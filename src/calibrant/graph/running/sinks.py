"""Where a network ends in a ``tf.Graph`` that holds other things too: input pipelines, savers, counters."""

from __future__ import annotations

from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph.functions.control_flow import LOOP_EDGES
from calibrant.graph.inference.assigned_variables import ASSIGN_REFERENCES
from calibrant.graph.reading.possible_outputs import IN_PLACE, NEVER_OUTPUTS
from calibrant.layer_kinds import KINDS


def network_outputs(graph: Any) -> list[str]:
    """Tensors that no other operation with a result reads and that a layer leads to, in the order of the graph.

    Parameters
    ----------
    graph : Any
        ``tf.Graph``.

    Raises
    ------
    ModelError
        There is none.
    """
    downstream: dict[str, Any] = {}
    for operation in graph.get_operations():  # inputs come before their readers, loop edges aside
        if operation.name.startswith(IN_PLACE) or operation.type in ASSIGN_REFERENCES:
            continue
        sources = (tensor.op.name for tensor in operation.inputs)
        if operation.type in KINDS or any(name in downstream for name in sources):
            downstream[operation.name] = operation
    candidates = [found for found in downstream.values() if found.outputs and found.type not in NEVER_OUTPUTS]
    read: set[str] = set()  # by a candidate, directly or through others
    waiting = list(candidates)
    while waiting:
        further = {tensor.op.name for tensor in waiting.pop().inputs} - read
        read |= further
        waiting += [downstream[name] for name in further if name in downstream]
    ends = [
        operation.outputs[0].name
        for operation in candidates
        if operation.name not in read and operation.type not in LOOP_EDGES
    ]
    if not ends:
        allowed = ", ".join(sorted(KINDS))
        raise ModelError(Problem("the graph has no layer that can be quantized", file="tf.Graph", allowed=allowed))
    return ends
