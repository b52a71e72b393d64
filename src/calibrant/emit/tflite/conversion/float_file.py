"""The network as a float LiteRT file, and which of its tensors are which tensors of the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.conversion.convert import MOST_NODES, UNROLLED, refuse_too_large
from calibrant.emit.tflite.conversion.converter_names import named_tensors
from calibrant.emit.tflite.conversion.cut_hints import cut_hint
from calibrant.emit.tflite.conversion.float_graph import float_graph
from calibrant.emit.tflite.conversion.marks import take_out_marks, with_marks
from calibrant.emit.tflite.conversion.stand_ins import converted_file
from calibrant.emit.tflite.flatbuffer import OPERATORS, File
from calibrant.emit.tflite.planning.kernels import LAYER_KERNELS
from calibrant.emit.tflite.rewrites.early_activations import activation_behind
from calibrant.emit.tflite.rewrites.flat_products import products_of_batches
from calibrant.emit.tflite.rewrites.gelu import ERROR_FUNCTIONS
from calibrant.emit.tflite.rewrites.replacements import negations_as_products
from calibrant.emit.tflite.rewrites.turned_operands import turned_operands
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.emit.tflite.strings import unknown_strings
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput
from calibrant.graph.tf_core import NodeDef, dtypes

WITH_KERNELS = frozenset({"AudioSpectrogram", "Mfcc", "TFLite_Detection_PostProcess"})
"""Custom operators that interpreters bring along."""
LOOPS = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN"})
ARRAY = "TensorArrayV3"
FAKE_QUANTIZED = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""What the converter makes of a FakeQuant node."""
_UNSIMULATED = "a LiteRT file with {} is not written, as no simulation could check it"


@dataclass(frozen=True, eq=False)
class FloatFile:
    """A float file of a graph.

    Parameters
    ----------
    file : File
        What the converter made, without marks; to be copied before it is changed.
    tensors : Mapping[int, str]
        Index of a tensor → a tensor of the graph that has its values, for those that are known.
    indices : Mapping[str, int]
        The other way round; several tensors of the graph may be one of the file.
    graph : Graph
        The graph that was converted, without marks.
    unsure : frozenset[int]
        Indices of tensors that are known by the converter's names alone.
    """

    file: File
    tensors: Mapping[int, str]
    indices: Mapping[str, int]
    graph: Graph
    unsure: frozenset[int] = frozenset()


def float_file(
    graph: Graph,
    layers: Collection[Layer],
    places: Collection[NodeInput],
    settings: TfliteSettings,
    gelus: bool = True,
) -> FloatFile:
    """Convert a graph without quantizing anything.

    Parameters
    ----------
    graph : Graph
        Folded and balanced.
    layers : Collection[Layer]
        The quantized ones; what they read and make stays apart from everything else.
    places : Collection[NodeInput]
        Every (node, input index) whose activation is quantized.
    gelus : bool
        Leave error functions to the converter that may be in a GELU; where they are not, they are written out.

    Raises
    ------
    ModelError
        The converter does not take the graph, or the graph not the sizes that are fixed.
    OutputError
        It has more than 2 GB of constants.
    """
    refuse_too_large(graph)
    _refuse_strings(graph)
    try:
        plain, twins = float_graph(graph, settings, gelus)
        _ = plain.tensors if settings.batch or settings.shape else None
    except ValueError as error:  # of TensorFlow, which infers the shapes of all tensors
        message = f"it does not take the sizes that are fixed for the LiteRT file: {str(error).splitlines()[0]}"
        raise ModelError(Problem(message, file=graph.source, hint="fix other sizes, --tflite-shape")) from None
    twins = products_of_batches(plain, graph) | dict(twins)
    read = [nd.data_inputs(graph.nodes[name])[index] for name, index in places]
    made = [layer_end(graph, layer) for layer in layers]
    wanted = {tensor: twins.get(tensor, tensor) for tensor in (*read, *made) if graph.constant(tensor) is None}
    apart = {tensor: tensor for tensor in turned_operands(plain) if tensor not in wanted.values()}
    file, named, indices = _converted(plain, graph, wanted | apart, twins)
    indices = {name: index for name, index in indices.items() if name in wanted}
    if gelus and any(each.name in ERROR_FUNCTIONS for part in file.subgraphs() for each in part.operators()):
        return float_file(graph, layers, places, settings, gelus=False)
    negations_as_products(file)
    _refuse_unknown(file, plain, graph)
    first = {index: name for name, index in reversed(indices.items())}
    there = {tensor.index for each in file.operators() for tensor in each.outputs}
    there |= {tensor.index for tensor in file.inputs()}
    unsure = {index: name for index, name in named.items() if index in there and name not in indices}
    tensors = unsure | first
    indices = {name: index for index, name in tensors.items()} | indices
    return FloatFile(file, tensors, indices, plain, frozenset(unsure) - frozenset(first))


