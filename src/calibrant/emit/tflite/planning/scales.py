"""Scale and zero point of every tensor that integer operators make or read, and what keeps an operator in float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.counted_range import MOST_STEPS, counted, range_of
from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.planning.kernels import COMPARING, KERNELS, LAYER_INPUT, Result
from calibrant.emit.tflite.planning.plan import TOO_COARSE, FilePlan, PlanInputs, plan_file
from calibrant.emit.tflite.planning.sources import REARRANGING, SATURATING, Observed, SameAs, own_source
from calibrant.emit.tflite.planning.wide import widened
from calibrant.graph import nodes as nd
from calibrant.graph.node_input import NodeInput
from calibrant.quantized_network import QuantizedLayer, QuantizedNetwork

FAR_APART = 8
"""Parts of a concatenation whose scale is this many times finer than the whole's would lose 3 of their 8 bits."""
CLOSE = 2
"""By how much coarser the scale of the whole is at most that all readers of a part get."""
COVERED = 0.9
"""Share of a part's range that the whole's then has at least."""
LARGEST_MULTIPLIER = 2.0**8
"""What a layer multiplies its sums by has to be less."""
LARGEST_WIDE_MULTIPLIER = 2.0**7
"""The same where it reads and makes 16 bits."""
LOWEST_WEIGHT = -127
LOWEST_LOG = 16
"""The kernel of LOG_SOFTMAX makes nothing below its negative."""
COMPARED_STEP = 2.0**-8
"""The difference of real numbers that kernels resolve which compare."""
LARGEST = frozenset({"MAXIMUM", "MAX_POOL_2D", "REDUCE_MAX"})
SMALLEST = frozenset({"MINIMUM", "REDUCE_MIN"})
CUTTING = frozenset({"SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V"})
UNOBSERVED = "no range was observed for one of its tensors"


