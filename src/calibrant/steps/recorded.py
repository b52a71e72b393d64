"""Step: the parameters of a record file → the quantized network, without any data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.algorithms.recorded_weights import weights_with_scale
from calibrant.algorithms.search_result import SearchResult
from calibrant.config.graph_info import FEW_BIT_TYPES
from calibrant.errors import ConfigError, ModelError, Problem, did_you_mean
from calibrant.fold import Folded, fold
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer, find_layers
from calibrant.graph.node_input import NodeInput, read_tensor
from calibrant.graph.weight_only import EnclosedConstant, WeightOnlyLayer, weight_only_layers
from calibrant.layer_kinds import TENSOR_QUANTIZABLE
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork, QuantizedWeightOnly
from calibrant.records.layer_record import LayerRecord
from calibrant.steps.balancing.balance import Balanced, balanced_by_factors
from calibrant.steps.weights.bias_correction import with_biases
from calibrant.steps.weights.quantize_weights import bias_of
from calibrant.steps.weights.weight_only import with_weight_only


@dataclass(frozen=True, eq=False)
class BesideRecord:
    """Results of a calibration that a record file cannot hold.

    Parameters
    ----------
    do_fusion : bool
        Whether the network was folded, as in a configuration.
    skip_fusion_layers : Collection[str]
        Layers that were not folded, as in a configuration.
    force_float16_scale : bool
        Whether the fake-quantized model uses scales rounded to float16.
    bias_corrections : Mapping[str, np.ndarray] | None
        Layer → addend of its bias, float64 [channels]; None: biases are not corrected.
    """

    do_fusion: bool = True
    skip_fusion_layers: Collection[str] = ()
    force_float16_scale: bool = False
    bias_corrections: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class Recorded:
    """A network whose parameters come from a record file.

    Parameters
    ----------
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
    balanced : Balanced
        The model after balancing.
    network : QuantizedNetwork
        The model with its parameters.
    in_float : tuple[str, ...]
        Names of the layers that could be quantized but have no record.
    warnings : tuple[str, ...]
        Sentences for the user.
    """

    original: Graph
    folded: Folded
    balanced: Balanced
    network: QuantizedNetwork
    in_float: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def recorded_network(
    original: Graph, records: Mapping[str, LayerRecord], source: str, beside: BesideRecord | None = None
) -> Recorded:
    """The network with exactly the parameters of a record file.

    Layers without a record stay in float.

    Parameters
    ----------
    original : Graph
        The float model.
    records : Mapping[str, LayerRecord]
        Layer, or ``node:input_index``, → its record.
    source : str
        The record file, for messages.
    beside : BesideRecord | None
        The rest of the calibration's results; None: the defaults.

    Raises
    ------
    ConfigError
        Records belong to no layer of the model, or do not fit their layer; lists all of them.
    """
    beside = beside or BesideRecord()
    skipped = {name for name, record in records.items() if record.skip_fusion} | set(beside.skip_fusion_layers)
    folded = fold(original, beside.do_fusion, skipped)
    layers = {layer.name: layer for layer in find_layers(folded.graph)[0]}
    recorded = [name for name in layers if name in records]
    enclosed = {layer.name: layer for layer in weight_only_layers(folded.graph)}
    problems = list(_misfits(folded.graph, layers, enclosed, records, source))
    if problems:
        raise ConfigError(*problems)
    factors = {
        name: np.array(records[name].tensor_balance_factor, np.float32)
        for name in recorded
        if records[name].tensor_balance_factor
    }
    balanced = Balanced(folded.graph, layers)
    if factors:
        balanced = balanced_by_factors(folded.graph, layers, factors)
    graph, final = balanced.graph, balanced.layers
    if beside.bias_corrections is not None:
        graph, final = with_biases(graph, final, recorded)
    weight_only = tuple(
        QuantizedWeightOnly(layer, _with_recorded_scale(graph, name, layer.values, layer.channel_axes, records[name]))
        for name, layer in enclosed.items()
        if name in records
    )
    graph = with_weight_only(graph, weight_only)
    weights = _weights(graph, final, records, recorded)
    corrections = beside.bias_corrections or {}
    network = QuantizedNetwork(
        graph=graph,
        layers=tuple(
            QuantizedLayer(
                layer=final[name],
                inputs=tuple(
                    _input(graph, (name, index), records[_key(name, position, index)])
                    for position, index in enumerate(final[name].data_inputs)
                ),
                weights=weights[name][1] if name in weights else None,
                float_weights=weights[name][0] if name in weights else None,
                bias=bias_of(graph, final[name], corrections.get(name)),
                bias_correction=corrections.get(name),
                balance=factors.get(name),
            )
            for name in recorded
        ),
        tensors=tuple(
            _input(graph, place, record)
            for key, record in records.items()
            if key not in layers and key not in enclosed and (place := nd.split_tensor(key))[0] not in layers
        ),
        force_float16_scale=beside.force_float16_scale,
        weight_only=weight_only,
        output_tensors=folded.graph.outputs,
    )
    in_float = tuple(name for name in layers if name not in records)
    return Recorded(original, folded, balanced, network, in_float, tuple(_warnings(records)))


def _key(name: str, position: int, index: int) -> str:
    """Key of the record of a layer's input: the first has the layer's name, the second ``name:index``."""
    return name if position == 0 else f"{name}:{index}"


def _input(graph: Graph, place: NodeInput, record: LayerRecord) -> QuantizedInput:
    quantizer = Quantizer(np.float32(record.scale_d), record.offset_d, record.activation_bits)
    return known_input(place, read_tensor(graph, place), quantizer)


def known_input(place: NodeInput, tensor: str, quantizer: Quantizer) -> QuantizedInput:
    """A quantized input whose quantizer is not the result of a search."""
    low, high = quantizer.range
    search = SearchResult(quantizer, low, high, float("nan"), float("nan"), True, True, 0)
    return QuantizedInput(*place, tensor, search)


def _weights(
    graph: Graph, layers: Mapping[str, Layer], records: Mapping[str, LayerRecord], names: Collection[str]
) -> dict[str, tuple[np.ndarray, QuantizedWeights]]:
    """Layer → float and quantized weights; layers that share a constant and its scales share both."""
    shared: dict[tuple[object, ...], tuple[np.ndarray, QuantizedWeights]] = {}
    result = {}
    for name in names:
        layer, record = layers[name], records[name]
        if layer.constant is None:
            continue
        key = (layer.constant, layer.channel_axes, record.scale_w, record.cluster)
        if key not in shared:
            values = np.asarray(graph.require_constant(read_tensor(graph, layer.weights_place)), np.float32)
            shared[key] = (values, _with_recorded_scale(graph, name, values, layer.channel_axes, record))
        result[name] = shared[key]
    return result


def _with_recorded_scale(
    graph: Graph, name: str, values: np.ndarray, channel_axes: tuple[int, ...], record: LayerRecord
) -> QuantizedWeights:
    if not np.isfinite(values).all():
        raise ModelError(Problem("weights contain NaN or infinity", file=graph.source, path=name))
    axes = channel_axes if len(record.scale_w) > 1 else ()
    scale = np.array(record.scale_w, np.float32)
    return weights_with_scale(values, scale, axes, record.weight_bits, record.cluster)


def _misfits(
    graph: Graph,
    layers: Mapping[str, Layer],
    enclosed: Mapping[str, WeightOnlyLayer],
    records: Mapping[str, LayerRecord],
    source: str,
) -> Iterator[Problem]:
    first: dict[EnclosedConstant, str] = {}
    for key, record in records.items():
        if key in enclosed:
            other = first.setdefault(enclosed[key].constant, key)
            yield from _weight_only_misfits(enclosed[key], record, other, records[other], source)
            continue
        if record.scale_d is None:
            message, allowed = "has no scale_d", "scale_d and offset_d in every record"
            yield Problem(message, file=source, path=key, allowed=allowed)
        if key in layers:
            yield from _layer_misfits(layers[key], record, records, source)
        else:
            yield from _tensor_misfits(graph, layers, records, key, source)


def _weight_only_misfits(
    layer: WeightOnlyLayer, record: LayerRecord, other: str, others: LayerRecord, source: str
) -> Iterator[Problem]:
    if record.scale_d is not None:
        message = "has a scale_d, but it is inside a loop or a branch, where activations stay in float"
        yield Problem(message, file=source, path=layer.name, allowed="scale_w only")
    yield from _weight_misfits(layer, layer.values.shape, record, source)
    if (record.scale_w, record.cluster) != (others.scale_w, others.cluster):
        message = f"shares its weights with {other!r}, but the two have different scale_w or cluster"
        yield Problem(message, file=source, path=layer.name, allowed="the same scale_w and cluster for both")


def _weight_misfits(
    layer: Layer | WeightOnlyLayer, shape: tuple[int, ...], record: LayerRecord, source: str
) -> Iterator[Problem]:
    scales = len(record.scale_w)
    channels = int(np.prod([shape[axis] for axis in layer.channel_axes], dtype=np.int64))
    if scales not in {1, channels}:
        allowed = f"1, or one for each of the {channels} output channels" if channels > 1 else "1"
        message = f"{scales} scale_w for weights of shape {list(shape)}"
        yield Problem(message, file=source, path=layer.name, allowed=allowed)
    if record.weight_bits < 8 and layer.type not in FEW_BIT_TYPES:
        few = f"{record.weight_bits} bits are for {' and '.join(FEW_BIT_TYPES)} only, and this is a {layer.type}"
        yield Problem(f"wts_type is {record.wts_type}: {few}", file=source, path=layer.name, allowed="INT8")


def _layer_misfits(
    layer: Layer, record: LayerRecord, records: Mapping[str, LayerRecord], source: str
) -> Iterator[Problem]:
    for position, index in enumerate(layer.data_inputs):
        key = _key(layer.name, position, index)
        if key not in records:
            yield Problem(f"{layer.name!r} has a record, but its second input has none", file=source, path=key)
    scales = len(record.scale_w)
    if layer.constant is None and scales:
        message, allowed = f"{scales} scale_w for a layer without weights", "scale_d and offset_d only"
        yield Problem(message, file=source, path=layer.name, allowed=allowed)
    if layer.constant is not None:
        yield from _weight_misfits(layer, layer.weights_shape, record, source)


def _tensor_misfits(
    graph: Graph, layers: Mapping[str, Layer], records: Mapping[str, LayerRecord], key: str, source: str
) -> Iterator[Problem]:
    """Problems of a record that is not of a layer: it has to be of an input that can be quantized by itself."""
    name, index = nd.split_tensor(key)
    named = key.endswith(f":{index}")
    if named and name in layers and index in layers[name].data_inputs[1:]:
        if name not in records:
            yield Problem(f"the second input of {name!r} has a record, but the first has none", file=source, path=key)
        return
    node = graph.nodes.get(name) if named else None
    if node is not None and node.op in TENSOR_QUANTIZABLE:
        inputs = nd.data_inputs(node)
        if index >= len(inputs) or graph.constant(inputs[index]) is not None:
            allowed = f"an input below {len(inputs)} that is no constant"
            yield Problem(f"{node.op} has no such input to quantize", file=source, path=key, allowed=allowed)
        return
    kind = graph.nodes[key].op if key in graph.nodes else None
    yield Problem(
        f"is a {kind} that cannot be quantized" if kind else f"there is no layer {key!r} in the model",
        file=source,
        path=key,
        allowed="layers that can be quantized, and node:input_index of MaxPool and Add nodes",
        hint=did_you_mean(key, layers) or "is the record file of another model?",
    )


def _warnings(records: Mapping[str, LayerRecord]) -> Iterator[str]:
    shifted = [name for name, record in records.items() if any(record.shift_bit)]
    if shifted:
        names = ", ".join(shifted[:5])
        yield f"shift_bit of {len(shifted)} layers is left out: accumulators keep their 32 bits ({names})"