def _converted(
    plain: Graph, graph: Graph, places: Mapping[str, str], twins: Mapping[str, str]
) -> tuple[File, dict[int, str], dict[str, int]]:
    """The file, its tensors that are known by name and those that are known by marks; without marks on constants.

    Of a mark behind what the converter knows beforehand, such as the zeros that a loop begins with once the batch is
    fixed, it makes a constant with other numbers.
    """
    same = {twin: tensor for tensor, twin in twins.items()}
    while True:
        marked, marks = with_marks(plain, places)
        file = converted_file(marked)
        named = named_tensors(file, plain, graph, same)
        indices = take_out_marks(file, marked, marks)
        if len(indices) == len(places):
            return file, named, indices
        places = {called: tensor for called, tensor in places.items() if called in indices}


def _refuse_unknown(file: File, graph: Graph, original: Graph) -> None:
    from calibrant.emit.tflite.simulation.floats import FLOATS

    known = {*OPERATORS.values(), *WITH_KERNELS}
    unknown: dict[str, list[str]] = {}
    complex_ones: set[str] = set()
    for part in file.subgraphs():
        for each in part.operators():
            if each.name not in known or each.name not in {*FLOATS, *FAKE_QUANTIZED}:
                unknown.setdefault(each.name, []).extend(made.name.split(";")[0] for made in each.outputs[:1])
                if any(made.dtype == np.complex64 for made in each.outputs):
                    complex_ones.add(each.name)
    if ARRAY in unknown:
        unknown = {
            name: places for name, places in unknown.items() if name == ARRAY or not name.startswith("TensorArray")
        }
    inputs = zip(graph.input_keys, graph.inputs, strict=True)
    shapes = {key: graph.shape(tensor) for key, tensor in inputs}
    unranked = [key for key, shape in shapes.items() if shape is None]
    open_inputs = [key for key, shape in shapes.items() if shape is None or None in shape]
    problems = []
    cut = cut_hint(original, [node.name for node in graph.nodes.values() if node.op in unknown])
    otherwise = f"{cut}; or export another format" if cut else "export another format"
    for name, places in unknown.items():
        hint = otherwise
        if name in LOOPS:
            hint = UNROLLED
        elif name == ARRAY and open_inputs:
            hint = f"the size of its elements is not known: fix the inputs, {_shape_options(open_inputs)}"
        elif unranked:
            hint = f"the model does not say the shape of its input, fix it with {_shape_options(unranked)}"
        nodes = [node for node in graph.nodes.values() if node.op == name]
        message = _UNSIMULATED.format(name) if name in known else _unknown(name, nodes)
        named = [node.name for node in nodes]
        if name in complex_ones:
            message, named = f"LiteRT has no operator for {name} of complex64", []
        places = places if set(places) <= set(named) else named or places
        place = ", ".join(places[:MOST_NODES]) + (" …" if len(places) > MOST_NODES else "")
        problems.append(Problem(message, file=graph.source, path=place or None, hint=hint))
    if problems:
        raise ModelError(*problems)


def _unknown(name: str, nodes: Collection[NodeDef]) -> str:
    """Why an operation is left in the file."""
    if name == "Conv2DBackpropInput" and any(max(nd.attribute(node, "dilations") or [1]) > 1 for node in nodes):
        return "LiteRT has no transposed convolution with dilations"
    if name in LAYER_KERNELS:
        return f"the converter makes no operator of this {name}, as where sizes of its input are not known"
    types = {nd.attribute(node, "T") for node in nodes if "T" in node.attr} - {dtypes.float32}
    return f"LiteRT has no operator for {name}" + (f" of {types.pop().name}" if len(types) == 1 else "")


def _shape_options(keys: Collection[str]) -> str:
    return " ".join(f"--tflite-shape {key}=SIZE,SIZE,…" for key in keys)


def _refuse_strings(graph: Graph) -> None:
    unknown = unknown_strings(graph)
    texts = [key for key, tensor in zip(graph.output_keys, graph.outputs, strict=True) if tensor in unknown]
    others = [tensor for tensor in graph.outputs if tensor not in unknown]
    if texts:
        raise ModelError(
            Problem(
                f"the output {', '.join(texts)} holds strings, which no simulation could check",
                file=graph.source,
                hint=f"quantize without it, --outputs {','.join(map(nd.input_reference, others))}"
                if others
                else "quantize with the tensors that the strings are made from as outputs, --outputs",
            )
        )


def layer_end(graph: Graph, layer: Layer) -> str:
    """The last tensor of a layer: beside weights, its bias and the activation behind it run in the same kernel."""
    if layer.weight_input is None:
        return f"{layer.name}:0"
    activation = activation_behind(graph, layer.end)
    return f"{layer.end if activation is None else activation.name}:0"
