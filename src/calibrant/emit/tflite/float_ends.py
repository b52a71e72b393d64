"""Inputs and outputs of a LiteRT file that were to be int8 and are float: why, and what helps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.planning.plan import BETWEEN_FLOATS, ONLY_LAYERS, FilePlan, PlanInputs, plan_file
from calibrant.emit.tflite.planning.wiring import Wiring
from calibrant.errors import ModelError, Problem
from calibrant.quantized_network import QuantizedNetwork

TOO_COARSE = "8 bits would cost the outputs more than half of what all layers do"
WIDE = "it is read with 16 bits"
IN_FLOAT = "leave inputs and outputs in float with --tflite-io float32"
ALL_OPERATORS = f"let all operators run on integers that can with --tflite-ops all, or {IN_FLOAT}"
JOINING = frozenset({"CONCATENATION", "PACK"})


def refuse_float_ends(file: File, plan: FilePlan, given: PlanInputs, network: QuantizedNetwork) -> None:
    """Check that all inputs and outputs that hold real numbers are codes, inputs that nothing reads aside.

    Parameters
    ----------
    file : File
        What was made of ``given``.
    plan : FilePlan
        How it was made.

    Raises
    ------
    ModelError
        With every one that is float.
    """
    graph, original = network.graph, given.file
    inputs = zip(graph.input_keys, original.inputs(), file.inputs(), strict=True)
    outputs = zip(graph.output_keys, original.outputs(), file.outputs(), strict=True)
    is_read = {tensor.index for each in original.operators() for tensor in each.inputs if tensor is not None}
    ends = [
        (role, key, read.index)
        for role, tensors in (("input", inputs), ("output", outputs))
        for key, read, made in tensors
        if made.dtype == np.float32 and (role == "output" or read.index in is_read)
    ]
    if not ends:
        return
    reasons = _Reasons(plan, given, network)
    hint = ALL_OPERATORS if all(reasons.is_only_for_layers(role, index) for role, _, index in ends) else IN_FLOAT
    raise ModelError(
        *(
            Problem(f"the {role} {key} is float, as {reasons.of(role, index)}", file=graph.source, hint=hint)
            for role, key, index in ends
        )
    )


class _Reasons:
    def __init__(self, plan: FilePlan, given: PlanInputs, network: QuantizedNetwork):
        self.plan, self.given = plan, given
        self.wiring = Wiring(given.float_file)
        indices = given.float_file.indices
        self.too_coarse = {indices[name] for name in network.too_coarse if name in indices}

    def of(self, role: str, index: int) -> str:
        """Why an input or output is float."""
        verb = "reads" if role == "input" else "makes"
        otherwise = ONLY_LAYERS if self.is_only_for_layers(role, index) else None
        return self._known(role, index) or otherwise or f"what {verb} it has no integer kernel with its scale"

    def is_only_for_layers(self, role: str, index: int) -> bool:
        """Whether that is for ``--tflite-ops layers`` alone; not where it depends on scales nobody has observed."""
        reason = self._known(role, index)
        if self.given.all_operators or not (reason is None or reason.endswith(ONLY_LAYERS)):
            return False
        plan = plan_file(replace(self.given, all_operators=True, known=None, before={}))
        if role == "input":
            return index in plan.sources and index not in plan.wide.tensors
        at = self.wiring.maker.get(index)
        return at in plan.integer and self.wiring.operators[at].name not in JOINING

    def _known(self, role: str, index: int) -> str | None:
        """Why an input or output is float, as far as the plan says so of it or of an operator beside it."""
        if index in self.plan.wide.tensors:
            return WIDE
        if index in self.too_coarse:
            return TOO_COARSE
        beside, beyond = ("which reads it", "behind it") if role == "input" else ("which makes it", "in front of it")
        waiting = [index]
        for current in waiting:
            for at in self._beside(role, current):
                why = self.plan.floats.get(at)
                if why is not None and why != BETWEEN_FLOATS:
                    place = beside if current == index else beyond
                    return f"{self.wiring.operators[at].name}, {place}, is in float: {why}"
                if at not in self.plan.integer:
                    waiting += [each for each in self._behind(role, at) if each not in waiting]
        return None

    def _beside(self, role: str, index: int) -> Iterable[int]:
        if role == "input":
            return self.wiring.readers.get(index, ())
        return () if index not in self.wiring.maker else (self.wiring.maker[index],)

    def _behind(self, role: str, at: int) -> list[int]:
        each = self.wiring.operators[at]
        tensors = each.outputs if role == "input" else self.wiring.data(at)
        return [tensor.index for tensor in tensors if tensor.dtype == np.float32]