class Scales:
    """The plan's sources, looked up in the network.

    Parameters
    ----------
    given : PlanInputs
        What the plan was made from.
    plan : FilePlan
        Of the file.
    network : QuantizedNetwork
        What was found; its ``intermediate`` holds what was observed.
    """

    def __init__(self, given: PlanInputs, plan: FilePlan, network: QuantizedNetwork):
        self.plan = plan
        self.operators = list(given.file.operators())
        self.barred = given.barred
        self._results = {tensor.index for tensor in given.file.outputs()}
        self._makers = {made.index: at for at, each in enumerate(self.operators) for made in each.outputs}
        self._readers: dict[int, list[Operator]] = {}
        for each in self.operators:
            for tensor in each.inputs:
                if tensor is not None:
                    self._readers.setdefault(tensor.index, []).append(each)
        self.layers = {layer.layer.name: layer for layer in network.layers}
        self._network = network
        self._places = place_quantizers(network)
        self.names = given.float_file.tensors
        self._read_wide: dict[int, Quantizer] = {}
        for found in network.every_input():
            if found.quantizer.bits == 16 and found.tensor in given.float_file.indices:
                index = given.float_file.indices[found.tensor]
                self._read_wide.setdefault(index, effective(network, found.quantizer))
        self._coarsest: dict[int, float] = {}
        self._note_coarsest()

    def made(self, at: int, index: int) -> Quantizer:
        """Scale and zero point with which an operator on integers makes a tensor of the float file."""
        if at not in self.plan.wide.layers:
            return self.of(index)
        return self._read_wide[index] if index in self._read_wide else widened(self.of(index))

    def of(self, index: int) -> Quantizer:
        """Scale and zero point of a tensor of the float file as codes of 8 bits."""
        index, source = own_source(index, self.plan.sources)
        if isinstance(source, Observed):
            result = self._network.intermediate[source.tensor]
            found = result.quantizer
            if result.low == result.high == 0:
                found = replace(found, scale=np.float32(min(float(found.scale), self._coarsest.get(index, math.inf))))
            own = effective(self._network, symmetric(found) if source.symmetric else found)
            return own if source.symmetric else self._shared(own, self.plan.joined.get(index))
        if isinstance(source, Quantizer):
            return source
        if not isinstance(source, tuple):
            raise KeyError(index)
        read = self._places[source]
        if read.bits == 16:
            tensor = nd.data_inputs(self._network.graph.nodes[source[0]])[source[1]]
            return effective(self._network, self._network.intermediate[tensor].quantizer)
        return read

    def _shared(self, own: Quantizer, whole: int | None) -> Quantizer:
        """The scale of what a tensor is concatenated into, if all others that read it lose less than a bit by that."""
        if whole is None:
            return own
        found = self.of(whole)
        (low, high), (lowest, highest) = found.range, own.range
        is_wide = low <= COVERED * lowest and high >= COVERED * highest
        return found if is_wide and float(found.scale) <= CLOSE * float(own.scale) else own

    def _note_coarsest(self) -> None:
        """Find the coarsest scale with which sums can read a tensor: one that is always 0 has no need of its own.

        From the results on, so that a sum's own scale is final before those of what it reads.
        """
        for at in reversed(range(len(self.operators))):
            each = self.operators[at]
            made = each.outputs[0].index if each.name in ("ADD", "SUB") else None
            if made is None or made not in self.plan.sources or self.unknown(at) is not None:
                continue
            limit = float(self.of(made).scale) * KERNELS[each.name].below / 2
            for tensor in each.inputs:
                if tensor is not None:
                    self._coarsest[tensor.index] = min(self._coarsest.get(tensor.index, math.inf), limit)

    def _counted(self, each: Operator, position: int, values: np.ndarray) -> np.ndarray:
        """A sum's constant operand without what is farther off than where the sum is at an end of its range."""
        other = each.inputs[1 - position]
        if other is None or any(index not in self.plan.sources for index in (other.index, each.outputs[0].index)):
            return values
        made, read = self.of(each.outputs[0].index).range, self.of(other.index).range
        low, high = counted(each.name.capitalize(), position, range_of(values), read, made)
        return values.clip(np.float32(low), np.float32(high))

    def unknown(self, at: int) -> str | None:
        """Why a tensor of an operator has no scale; None where all have one."""
        each = self.operators[at]
        for tensor in (*each.inputs, *each.outputs):
            if tensor is None or tensor.index not in self.plan.sources:
                continue
            own, source = own_source(tensor.index, self.plan.sources)
            if source is None or isinstance(source, SameAs):
                return UNOBSERVED
            if isinstance(source, Quantizer) and self.names.get(own) in self._network.too_coarse:
                return TOO_COARSE
            if isinstance(source, Observed) and source.tensor in self._network.too_coarse:
                return TOO_COARSE
            if isinstance(source, Observed) and source.tensor not in self._network.intermediate:
                return UNOBSERVED
        return None

    def read(self, at: int, position: int, tensor: Tensor) -> Quantizer:
        """With which scale and zero point an operator on integers reads one of its activations."""
        each = self.operators[at]
        if at in self.plan.layers:
            layer = self.layers[self.plan.layers[at]]
            found = layer.inputs[position if layer.layer.is_dynamic else 0].quantizer
            second = layer.layer.is_dynamic and position == 1
            if found.bits == 8 and not second and self._is_made_in_fixed_steps(tensor.index):
                return self.of(tensor.index)  # codes as they are made: another scale would round them once more
            return effective(self._network, found)
        if tensor.values is not None and KERNELS[each.name].result is not Result.SAME:
            is_sum = each.name in ("ADD", "SUB")
            return constant_quantizer(self._counted(each, position, tensor.values) if is_sum else tensor.values)
        if KERNELS[each.name].result is Result.SAME:
            return self.of(each.outputs[0].index)
        found = self.of(tensor.index)
        return symmetric(found) if each.name == "BATCH_MATMUL" and position == 1 else found

    def in_float(self, at: int) -> str | None:
        """The operator whose numbers a saturating one reads, where its scales keep it in float.

        These may be more than MOST_STEPS, of which QUANTIZE makes any codes.
        """
        while (maker := self._makers.get(self.operators[at].read(self.positions(at)[0]).index)) is not None:
            if maker in self.barred:
                return self.operators[maker].name
            if self.operators[maker].name not in REARRANGING:
                break
            at = maker
        return None

    def too_far(self, index: int) -> str | None:
        """The operator that makes a tensor in float whose numbers are more than MOST_STEPS."""
        index, source = own_source(index, self.plan.sources)
        maker = self._makers.get(index)
        if not isinstance(source, Observed) or maker is None or maker in self.plan.integer:
            return None
        reach = self._network.intermediate[source.tensor].reach
        return self.operators[maker].name if reach > MOST_STEPS * float(self.of(index).scale) else None

    def reads_shares(self, at: int) -> bool:
        """Whether an operator reads what has the same scale in every model."""
        return self._has_fixed_scale(self.operators[at].read(0).index)

    def _has_fixed_scale(self, index: int) -> bool:
        """Whether the kernel that makes a tensor has one scale for its results, as that of SOFTMAX has."""
        return isinstance(own_source(index, self.plan.sources)[1], Quantizer)

    def _is_made_in_fixed_steps(self, index: int) -> bool:
        """Whether such a kernel makes it on integers."""
        maker = self._makers.get(own_source(index, self.plan.sources)[0])
        return self._has_fixed_scale(index) and maker in self.plan.integer

    def finest_made_of(self, index: int) -> float:
        """The least scale of what is computed from a tensor; infinite where that is not on integers."""
        made = [each.outputs[0].index for each in self._readers.get(index, ())]
        return min((float(self.of(made).scale) for made in made if made in self.plan.sources), default=math.inf)

    def is_read_by_float_logarithm(self, at: int) -> bool:
        """Whether the only reader of an operator is a logarithm that its scales keep in float."""
        readers = self._readers.get(self.operators[at].outputs[0].index, [])
        return [each.name for each in readers] == ["LOG"] and self._makers[readers[0].outputs[0].index] in self.barred

    def ends_in_result(self, at: int) -> bool:
        """Whether nothing computes with what an operator makes: it is only moved to where it is a result."""
        waiting = [tensor.index for tensor in self.operators[at].outputs]
        for index in waiting:
            for each in self._readers.get(index, ()):
                if each.name not in KERNELS or KERNELS[each.name].result is not Result.SAME:
                    return False
                waiting += [tensor.index for tensor in each.outputs if tensor.index not in waiting]
        return True

    def beyond(self, at: int) -> float | None:
        """A constant that joins the numbers an operator reads and has no code in their scale, where that counts.

        A result with a scale of its own has a code for it, as far as what reads it asks for one. A maximum passes over
        a low constant only where there are other numbers to choose: what was observed of it is nearer to their range.
        """
        each, made = self.operators[at], self.operators[at].outputs[0].index
        origin = own_source(made, self.plan.sources)[0]
        kernel = KERNELS.get(each.name)
        if kernel is None or kernel.result is not Result.SAME or self._makers.get(origin, -1) >= at:
            return None
        found = self.of(made)
        (low, high), half = found.range, float(found.scale) / 2
        for tensor in (each.read(position) for position in self.positions(at)):
            values = np.zeros(0) if tensor.values is None else tensor.constant
            above, below = values[values > high + half], values[values < low - half]
            least, most = float(above.min(initial=math.inf)), float(below.max(initial=-math.inf))
            if above.size and each.name != "MINIMUM" and not self._is_passed_over(made, SMALLEST, (least + high) / 2):
                return float(above.max())
            if below.size and each.name != "MAXIMUM" and not self._is_passed_over(made, LARGEST, (most + low) / 2):
                return float(below.min())
        return None

    def beyond_before(self, index: int) -> float | None:
        """The same of operators in float that have taken a tensor's numbers out of one whose scale it has."""
        while (at := self._makers.get(index)) is not None and at not in self.plan.integer:
            if (number := self.beyond(at)) is not None:
                return number
            kernel = KERNELS.get(self.operators[at].name)
            if kernel is None or kernel.result is not Result.SAME:
                break
            index = self.operators[at].read(self.positions(at)[0]).index
        return None

    def _is_passed_over(self, index: int, choosing: frozenset[str], limit: float) -> bool:
        """Whether all that reads a tensor, at once or rearranged, chooses among its numbers others within a limit."""
        waiting = [index]
        for current in waiting:
            if current in self._results:
                return False
            for each in self._readers.get(current, ()):
                if each.name in choosing and not self._reaches(each.outputs[0].index, limit):
                    continue
                if each.name not in choosing | REARRANGING | CUTTING:
                    return False
                waiting += [tensor.index for tensor in each.outputs if tensor.index not in waiting]
        return True

    def _reaches(self, index: int, limit: float) -> bool:
        """Whether a tensor's observed numbers go beyond a limit, or those of the graph's that it is rearranged to."""
        waiting = [index]
        for current in waiting:
            found = self._network.intermediate.get(self.names.get(current, ""))
            if found is not None:
                return min(found.low, -found.reach) < limit if limit < 0 else max(found.high, found.reach) > limit
            for each in self._readers.get(current, ()):
                if each.name in REARRANGING and each.outputs[0].index not in waiting:
                    waiting.append(each.outputs[0].index)
        return False

    def positions(self, at: int) -> tuple[int, ...]:
        """The inputs of an operator on integers that carry codes."""
        each = self.operators[at]
        if at in self.plan.layers:
            dynamic = self.layers[self.plan.layers[at]].layer.is_dynamic
            return (0, 1) if dynamic else (LAYER_INPUT.get(each.name, 0),)
        found = KERNELS[each.name].data
        return tuple(range(len(each.inputs))) if found is None else tuple(p for p in found if p < len(each.inputs))


