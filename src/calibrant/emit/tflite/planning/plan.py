"""Which operators of a LiteRT file run on integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.conversion.converter_names import ACTIVATIONS
from calibrant.emit.tflite.conversion.float_file import FloatFile, layer_end
from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.planning.exact_reads import only_read_exactly
from calibrant.emit.tflite.planning.kernels import (
    CONVOLVING,
    KERNELS,
    LAYER_INPUT,
    LAYER_KERNELS,
    OF_OPEN_SIZES,
    RANKING,
    WITHOUT_KERNEL,
    Result,
)
from calibrant.emit.tflite.planning.layer_operator import layer_operator
from calibrant.emit.tflite.planning.own_constants import has_own_constants
from calibrant.emit.tflite.planning.sources import Observed, Source, Sources
from calibrant.emit.tflite.planning.wide import IN_FRONT, KERNELS_OF_16_BITS, WideOperators, wide_operators
from calibrant.emit.tflite.planning.wiring import Wiring, looks_up
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.node_input import NodeInput

TOO_COARSE = "8 bits for one of its tensors would cost the outputs more than half of what all layers do"
BETWEEN_FLOATS = "is between operators in float"
ONLY_LAYERS = "only layers and what is between them run on integers (--tflite-ops layers)"
LONG = 32
"""Numbers that are normalized together, from which on a scale of 1/128 costs more than one of their own: the largest of
so many is about 0.45 where they are distributed normally.
"""


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
    whole : frozenset[str]
        Tensors of the graph of whose range nothing may be cut off.
    saturating : frozenset[str]
        Tensors of the graph of which a saturating function needs only a part.
    fixed : Mapping[str, Quantizer]
        Tensors of the graph that kernels on integers make with the same scale in every model.
    operators : Mapping[str, int]
        Quantized layer → position of the operator that it is, in float or not, of those that are found.
    joined : Mapping[int, int]
        Index of a tensor with a range of its own → that of what it is concatenated into, while others read it, too:
        whether one scale is fine enough for all is seen when it is known.
    """

    layers: Mapping[int, str]
    integer: frozenset[int]
    sources: Mapping[int, Source]
    floats: Mapping[int, str]
    wide: WideOperators = WideOperators()
    parts: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()
    saturating: frozenset[str] = frozenset()
    fixed: Mapping[str, Quantizer] = field(default_factory=dict)
    operators: Mapping[str, int] = field(default_factory=dict)
    joined: Mapping[int, int] = field(default_factory=dict)

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
    integer_ends : bool
        Whether the inputs are to be codes, whatever that costs.
    barred : Mapping[int, str]
        Position of an operator → why it has to stay in float.
    known : Collection[str] | None
        Tensors of the graph with scales of their own; None: all can be observed.
    too_coarse : Collection[str]
        Tensors of the graph for which 8 bits are too few; they are not among those known.
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
    integer_ends: bool = False
    barred: Mapping[int, str] = field(default_factory=dict)
    known: Collection[str] | None = None
    too_coarse: Collection[str] = ()
    before: Mapping[int, Source] = field(default_factory=dict)
    wide: Collection[NodeInput] = ()

    @property
    def file(self) -> File:
        """The float file, to be read only."""
        return self.float_file.file


def plan_file(given: PlanInputs) -> FilePlan:
    """Decide what runs on integers."""
    return _Planner(given).plan()


