"""Where the scale of each tensor comes from that integer operators make or read.

A configuration gives scales where layers read. Integer kernels need them on every tensor they make as well. A tensor
takes, in this order: what its kernel fixes, the scale with which a layer reads it, that of a layer that reads it
through operators that only move values, that of the tensor it was moved from or is concatenated into, and if there is
none of these, one of its own, which has to be observed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.planning.kernels import COMPARING, KERNELS, Result
from calibrant.emit.tflite.planning.wiring import CLIPPING, Wiring, carried, looks_up
from calibrant.graph.node_input import NodeInput

REARRANGING = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"})
"""Operators whose result has all numbers of their input and no others."""
KEEPING = REARRANGING | frozenset(
    {
        *("PAD", "PADV2", "MIRROR_PAD", "TILE", "BROADCAST_TO", "REVERSE_V2"),
        *("SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"),
    }
)
"""Operators whose result has all numbers of their input, so that its range is that or wider by zeros."""
SATURATING = frozenset({"SOFTMAX", "LOGISTIC", "TANH"})
"""Operators to which numbers beyond some range are all the same."""
TOPK = "TOPK_V2"
ADDING_UP = frozenset({"MEAN", "SUM", "AVERAGE_POOL_2D", "CUMSUM"})
EXPANDING = frozenset({"SQUARE", "SQUARED_DIFFERENCE", "POW", "EXP"})


@dataclass(frozen=True)
class SameAs:
    """The scale of another tensor of the file."""

    tensor: int


@dataclass(frozen=True)
class Observed:
    """A scale found by observing a tensor of the graph; with zero in the middle where a kernel wants it so."""

    tensor: str
    symmetric: bool = False


Source = NodeInput | Quantizer | SameAs | Observed


class Sources:
    """Finds them, for the operators that are on integers.

    Parameters
    ----------
    wiring : Wiring
        Of the float file.
    names : Mapping[int, str]
        Index of a tensor → the tensor of the graph it is.
    demands : Mapping[int, NodeInput]
        Index of a tensor → the first place that reads it with a scale of its own.
    layers : Mapping[int, str]
        Position of an operator → the quantized layer that it runs.
    integer : Collection[int]
        Positions of the operators on integers; may be changed from outside.
    known : Collection[str] | None
        Tensors of the graph with scales of their own; None: all can be observed.
    before : Mapping[int, Source]
        What to take where nothing else is known.
    """

    def __init__(
        self,
        wiring: Wiring,
        names: Mapping[int, str],
        demands: Mapping[int, NodeInput],
        layers: Mapping[int, str],
        integer: Collection[int],
        known: Collection[str] | None,
        before: Mapping[int, Source],
    ):
        self.wiring, self.names, self.demands, self.layers = wiring, names, demands, layers
        self.integer, self.known, self.before = integer, known, before
        self._compared = {index for at in range(len(wiring.operators)) for index in self._between_equals(at)}
        ranked = (wiring.data(at) for at, each in enumerate(wiring.operators) if each.name == TOPK)
        self._ranked = {index for read in ranked for tensor in read for index in self._origins(tensor.index)}

    def all(self) -> dict[int, Source]:
        """Those of all tensors that operators on integers read or make."""
        sources: dict[int, Source] = {}
        for at, each in enumerate(self.wiring.operators):
            if at in self.integer:
                for tensor in (*self.wiring.data(at), *each.outputs):
                    if tensor.dtype == np.float32 and tensor.index not in sources:
                        self._source(tensor.index, sources)
        return sources

    def has_scale(self, index: int) -> bool:
        """Whether there is one for a tensor."""
        if index in self.before or self._is_observed(index) or self._demanded(index) is not None:
            return True
        if self._rearranged(index) is not None:
            return True
        at = self.wiring.maker.get(index)
        if at is None or at not in self.integer:
            return False
        if at in self.layers:
            return False
        kernel = KERNELS[self.wiring.operators[at].name]
        if kernel.result is Result.FIXED:
            return True
        data = self.wiring.data(at)
        if self.joins(at):
            return False
        return kernel.result in (Result.SAME, Result.KEPT) and bool(data) and all(self.has_scale(t.index) for t in data)

    def joins(self, at: int) -> bool:
        """Whether numbers of several tensors come together: their range is that of none of them."""
        if KERNELS[self.wiring.operators[at].name].result is not Result.SAME:
            return False
        return len({self._origins(tensor.index)[-1] for tensor in self.wiring.data(at)}) > 1

    def _between_equals(self, at: int) -> set[int]:
        """What was taken out of a tensor to be compared with it: with one scale, what is equal has equal codes."""
        name = self.wiring.operators[at].name
        if name not in (*COMPARING, "SUB"):
            return set()
        ways = [self._origins(tensor.index, name in COMPARING) for tensor in self.wiring.data(at)]
        common = set(ways[0]).intersection(*ways[1:]) if len(ways) > 1 else set()
        return {index for way in ways for index in way} - common if common else set()

    def _origins(self, index: int, beside_constants: bool = False) -> list[int]:
        """A tensor, and those that it was taken out of; by default up to where constants join their numbers."""
        found = [index]
        while (at := self.wiring.maker.get(found[-1])) is not None:
            kernel = KERNELS.get(self.wiring.operators[at].name)
            if kernel is None or kernel.result is not Result.SAME or len(self.wiring.data(at)) != 1:
                break
            if not beside_constants and _adds_a_number(self.wiring.operators[at]):
                break
            found.append(self.wiring.data(at)[0].index)
        return found

    def _is_observed(self, index: int) -> bool:
        name = self.names.get(index)
        return name is not None and (self.known is None or name in self.known)

    def _demanded(self, index: int) -> NodeInput | None:
        """The first place that reads a tensor, directly or through operators that move values."""
        waiting = {index: True}  # tensor → whether nobody else reads what leads to it
        order = [index]
        for current in order:
            if current in self.demands:
                return self.demands[current]
            alone = (
                waiting[current]
                and len(self.wiring.readers.get(current, ())) == 1
                and current not in self.wiring.results
            )
            for at in self.wiring.readers.get(current, ()):
                if at in self.integer and at not in self.layers and self._hands_on(at, current, alone):
                    new = [made.index for made in self.wiring.operators[at].outputs if made.index not in waiting]
                    waiting |= dict.fromkeys(new, alone)
                    order += new
        return None

    def _hands_on(self, at: int, index: int, alone: bool) -> bool:
        """Whether a tensor may have the scale with which an operator's result is read.

        Operators that leave numbers out may narrow the range, so nobody else may read the tensor: an activation needs
        no codes below zero, so its input does not either. Where tensors come together, their range may be many times
        that of one of them. An enlarged image has the range of the image. Numbers that are ranked would be equal at the
        ends of another one's range.
        """
        each = self.wiring.operators[at]
        if index not in [tensor.index for tensor in self.wiring.data(at)] or each.name == TOPK:
            return False
        if self.wiring.makes_several(at):
            return alone and self._is_read_as_one(at)
        if each.name in KEEPING or (each.name == "RESIZE_NEAREST_NEIGHBOR" and _enlarges(each)):
            return True
        between = each.name == "RESIZE_BILINEAR" and not each.options.halfPixelCenters and _puts_between(each)
        return alone and (each.name in CLIPPING or between or KERNELS[each.name].result is Result.SAME)

    def _is_read_as_one(self, at: int) -> bool:
        """Whether all parts that an operator makes are demanded by one place, and nobody else reads them."""
        parts = [made.index for made in self.wiring.operators[at].outputs]
        if any(self.wiring.only_reader(index) is None for index in parts):
            return False
        places = {self._demanded(index) for index in parts}
        return len(places) == 1 and None not in places

    def _source(self, index: int, known: dict[int, Source]) -> None:
        at = self.wiring.maker.get(index, -1)
        name = self.wiring.operators[at].name if at in self.integer else ""
        kernel = KERNELS.get(name)
        if kernel is not None and kernel.fixed is not None:
            known[index] = kernel.fixed
        elif kernel is not None and kernel.result is Result.KEPT:
            known[index] = self._kept(at)
        elif (
            kernel is not None
            and kernel.result is Result.SAME
            and (self.wiring.makes_several(at) or name == TOPK or index in self._compared)
        ):
            known[index] = SameAs(self.wiring.data(at)[0].index)
        elif (place := self._demanded(index)) is not None:
            known[index] = place
        elif (end := self._clipped(index)) is not None:
            known[index] = SameAs(end)
        elif kernel is not None and (kernel.result is Result.SAME or name in CLIPPING):
            each = self.wiring.operators[at]
            own = len(carried(each)) > 1 or self.wiring.clips(at) or looks_up(each)
            own = own or any(self._rearranged(tensor.index) == index for tensor in self.wiring.data(at))
            if self._is_observed(index) and own:
                known[index] = Observed(self.names[index])
            elif self.wiring.clips(at) and (end := self._rearranged(index)) is not None:
                known[index] = SameAs(end)
            elif looks_up(each):
                known[index] = self.before[index]
            else:
                known[index] = SameAs(self.wiring.data(at)[0].index)
        elif self._is_observed(index):
            known[index] = Observed(self.names[index], self._wants_symmetry(index))
        elif (end := self._rearranged(index)) is not None:
            known[index] = SameAs(end)
        else:
            known[index] = self.before[index]

    def _rearranged(self, index: int) -> int | None:
        """For a tensor that the graph does not have, the first one that it has with the same numbers."""
        waiting = [] if self._is_observed(index) else [index]
        for current in waiting:
            for at in self.wiring.readers.get(current, ()):
                if at in self.integer and self.wiring.operators[at].name in REARRANGING:
                    end = self.wiring.operators[at].outputs[0].index
                    if self._is_observed(end):
                        return end
                    waiting.append(end)
        return None

    def _clipped(self, index: int) -> int | None:
        """The result of what alone reads a tensor, if only rearranged, and needs no codes for other numbers."""
        at = self.wiring.only_reader(index)
        if at is None or at not in self.integer or at in self.layers:
            return None
        end = self.wiring.operators[at].outputs[0].index
        if self.wiring.operators[at].name in REARRANGING:
            return self._clipped(end)
        if not self.wiring.clips(at):
            return None
        seen = self._is_observed(end) or self._rearranged(end) is not None or self._clipped(end) is not None
        return end if seen else None

    def _wants_symmetry(self, index: int) -> bool:
        """Whether a product of two activations reads it as its second operand: its kernel has no code of zero there."""
        readers = self.wiring.readers.get(index, ())
        return any(
            self.wiring.operators[at].name == "BATCH_MATMUL" and self.wiring.operators[at].read(1).index == index
            for at in readers
            if at in self.integer
        )

    def _kept(self, at: int) -> Source:
        if at in self.layers:
            return self.layers[at], 0
        return SameAs(self.wiring.data(at)[0].index)

    def share_concatenated(self, sources: dict[int, Source]) -> tuple[str, ...]:
        """A kernel concatenates codes of one scale: parts that no place gives a scale have that of the whole.

        But not those that are ranked: with a coarser scale, more of them would be equal.
        """
        parts: list[str] = []
        for at in sorted(self.integer, reverse=True):
            each = self.wiring.operators[at]
            if each.name not in ("CONCATENATION", "PACK"):
                continue
            whole = each.outputs[0].index
            if not isinstance(sources[whole], Observed):
                continue
            for tensor in self.wiring.data(at):
                part, source = own_source(tensor.index, sources)
                alone = len(self.wiring.readers.get(part, ())) == 1 and self.wiring.maker.get(part) in self.integer
                if isinstance(source, Observed) and part != whole and part not in self._ranked and alone:
                    sources[part] = SameAs(whole)
                    parts.append(self.names[part])
        return tuple(parts)

    def joined(self, sources: Mapping[int, Source]) -> dict[int, int]:
        """Parts of concatenations that others read as well → the whole."""
        found: dict[int, int] = {}
        for at in sorted(self.integer):
            each = self.wiring.operators[at]
            if each.name in ("CONCATENATION", "PACK"):
                whole = each.outputs[0].index
                for tensor in self.wiring.data(at):
                    part, source = own_source(tensor.index, sources)
                    is_free = part != own_source(whole, sources)[0] and part not in self._ranked
                    if isinstance(source, Observed) and is_free:
                        found.setdefault(part, whole)
        return found

    def whole(self, sources: Mapping[int, Source]) -> frozenset[str]:
        """Tensors read by what makes much of their largest numbers: where rounding averages out, clipping does not."""
        found = set()
        for at, each in enumerate(self.wiring.operators):
            data = self.wiring.data(at)
            twice = each.name == "MUL" and len({tensor.index for tensor in data}) < len(data)
            if twice or each.name in ADDING_UP or each.name in EXPANDING:
                for tensor in data:
                    source = own_source(tensor.index, sources)[1]
                    if isinstance(source, Observed):
                        found.add(source.tensor)
        return frozenset(found)

    def saturating(self, sources: Mapping[int, Source]) -> frozenset[str]:
        """Tensors whose scale is for nothing but what one saturating function reads."""
        sharing: dict[int, set[int]] = {}
        for index in sources:
            sharing.setdefault(own_source(index, sources)[0], set()).add(index)
        found = set()
        for at in self.integer:
            if self.wiring.operators[at].name not in SATURATING:
                continue
            read = self._read_by(at)
            for index in read:
                own, source = own_source(index, sources)
                if isinstance(source, Observed) and sharing[own] <= read:
                    found.add(source.tensor)
        return frozenset(found)

    def _read_by(self, at: int) -> set[int]:
        """The tensors that are read by one operator alone, at once or rearranged."""
        found: set[int] = set()
        index = self.wiring.data(at)[0].index
        while self.wiring.only_reader(index) == at:
            found.add(index)
            at = self.wiring.maker.get(index, -1)
            if at not in self.integer or self.wiring.operators[at].name not in REARRANGING:
                break
            index = self.wiring.data(at)[0].index
        return found


def own_source(index: int, sources: Mapping[int, Source]) -> tuple[int, Source | None]:
    """The tensor that has the scale of another one by itself, and where it comes from: SameAs where none has one."""
    seen: set[int] = set()
    while isinstance(source := sources.get(index), SameAs) and index not in seen:
        seen.add(index)
        index = source.tensor
    return index, source


def _adds_a_number(each: Operator) -> bool:
    """Whether a constant joins the numbers that an operator reads: other than 0, which all scales have."""
    return any(tensor.values is not None and np.any(tensor.constant != 0) for tensor in carried(each))


def _enlarges(each: Operator) -> bool:
    """Whether an image becomes no smaller in height and width, so that all its pixels, or numbers near them, remain."""
    sizes = zip(each.read(0).signature[1:3], each.outputs[0].signature[1:3], strict=True)
    return all(read is not None and made is not None and made >= read for read, made in sizes)


def _puts_between(each: Operator) -> bool:
    """Whether a larger image has all pixels of the image, and others between them: otherwise its peaks are averaged."""
    ends = 1 if each.options.alignCorners else 0
    sizes = zip(each.read(0).signature[1:3], each.outputs[0].signature[1:3], strict=True)
    return _enlarges(each) and all(
        read is not None and made is not None and read > ends and (made - ends) % (read - ends) == 0
        for read, made in sizes
    )
