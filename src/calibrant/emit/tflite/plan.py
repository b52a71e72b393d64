"""Which operators of a LiteRT file run on integers, and where the scale of each of their tensors comes from.

A configuration gives scales where layers read. Integer kernels need them on every tensor they make as well. A tensor
takes, in this order: what its kernel fixes, the scale with which a layer reads it, that of a layer that reads it
through operators that only move values, that of the tensor it was moved from or is concatenated into, and if there is
none of these, one of its own, which has to be observed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.flatbuffer import File, Operator, Tensor
from calibrant.emit.tflite.float_file import FloatFile, layer_end
from calibrant.emit.tflite.kernels import KERNELS, LAYER_INPUT, LAYER_KERNELS, ONLY_THE_SHAPE, Result
from calibrant.emit.tflite.wide import IN_FRONT, KERNELS_OF_16_BITS, WideOperators, wide_operators
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers

NodeInput = tuple[str, int]
CLIPPING = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"})
CHOOSING = frozenset({"REDUCE_MAX", "REDUCE_MIN", "MAX_POOL_2D"})
REARRANGING = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"})
"""Operators whose result has all numbers of their input and no others."""
KEEPING = REARRANGING | frozenset(
    {
        *("PAD", "PADV2", "MIRROR_PAD", "CONCATENATION", "PACK", "TILE", "BROADCAST_TO", "REVERSE_V2"),
        *("SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"),
    }
)
"""Operators whose result has all numbers of their inputs, so that its range is theirs or wider."""
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


@dataclass(frozen=True, eq=False)
class FilePlan:
    """What is to be done to one float file.

    Parameters
    ----------
    layers : Mapping[int, str]
        Position of an operator → the quantized layer that it runs.
    integer : frozenset[int]
        Positions of all operators that run on integers.
    sources : Mapping[int, Source]
        Index of a tensor → where its scale comes from, for tensors that integer operators make or read.
    floats : Mapping[int, str]
        Position of an operator in float → why, for those that compute with floating-point numbers or were
        barred.
    wide : WideOperators
        What computes with codes of 16 bits.
    parts : tuple[str, ...]
        Tensors of the graph that have the scale of what they are concatenated into; whether their own range
        allows that is seen when it is known.
    """

    layers: Mapping[int, str]
    integer: frozenset[int]
    sources: Mapping[int, Source]
    floats: Mapping[int, str]
    wide: WideOperators = WideOperators()
    parts: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()

    @property
    def observed(self) -> dict[str, bool]:
        """Tensors of the graph that have to be observed, and whether nothing of their range may be cut off."""
        own = (source.tensor for source in self.sources.values() if isinstance(source, Observed))
        return {name: name in self.whole for name in (*own, *self.parts)}


@dataclass(frozen=True, eq=False)
class PlanInputs:
    """What a plan is made from.

    Parameters
    ----------
    float_file : FloatFile
        The network in float.
    graph : Graph
        The graph that the layers are of.
    layers : Collection[Layer]
        The quantized ones.
    places : Collection[NodeInput]
        Every (node, input index) whose activation is quantized, those of layers first.
    all_operators : bool
        Whether operators beside layers run on integers wherever they can, or only between layers.
    barred : Mapping[int, str]
        Position of an operator → why it has to stay in float.
    known : Collection[str] | None
        Tensors of the graph with scales of their own; None: all can be observed.
    before : Mapping[int, Source]
        Sources of the plan in which nothing was barred, for what is not known.
    wide : Collection[NodeInput]
        Those of ``places`` that read 16 bits.
    """

    float_file: FloatFile
    graph: Graph
    layers: Collection[Layer]
    places: Collection[NodeInput]
    all_operators: bool = True
    barred: Mapping[int, str] = field(default_factory=dict)
    known: Collection[str] | None = None
    before: Mapping[int, Source] = field(default_factory=dict)
    wide: Collection[NodeInput] = ()

    @property
    def file(self) -> File:
        """The float file, to be read only."""
        return self.float_file.file


def make_plan(given: PlanInputs) -> FilePlan:
    """Decide what runs on integers."""
    return _Planner(given).plan()


class _Planner:
    def __init__(self, given: PlanInputs):
        self.given = given
        self.names = given.float_file.tensors
        self.operators = list(given.file.operators())
        self.fed = {tensor.index for tensor in given.file.inputs()}
        self.results = {tensor.index for tensor in given.file.outputs()}
        self.maker = {made.index: at for at, each in enumerate(self.operators) for made in each.outputs}
        self.readers: dict[int, list[int]] = {}
        for at, each in enumerate(self.operators):
            for tensor in each.inputs:
                if tensor is not None and each.name not in ONLY_THE_SHAPE:
                    self.readers.setdefault(tensor.index, []).append(at)
        self.index_of = given.float_file.indices
        self.demands: dict[int, NodeInput] = {}
        for node, index in given.places:
            read = self.index_of.get(nd.data_inputs(given.graph.nodes[node])[index])
            if read is not None:
                self.demands.setdefault(read, (node, index))
        self.why: dict[int, str] = {}
        self.layers = self._layers()
        self.wide = self._wide()
        self.left_in_float = {
            given.float_file.indices.get(layer_end(given.graph, layer))
            for layer in find_layers(given.graph)[0]
            if layer.name not in {each.name for each in given.layers}
        }
        self.integer: set[int] = set()

    def plan(self) -> FilePlan:
        self.integer = {at for at, each in enumerate(self.operators) if self._is_candidate(at, each)}
        while True:
            misfits = {at for at in self.integer if at not in self.layers and not self._fits(at)}
            if not misfits:
                break
            self.integer -= misfits
        sources: dict[int, Source] = {}
        for at, each in enumerate(self.operators):
            if at in self.integer:
                for tensor in (*self.data(at), *each.outputs):
                    if tensor.dtype == np.float32 and tensor.index not in sources:
                        self._source(tensor.index, sources)
        parts = self._share_concatenated(sources)
        floats = {
            at: self.why.get(at, "is between operators in float")
            for at, each in enumerate(self.operators)
            if at not in self.integer and (self._computes(each) or at in self.given.barred)
        }
        whole = self._whole(sources)
        return FilePlan(self.layers, frozenset(self.integer), sources, floats, self.wide, parts, whole)

    def data(self, at: int) -> list[Tensor]:
        """The activations that an operator reads."""
        return [tensor for tensor in _data(self.operators[at]) if tensor.values is None]

    def _layers(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for layer in self.given.layers:
            at, reason = self._layer(layer, found)
            if at is None:
                continue
            if reason is None and at in self.given.barred:
                reason = self.given.barred[at]
            if reason is None:
                found[at] = layer.name
            else:
                self.why[at] = reason
        return found

    def _wide(self) -> WideOperators:
        """The layers that compute with 16 bits; others that would have to are left in float."""
        names = {node for node, _ in self.given.wide}
        read = [nd.data_inputs(self.given.graph.nodes[node])[index] for node, index in self.given.wide]
        with_weights = {layer.name for layer in self.given.layers if layer.weight_input is not None}
        weighted = {
            at: name in with_weights and self.operators[at].name in KERNELS_OF_16_BITS
            for at, name in self.layers.items()
        }
        found = wide_operators(
            self.operators,
            weighted,
            [at for at, name in self.layers.items() if name in names and weighted[at]],
            [self.index_of[tensor] for tensor in read if tensor in self.index_of],
        )
        for at in found.floats:
            self.layers.pop(at, None)
            self.why.setdefault(at, IN_FRONT)
        return found

    def _layer(self, layer: Layer, found: Mapping[int, str]) -> tuple[int | None, str | None]:
        """The operator that runs a layer, and why it has to do so in float."""
        index = self.index_of.get(layer_end(self.given.graph, layer))
        at = self.maker.get(index) if index is not None else None
        kernels = LAYER_KERNELS.get(layer.type, ())
        while at is not None and self.operators[at].name not in kernels:
            if self.operators[at].name not in KERNELS or KERNELS[self.operators[at].name].result is not Result.SAME:
                return at, f"LiteRT has no integer kernel for {layer.type} as {self.operators[at].name}"
            read = self.data(at)
            at = self.maker.get(read[0].index) if len(read) == 1 else None
        if at is None or at in found:
            return at, "the converter made something else of the layer"
        return at, None

    def _computes(self, each: Operator) -> bool:
        return any(tensor.dtype == np.float32 for tensor in each.outputs)

    def _is_candidate(self, at: int, each: Operator) -> bool:
        if at in self.layers:
            return True
        if at in self.why:
            return False
        kernel = KERNELS.get(each.name)
        if at in self.given.barred:
            self.why[at] = self.given.barred[at]
        elif any(made.index in self.left_in_float for made in each.outputs):
            self.why[at] = "the layer is left in float by the configuration"
        elif kernel is None:
            self.why[at] = f"LiteRT has no integer kernel for {each.name}"
        elif not (self.given.all_operators or kernel.between_layers):
            self.why[at] = "only layers and what is between them run on integers (--tflite-ops layers)"
        else:
            data = self.data(at)
            if _looks_up(each):
                return True
            if not data or any(tensor.dtype != np.float32 for tensor in data):
                return False
            return kernel.result is Result.OTHER_TYPE or each.outputs[0].dtype == np.float32
        return False

    def _fits(self, at: int) -> bool:
        """Whether an operator is at home on integers, as far as its neighbours are."""
        each, kernel = self.operators[at], KERNELS[self.operators[at].name]
        data = self.data(at)
        made = [self._is_made_on_integers(tensor.index) for tensor in data]
        read = all(self._is_read_on_integers(tensor.index) for tensor in each.outputs if self._is_used(tensor.index))
        if not self.given.all_operators:
            at_home = read and all(ok or tensor.index in self.fed for ok, tensor in zip(made, data, strict=True))
        elif kernel.result in (Result.SAME, Result.OTHER_TYPE):
            at_home = any(made) or (read and kernel.result is Result.SAME)
        else:
            at_home = True
        if not at_home:
            return False
        if not all(self._has_scale(tensor.index) for tensor in data):
            self.why[at] = "one of its inputs is not known in the graph, so that it has no scale"
            return False
        if (kernel.result is Result.OWN or not data) and not all(
            self._has_scale(tensor.index) for tensor in each.outputs
        ):
            self.why[at] = "its result is not known in the graph, so that it has no scale"
            return False
        return True

    def _is_used(self, index: int) -> bool:
        return index in self.results or index in self.readers

    def _is_made_on_integers(self, index: int) -> bool:
        return self.maker.get(index) in self.integer

    def _is_read_on_integers(self, index: int) -> bool:
        return all(
            at in self.integer and index in [tensor.index for tensor in self.data(at)]
            for at in self.readers.get(index, ())
        )

    def _has_scale(self, index: int) -> bool:
        if index in self.given.before or self._is_observed(index) or self._demanded(index) is not None:
            return True
        if self._rearranged(index) is not None:
            return True
        at = self.maker.get(index)
        if at is None or at not in self.integer:
            return False
        if at in self.layers:
            return False
        kernel = KERNELS[self.operators[at].name]
        if kernel.result is Result.FIXED:
            return True
        data = self.data(at)
        return (
            kernel.result in (Result.SAME, Result.KEPT) and bool(data) and all(self._has_scale(t.index) for t in data)
        )

    def _is_observed(self, index: int) -> bool:
        name = self.names.get(index)
        return name is not None and (self.given.known is None or name in self.given.known)

    def _demanded(self, index: int) -> NodeInput | None:
        """The first place that reads a tensor, directly or through operators that move values."""
        waiting = {index: True}  # tensor → whether nobody else reads what leads to it
        order = [index]
        for current in order:
            if current in self.demands:
                return self.demands[current]
            alone = waiting[current] and len(self.readers.get(current, ())) == 1 and current not in self.results
            for at in self.readers.get(current, ()):
                if at in self.integer and at not in self.layers and self._hands_on(at, current, alone):
                    new = [made.index for made in self.operators[at].outputs if made.index not in waiting]
                    waiting |= dict.fromkeys(new, alone)
                    order += new
        return None

    def _hands_on(self, at: int, index: int, alone: bool) -> bool:
        """Whether a tensor may have the scale with which an operator's result is read.

        Operators that leave numbers out may narrow the range, so nobody else may read the tensor: an activation needs
        no codes below zero, so its input does not either. An enlarged image has the range of the image.
        """
        each = self.operators[at]
        if index not in [tensor.index for tensor in self.data(at)] or self._makes_several(at):
            return False
        if each.name in KEEPING:
            return True
        return alone and (each.name in CLIPPING or _enlarges(each) or KERNELS[each.name].result is Result.SAME)

    def _makes_several(self, at: int) -> bool:
        """Whether several results have the scale of one input, so that none of their readers may decide it."""
        return sum(tensor.dtype == np.float32 for tensor in self.operators[at].outputs) > 1

    def _source(self, index: int, known: dict[int, Source]) -> None:
        at = self.maker.get(index, -1)
        name = self.operators[at].name if at in self.integer else ""
        kernel = KERNELS.get(name)
        if kernel is not None and kernel.fixed is not None:
            known[index] = kernel.fixed
        elif kernel is not None and kernel.result is Result.KEPT:
            known[index] = self._kept(at)
        elif kernel is not None and kernel.result is Result.SAME and self._makes_several(at):
            known[index] = SameAs(self.data(at)[0].index)
        elif (place := self._demanded(index)) is not None:
            known[index] = place
        elif (end := self._clipped(index)) is not None:
            known[index] = SameAs(end)
        elif kernel is not None and (kernel.result is Result.SAME or name in CLIPPING):
            own = name in ("CONCATENATION", "PACK") or self._clips(at) or _looks_up(self.operators[at])
            own = own or any(self._rearranged(tensor.index) == index for tensor in self.data(at))
            if self._is_observed(index) and own:
                known[index] = Observed(self.names[index])
            elif _looks_up(self.operators[at]):
                known[index] = self.given.before[index]
            else:
                known[index] = SameAs(self.data(at)[0].index)
        elif self._is_observed(index):
            known[index] = Observed(self.names[index], self._wants_symmetry(index))
        elif (end := self._rearranged(index)) is not None:
            known[index] = SameAs(end)
        else:
            known[index] = self.given.before[index]

    def _rearranged(self, index: int) -> int | None:
        """For a tensor that the graph does not have, the first one that it has with the same numbers."""
        current = index
        while not self._is_observed(current):
            readers = self.readers.get(current, [])
            at = readers[0] if len(readers) == 1 else -1
            if at not in self.integer or self.operators[at].name not in REARRANGING:
                return None
            current = self.operators[at].outputs[0].index
        return current if current != index else None

    def _clips(self, at: int) -> bool:
        """Whether numbers beyond the range of an operator's result may as well be cut off before it."""
        each = self.operators[at]
        bounded = each.name in ("MAXIMUM", "MINIMUM") and len(self.data(at)) == 1
        return bounded or each.name in CLIPPING or each.name in CHOOSING

    def _clipped(self, index: int) -> int | None:
        """The result of a tensor's only reader, where that needs no codes for other numbers than it makes."""
        readers = self.readers.get(index, [])
        if len(readers) != 1 or index in self.results:
            return None
        [at] = readers
        if at not in self.integer or at in self.layers or not self._clips(at):
            return None
        end = self.operators[at].outputs[0].index
        return end if self._is_observed(end) else None

    def _wants_symmetry(self, index: int) -> bool:
        """Whether a product of two activations reads it as its second operand: its kernel has no code of zero there."""
        readers = self.readers.get(index, ())
        return any(
            self.operators[at].name == "BATCH_MATMUL" and self.operators[at].read(1).index == index
            for at in readers
            if at in self.integer
        )

    def _kept(self, at: int) -> Source:
        if at in self.layers:
            return self.layers[at], 0
        return SameAs(self.data(at)[0].index)

    def _share_concatenated(self, sources: dict[int, Source]) -> tuple[str, ...]:
        """A kernel concatenates codes of one scale: parts that no place gives a scale have that of the whole."""
        parts: list[str] = []
        for at in sorted(self.integer, reverse=True):
            each = self.operators[at]
            if each.name not in ("CONCATENATION", "PACK"):
                continue
            whole = each.outputs[0].index
            if not isinstance(sources[whole], Observed):
                continue
            for tensor in self.data(at):
                part = tensor.index
                seen = {whole}
                while isinstance(source := sources.get(part), SameAs) and part not in seen:
                    seen.add(part)
                    part = source.tensor
                alone = len(self.readers.get(part, ())) == 1 and self._is_made_on_integers(part)
                if isinstance(source, Observed) and part not in seen and alone:
                    sources[part] = SameAs(whole)
                    parts.append(self.names[part])
        return tuple(parts)

    def _whole(self, sources: Mapping[int, Source]) -> frozenset[str]:
        """Tensors read by what makes much of their largest numbers: where rounding averages out, clipping does not."""
        found = set()
        for at, each in enumerate(self.operators):
            data = self.data(at)
            twice = each.name == "MUL" and len({tensor.index for tensor in data}) < len(data)
            if twice or each.name in ADDING_UP or each.name in EXPANDING:
                for tensor in data:
                    source, seen = sources.get(tensor.index), {tensor.index}
                    while isinstance(source, SameAs) and source.tensor not in seen:
                        seen.add(source.tensor)
                        source = sources.get(source.tensor)
                    if isinstance(source, Observed):
                        found.add(source.tensor)
        return frozenset(found)


def _enlarges(each: Operator) -> bool:
    """Whether an operator makes a larger image in which every pixel of the image is found again."""
    if each.name != "RESIZE_BILINEAR" or each.options.halfPixelCenters:
        return False
    sizes = zip(each.read(0).signature[1:3], each.outputs[0].signature[1:3], strict=True)
    return all(read is not None and made is not None and made >= read for read, made in sizes)


def _looks_up(each: Operator) -> bool:
    """Whether an operator takes its numbers out of a constant: rows of a table, or what fills a tensor."""
    source = {"GATHER": 0, "FILL": 1, "TILE": 0, "BROADCAST_TO": 0}.get(each.name)
    return source is not None and each.read(source).values is not None and each.outputs[0].dtype == np.float32


def _data(each: Operator) -> list[Tensor]:
    """What carries numbers that are rounded to codes, constants among it."""
    kernel = KERNELS.get(each.name)
    places = (LAYER_INPUT.get(each.name, 0),) if kernel is None else kernel.data
    read = each.inputs if places is None else [each.inputs[at] for at in places if at < len(each.inputs)]
    return [tensor for tensor in read if tensor is not None]