def place_quantizers(network: QuantizedNetwork) -> dict[NodeInput, Quantizer]:
    """Scale and zero point with which nodes read, by node and input index."""
    return {found.place: effective(network, found.quantizer) for found in network.every_input()}


def effective(network: QuantizedNetwork, quantizer: Quantizer) -> Quantizer:
    """Scale and offset as the fake-quantized model uses them."""
    return quantizer.with_float16_scale() if network.force_float16_scale else quantizer


def plan_with_scales(given: PlanInputs, network: QuantizedNetwork) -> tuple[FilePlan, Scales]:
    """The plan in which no operator gets scales that its kernel does not take or that would ruin its numbers."""
    names = given.float_file.tensors
    barred = {
        at: TOO_COARSE
        for at, each in enumerate(given.file.operators())
        if any(names.get(made.index) in network.too_coarse for made in each.outputs)
    } | dict(given.barred)
    given = replace(given, barred={}, before=plan_file(replace(given, barred={}, known=None, wide=())).sources)
    while True:
        turn = replace(given, barred=dict(barred))
        plan = plan_file(turn)
        scales = Scales(turn, plan, network)
        found = {at: reason for at in sorted(plan.integer) for reason in _reasons(at, scales, network)}
        if not found:
            return plan, scales
        barred.update(found)


