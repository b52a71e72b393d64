"""Step: quantize the weights of layers inside loops and branches, whose activations stay in float.

The graph reads integers and scales from then on. For everything after this step it is a float graph like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from calibrant.algorithms.arq import QuantizedWeights
from calibrant.config.plan import LayerPlan
from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.tf_core import FunctionDef, FunctionDefLibrary, NodeDef, dtypes
from calibrant.graph.weight_only import EnclosedConstant, weight_only_layers
from calibrant.quantized_network import QuantizedWeightOnly
from calibrant.steps.weights.quantize_weights import quantize_by_plan

QUANTIZED = "weights_quantized"
"""Where the integers and scales are, below the name of what they take the place of."""


def quantize_weight_only(graph: Graph, plans: Iterable[LayerPlan]) -> tuple[QuantizedWeightOnly, ...]:
    """The planned ones of these layers with their weights; layers that share a constant share one result.

    Raises
    ------
    ModelError
        Weights with NaN or infinity; names the layer.
    """
    layers = {layer.name: layer for layer in weight_only_layers(graph)}
    shared: dict[EnclosedConstant, QuantizedWeights] = {}
    result = []
    for plan in plans:
        layer = layers[plan.name]
        if plan.weights is None:
            continue
        if layer.constant not in shared:
            try:
                shared[layer.constant] = quantize_by_plan(layer.values, plan.weights, layer.channel_axes)
            except ValueError as error:
                raise ModelError(Problem(str(error), file=graph.source, path=layer.name)) from None
        result.append(QuantizedWeightOnly(layer, shared[layer.constant]))
    return tuple(result)


def with_weight_only(graph: Graph, layers: Iterable[QuantizedWeightOnly]) -> Graph:
    """The graph with integers, scales and their product in place of these layers' weights."""
    constants: Mapping[EnclosedConstant, QuantizedWeights] = {entry.layer.constant: entry.weights for entry in layers}
    if not constants:
        return graph
    edit = graph.edit()
    inside: dict[str, dict[str, QuantizedWeights]] = {}
    for constant, weights in constants.items():
        if constant.function is not None:
            inside.setdefault(constant.function, {})[constant.node] = weights
        else:
            _put(edit, constant, weights)
    return edit.finish(library=_with_constants(graph.library, inside)) if inside else edit.finish()


def _put(edit: Edit, constant: EnclosedConstant, weights: QuantizedWeights) -> None:
    node = edit.nodes[constant.node]
    dtype = nd.attribute(node, "dtype")
    scope = edit.free_name(f"{node.name}/{QUANTIZED}")
    if constant.reads:
        for added in _dequantization(scope, scope, dtype, weights):
            edit.put(added)
        for name, index in constant.reads:
            edit.set_input(name, index, f"{scope}:0")
    else:  # inside a loop, where a constant waits for what begins a round
        controls = nd.control_references(node)
        for added in _dequantization(scope, node.name, dtype, weights, controls):
            edit.put(added)


def _dequantization(
    scope: str,
    name: str,
    dtype: Any,
    weights: QuantizedWeights,
    controls: Iterable[str] = (),
    outputs: tuple[str, str, str] = ("", "", ""),
) -> Iterator[NodeDef]:
    """The nodes that make weights of a type from integers; the last has the name.

    ``outputs`` : what follows a Const's, a Cast's and a Mul's name where they are read; functions name outputs.
    """
    of_constant, of_cast, of_product = outputs
    for part, value in (("codes", weights.values), ("scale", weights.scale_broadcast())):
        constant = nd.constant_node(f"{scope}/{part}", value)
        constant.input.extend(controls)
        yield constant
    cast = nd.make_node("Cast", f"{scope}/float", [], SrcT=dtypes.int8, DstT=dtypes.float32)
    cast.input.append(f"{scope}/codes{of_constant}")
    yield cast
    half = dtype == dtypes.float16
    product = nd.make_node("Mul", f"{scope}/product" if half else name, [], T=dtypes.float32)
    product.input.extend([f"{scope}/float{of_cast}", f"{scope}/scale{of_constant}"])
    yield product
    if half:
        read = f"{scope}/product{of_product}"
        yield nd.make_node("Cast", name, [read], SrcT=dtypes.float32, DstT=dtype)


def _with_constants(
    library: FunctionDefLibrary, inside: Mapping[str, Mapping[str, QuantizedWeights]]
) -> FunctionDefLibrary:
    result = FunctionDefLibrary()
    result.CopyFrom(library)
    for function in result.function:
        if function.signature.name in inside:
            _replace_constants(function, inside[function.signature.name])
    return result


def _replace_constants(function: FunctionDef, constants: Mapping[str, QuantizedWeights]) -> None:
    taken = {node.name: nd.attribute(node, "dtype") for node in function.node_def}
    kept = [node for node in function.node_def if node.name not in constants]
    for node in kept:
        for index, reference in enumerate(node.input):
            name = reference.split(":")[0]
            if name in constants:
                node.input[index] = f"{name}:{'y' if taken[name] == dtypes.float16 else 'z'}:0"
    added: list[NodeDef] = []
    for name, weights in constants.items():
        scope = f"{name}/{QUANTIZED}"
        while any(other.startswith(f"{scope}/") for other in taken):
            scope += "_1"
        added += _dequantization(scope, name, taken[name], weights, (), (":output:0", ":y:0", ":z:0"))
    replaced = FunctionDef()
    replaced.node_def.extend([*added, *kept])  # before what reads them, as TensorFlow writes functions
    del function.node_def[:]
    function.node_def.extend(replaced.node_def)