class _Planner:
    def __init__(self, given: PlanInputs):
        self.given = given
        self.wiring = Wiring(given.float_file)
        self.index_of = given.float_file.indices
        self.demands: dict[int, NodeInput] = {}
        for node, index in given.places:
            read = self.index_of.get(nd.data_inputs(given.graph.nodes[node])[index])
            if read is not None:
                self.demands.setdefault(read, (node, index))
        self.why: dict[int, str] = {}
        self.without_scale: dict[int, NodeInput] = {}
        self.operators: dict[str, int] = {}
        self.layers = self._layers()
        self._demand_what_layers_read()
        self.wide = self._wide()
        self.left_in_float = self._left_in_float()
        coded = self.wiring.fed if given.integer_ends else frozenset()
        self.exact = only_read_exactly(self.wiring, self.layers, given.float_file.tensors, coded, given.barred)
        self.integer: set[int] = set()

    def plan(self) -> FilePlan:
        self.integer = {at for at, each in enumerate(self.wiring.operators) if self._is_candidate(at, each)}
        self.sources = Sources(
            self.wiring,
            names=self.given.float_file.tensors,
            demands=self.demands,
            layers=self.layers,
            integer=self.integer,
            known=self.given.known,
            before=self.given.before,
        )
        while True:
            misfits = {at for at in self.integer if at not in self.layers and not self._fits(at)}
            if not misfits:
                break
            self.integer -= misfits
        sources = self.sources.all()
        parts = self.sources.share_concatenated(sources)
        floats = {
            at: self._reason(at)
            for at, each in enumerate(self.wiring.operators)
            if at not in self.integer and (self._computes(each) or at in self.given.barred)
        }
        names = self.given.float_file.tensors
        fixed = {names[at]: each for at, each in sources.items() if isinstance(each, Quantizer) and at in names}
        return FilePlan(
            layers=self.layers,
            integer=frozenset(self.integer),
            sources=sources,
            floats=floats,
            wide=self.wide,
            parts=parts,
            whole=self.sources.whole(sources),
            saturating=self.sources.saturating(sources),
            fixed=fixed,
            operators=self.operators,
            joined=self.sources.joined(sources),
        )

    def _layers(self) -> dict[int, str]:
        """Position of an operator → its layer: of equal ones that the converter has merged, one that reads 16 bits."""
        found: dict[int, str] = {}
        wide = {node for node, _ in self.given.wide}
        for layer in sorted(self.given.layers, key=lambda layer: layer.name not in wide):
            at, reason = self._layer(layer, found)
            if at is None:
                continue
            self.operators[layer.name] = at
            if reason is None and at in self.given.barred:
                reason = self.given.barred[at]
            if reason is None:
                found[at] = layer.name
            else:
                self.why[at] = reason
        return found

    def _demand_what_layers_read(self) -> None:
        """A layer's operator may read what the graph does not have: values of its inputs in another order."""
        places: dict[str, list[NodeInput]] = {}
        for node, index in self.given.places:
            places.setdefault(node, []).append((node, index))
        for at, name in self.layers.items():
            for tensor, place in zip(self.wiring.data(at), places.get(name, ()), strict=False):
                self.demands.setdefault(tensor.index, place)

    def _read_by_layer(self, at: int) -> int:
        """Index of the activation that a layer's operator reads; the first of two."""
        each = self.wiring.operators[at]
        return each.read(LAYER_INPUT.get(each.name, 0)).index

    def _wide(self) -> WideOperators:
        """The layers that compute with 16 bits; others that would have to are left in float."""
        names = {node for node, _ in self.given.wide}
        read = [nd.data_inputs(self.given.graph.nodes[node])[index] for node, index in self.given.wide]
        with_weights = {layer.name for layer in self.given.layers if layer.weight_input is not None}
        weighted = {
            at: name in with_weights and self.wiring.operators[at].name in KERNELS_OF_16_BITS
            for at, name in self.layers.items()
        }
        readers = [at for at, name in self.layers.items() if name in names and weighted[at]]
        known = [self.index_of[tensor] for tensor in read if tensor in self.index_of]
        found = wide_operators(
            self.wiring.operators, weighted, readers, [*known, *(self._read_by_layer(at) for at in readers)]
        )
        for at in found.floats:
            self.layers.pop(at, None)
            self.why.setdefault(at, IN_FRONT)
        return found

    def _left_in_float(self) -> set[int]:
        """Indices of what layers make that the configuration leaves in float, be it a result by another name."""
        graph, names = self.given.graph, {layer.name for layer in self.given.layers}
        others = [layer for layer in find_layers(graph)[0] if layer.name not in names]
        ends = {end for layer in others for end in (layer_end(graph, layer), f"{layer.end}:0")}
        results = zip(graph.outputs, self.given.file.outputs(), strict=True)
        found = {made.index for output, made in results if _passed_on(graph, output) in ends}
        return found | {self.index_of[end] for end in ends if end in self.index_of}

    def _layer(self, layer: Layer, found: Mapping[int, str]) -> tuple[int | None, str | None]:
        """The operator that runs a layer, and why it has to do so in float."""
        end = layer_end(self.given.graph, layer)
        kernels = LAYER_KERNELS.get(layer.type, ())
        op = self.given.graph.producer(end).op
        activation = op.upper() if op in ACTIVATIONS else None
        at = layer_operator(self.wiring, self.index_of.get(end), kernels, activation)
        if at is not None and (name := self.wiring.operators[at].name) not in kernels:
            as_this = f" as {name}{OF_OPEN_SIZES.get(name, '')}" if kernels else ""
            return at, f"LiteRT has no integer kernel for {layer.type}{as_this}"
        if at is None or at in found:
            return at, "the converter made something else of the layer"
        if not has_own_constants(self.wiring.operators[at], self.given.graph, layer):
            return at, "the converter has worked other numbers into its weights or bias"
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
        elif kernel is None and each.name in CONVOLVING and each.read(1).values is None:
            self.why[at] = "its weights are not constant"
        elif kernel is None:
            self.why[at] = WITHOUT_KERNEL.get(each.name, f"LiteRT has no integer kernel for {each.name}")
        elif at in self.exact:
            self.why[at] = (
                "what it makes divides, is rounded to whole numbers or goes into a logarithm or root, for which 8 bits "
                "are too few"
            )
        elif each.name == "L2_NORMALIZATION" and not self.given.integer_ends and _is_long(each):
            self.why[at] = "its kernel has a scale for numbers up to 1, and of so many none is near it"
        elif not (self.given.all_operators or kernel.between_layers):
            self.why[at] = ONLY_LAYERS
        else:
            data = self.wiring.data(at)
            if looks_up(each):
                return True
            if not data or any(tensor.dtype != np.float32 for tensor in data):
                return False
            return kernel.result is Result.OTHER_TYPE or each.outputs[0].dtype == np.float32
        return False

    def _fits(self, at: int) -> bool:
        """Whether an operator is at home on integers, as far as its neighbours are."""
        each, kernel = self.wiring.operators[at], KERNELS[self.wiring.operators[at].name]
        data = self.wiring.data(at)
        ranks = self.given.all_operators and each.name in RANKING
        is_made = self._is_computed_on_integers if ranks else self._is_made_on_integers
        made = [is_made(tensor.index) for tensor in data]
        read = all(
            self._is_read_on_integers(tensor.index) for tensor in each.outputs if self.wiring.is_used(tensor.index)
        )
        if not self.given.all_operators:
            at_home = read and all(ok or tensor.index in self.wiring.fed for ok, tensor in zip(made, data, strict=True))
        elif kernel.result in (Result.SAME, Result.OTHER_TYPE):
            at_home = any(made) or (read and kernel.result is Result.SAME and not ranks)
        else:
            at_home = any(made) or not kernel.of_codes
        if not at_home:
            return False
        made_anew = kernel.result is Result.OWN or not data or self.sources.joins(at)
        for what, tensors in (("one of its inputs", data), ("its result", each.outputs if made_anew else ())):
            lacking = [tensor.index for tensor in tensors if not self.sources.has_scale(tensor.index)]
            if lacking:
                self.without_scale[at] = what, lacking[0]
                return False
        return True

    def _reason(self, at: int) -> str:
        """Why an operator is in float, once it is decided which are."""
        if at in self.why or at not in self.without_scale:
            return self.why.get(at, BETWEEN_FLOATS)
        what, index = self.without_scale[at]
        name, maker = self.given.float_file.tensors.get(index), self.wiring.maker.get(index)
        if name in self.given.too_coarse:
            return TOO_COARSE
        if maker is not None and maker != at and maker not in self.integer and self._has_other_reason(maker, index):
            return f"reads what {self.wiring.operators[maker].name} makes, which runs in float"
        if name is None:
            return f"{what} is not known in the graph, so that it has no scale"
        return f"no finite range was observed for {what}, so that it has no scale"

    def _has_other_reason(self, at: int, made: int) -> bool:
        """Whether an operator in float is so for something else than that what it makes has no scale."""
        return at in self.why or self.without_scale.get(at, (None, None))[1] != made

    def _is_made_on_integers(self, index: int) -> bool:
        if self.given.integer_ends and index in self.wiring.fed:
            return True
        return self.wiring.maker.get(index) in self.integer

    def _is_computed_on_integers(self, index: int) -> bool:
        """The same of what a tensor's numbers were taken out of: of numbers that are only moved, codes tell less."""
        origins = [index]
        for each in origins:
            at = self.wiring.maker.get(each)
            data = self.wiring.data(at) if at is not None and at in self.integer and at not in self.layers else ()
            if at is not None and data and KERNELS[self.wiring.operators[at].name].result is Result.SAME:
                origins += [tensor.index for tensor in data if tensor.index not in origins]
            elif self._is_made_on_integers(each):
                return True
        return False

    def _is_read_on_integers(self, index: int) -> bool:
        return all(
            at in self.integer and index in [tensor.index for tensor in self.wiring.data(at)]
            for at in self.wiring.readers.get(index, ())
        )


def _is_long(each: Operator) -> bool:
    """Whether the last axis has LONG numbers; of a size that is not known, it has not."""
    return (each.outputs[0].signature[-1] or 0) >= LONG


def _passed_on(graph: Graph, tensor: str) -> str:
    """The tensor that another one is, past operations that only give it a name."""
    while (node := graph.producer(tensor)).op in nd.PASS_THROUGH | {"IdentityN"}:
        tensor = nd.tensor_name(nd.data_inputs(node)[nd.split_tensor(tensor)[1]])
    return tensor