def _reasons(at: int, scales: Scales, network: QuantizedNetwork) -> Iterator[str]:
    """Why an operator has to stay in float with these scales."""
    each, layer = scales.operators[at], scales.plan.layers.get(at)
    if (unknown := scales.unknown(at)) is not None:
        yield unknown
        return
    made = [scales.made(at, tensor.index) for tensor in each.outputs if tensor.index in scales.plan.sources]
    tensors = {position: tensor for position in scales.positions(at) if (tensor := each.inputs[position]) is not None}
    read = {position: scales.read(at, position, tensor) for position, tensor in tensors.items()}
    if layer is not None:
        most = LARGEST_WIDE_MULTIPLIER if at in scales.plan.wide.layers else LARGEST_MULTIPLIER
        yield from _layer_reasons(scales.layers[layer], read, made[0], most)
        return
    kernel = KERNELS[each.name]
    if kernel.result in (Result.OWN, Result.OTHER_TYPE):
        scale = float(made[0].scale) if made else 1.0
        ratio = kernel.ratio([float(quantizer.scale) for quantizer in read.values()], scale)
        if ratio >= kernel.below:
            size = "far apart" if made else "large"
            yield f"its scales are too {size} for the kernel of {each.name} ({ratio:.3g})"
    if each.name in COMPARING and max(float(quantizer.scale) for quantizer in read.values()) < COMPARED_STEP:
        yield f"its scales are too small for the kernel of {each.name}, which compares in steps of 1/256"
    if (number := scales.beyond(at)) is not None:
        yield f"its constant {number:.3g} is beyond the range of what it reads, whose scale its result has"
    if any(scales.beyond_before(tensor.index) is not None for tensor in tensors.values()):
        yield "a constant is among what it reads that is beyond the range of the others, whose scale it has"
    far = (maker for tensor in tensors.values() if (maker := scales.too_far(tensor.index)) is not None)
    if (found := next(far, None)) is not None or (each.name in SATURATING and (found := scales.in_float(at))):
        yield f"what it reads is far beyond its range, and in float ({found})"
    if each.name in ("RSQRT", "SQRT") and read[0].offset != read[0].lowest:
        yield "its kernel ends at a negative number, and what it reads has codes of such"
    if each.name == "LOG" and scales.reads_shares(at) and read[0].scale > scales.finest_made_of(each.outputs[0].index):
        yield "the steps that it reads are too coarse for what is made of it"
    if each.name == "LOGISTIC" and scales.is_read_by_float_logarithm(at):
        yield "8 bits are too few for what reads it (LOG)"
    if each.name == "LOG_SOFTMAX" and any(high - low > LOWEST_LOG for low, high in (q.range for q in read.values())):
        yield f"what it reads goes so far that results would be below -{LOWEST_LOG}, where its kernel ends"
    if each.name in ("CONCATENATION", "PACK") and scales.ends_in_result(at):
        parts = [_own_scale(scales, network, tensor) for tensor in tensors.values() if tensor.values is None]
        finest = min((part for part in parts if part is not None), default=None)
        if finest is not None and float(made[0].scale) > FAR_APART * finest:
            yield "its parts have ranges too different for one scale"
    if each.name == "MUL" and any(tensor.values is not None for tensor in tensors.values()):
        source = scales.plan.sources[each.outputs[0].index]
        if isinstance(source, tuple) and getattr(scales.layers.get(source[0]), "balance", None) is not None:
            yield "its constant balances a layer, and 8 bits with one scale would lose its small numbers"


def _layer_reasons(layer: QuantizedLayer, read: Mapping[int, Quantizer], made: Quantizer, most: float) -> Iterator[str]:
    if layer.layer.is_dynamic and read[1].offset != 0:
        yield "the kernel of BATCH_MATMUL wants a second operand without offset"
    elif layer.weights is not None or layer.layer.is_dynamic:
        other = read[1].scale if layer.weights is None else layer.weights.scale.max()
        ratio = float(read[min(read)].scale) * float(other) / float(made.scale)
        if ratio >= most:
            yield f"its scales are too far apart for its kernel ({ratio:.3g})"
    if layer.weights is not None and layer.weights.values.min() < LOWEST_WEIGHT:
        yield "it has weights of -128, which LiteRT leaves out"


def _own_scale(scales: Scales, network: QuantizedNetwork, tensor: Tensor) -> float | None:
    """The scale that a part would have by itself, where that is known."""
    name = scales.names.get(tensor.index, "")
    if name in network.intermediate:
        return float(effective(network, network.intermediate[name].quantizer).scale)
    return float(scales.of(tensor.index).scale) if tensor.index in scales.plan.sources else None


def symmetric(quantizer: Quantizer) -> Quantizer:
    """The same range with zero in its middle."""
    return quantizer if quantizer.offset == 0 else Quantizer.from_range(*quantizer.range, asymmetric=False)


def constant_quantizer(values: np.ndarray) -> Quantizer:
    """Scale and zero point of a constant operand: its range, zero in it; one of numbers of one sign ends at 127."""
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    if finite.size == 1 or high - low < np.finfo(np.float32).eps:
        size = np.float32(max(-low, high) / 127)
        return Quantizer(size if size > 0 else np.float32(1 / 128), 0)
    return Quantizer.from_range(low, high)
