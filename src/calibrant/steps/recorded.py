"""Step: factors that a record file holds → the quantized network, without any data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.arq import QuantizedWeights
from calibrant.algorithms.recorded_weights import weights_with_scale
from calibrant.algorithms.search_result import SearchResult
from calibrant.errors import ConfigError, ModelError, Problem, did_you_mean
from calibrant.fold import Folded, fold
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layer_kinds import TENSOR_QUANTIZABLE
from calibrant.graph.layers import Layer, find_layers
from calibrant.quantized_network import QuantizedInput, QuantizedLayer, QuantizedNetwork
from calibrant.records.layer_record import LayerRecord
from calibrant.steps.activations import read_tensor
from calibrant.steps.balance import Balanced, balanced_by_factors
from calibrant.steps.bias_correction import with_biases
from calibrant.steps.weights import bias_of


@dataclass(frozen=True, eq=False)
class BesideRecord:
    """What a calibration knows and a record file cannot say.

    Parameters
    ----------
    do_fusion, skip_fusion_layers : how the network was folded, as in a configuration.
    force_float16_scale : the fake-quantized model uses scales rounded to float16.
    bias_corrections : layer → what is added to its bias, float64 [channels]; None: biases are not corrected.
    """

    do_fusion: bool = True
    skip_fusion_layers: Collection[str] = ()
    force_float16_scale: bool = False
    bias_corrections: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class Recorded:
    """A network whose factors come from a record file.

    Parameters
    ----------
    original, folded, balanced, network : the model as it was read, after fusion, after balancing, with its factors.
    in_float : names of the layers that could be quantized, but of which there is no record.
    warnings : sentences for the user.
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
    """The network with the factors of a record file, exactly as they stand there.

    Layers without a record stay in float.

    Parameters
    ----------
    original : the float model.
    records : layer, or ``node:input_index``, → factors.
    source : the record file, for messages.

    Raises
    ------
    ConfigError : a record that belongs to no layer of the model, or that does not fit it; every such record.
    """
    beside = beside or BesideRecord()
    skipped = {name for name, record in records.items() if record.skip_fusion} | set(beside.skip_fusion_layers)
    folded = fold(original, beside.do_fusion, skipped)
    layers = {layer.name: layer for layer in find_layers(folded.graph)[0]}
    recorded = [name for name in layers if name in records]
    problems = list(_misfits(folded.graph, layers, records, source))
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
    graph, found = balanced.graph, balanced.layers
    if beside.bias_corrections is not None:
        graph, found = with_biases(graph, found, recorded)
    weights = _weights(graph, found, records, recorded)
    corrections = beside.bias_corrections or {}
    network = QuantizedNetwork(
        graph=graph,
        layers=tuple(
            QuantizedLayer(
                layer=found[name],
                inputs=tuple(
                    _input(graph, (name, index), records[_key(name, position, index)])
                    for position, index in enumerate(found[name].data_inputs)
                ),
                weights=weights[name][1] if name in weights else None,
                float_weights=weights[name][0] if name in weights else None,
                bias=bias_of(graph, found[name], corrections.get(name)),
                bias_correction=corrections.get(name),
                balance=factors.get(name),
            )
            for name in recorded
        ),
        tensors=tuple(
            _input(graph, place, record)
            for key, record in records.items()
            if key not in layers and (place := nd.split_tensor(key))[0] not in layers
        ),
        force_float16_scale=beside.force_float16_scale,
        output_tensors=folded.graph.outputs,
    )
    in_float = tuple(name for name in layers if name not in records)
    return Recorded(original, folded, balanced, network, in_float, tuple(_warnings(records)))


def _key(name: str, position: int, index: int) -> str:
    """Where the factors of a layer's input stand: the first under its name, a second under ``name:index``."""
    return name if position == 0 else f"{name}:{index}"


def _input(graph: Graph, place: tuple[str, int], record: LayerRecord) -> QuantizedInput:
    quantizer = Quantizer(np.float32(record.scale_d), record.offset_d)
    low, high = quantizer.range
    search = SearchResult(quantizer, low, high, float("nan"), float("nan"), True, True, 0)
    return QuantizedInput(*place, read_tensor(graph, place), search)


def _weights(
    graph: Graph, layers: Mapping[str, Layer], records: Mapping[str, LayerRecord], names: Collection[str]
) -> dict[str, tuple[np.ndarray, QuantizedWeights]]:
    """Layer → float weights and integers; layers that share a constant and its factors share both."""
    shared: dict[tuple[object, ...], tuple[np.ndarray, QuantizedWeights]] = {}
    result = {}
    for name in names:
        layer, record = layers[name], records[name]
        if layer.constant is None:
            continue
        key = (layer.constant, layer.channel_axes, record.scale_w, record.cluster)
        if key not in shared:
            values = np.asarray(graph.constant(read_tensor(graph, (name, layer.weight_input))), np.float32)
            if not np.isfinite(values).all():
                raise ModelError(Problem("weights contain NaN or infinity", file=graph.source, path=name))
            axes = layer.channel_axes if len(record.scale_w) > 1 else ()
            scale = np.array(record.scale_w, np.float32)
            shared[key] = (values, weights_with_scale(values, scale, axes, record.weight_bits, record.cluster))
        result[name] = shared[key]
    return result


def _misfits(
    graph: Graph, layers: Mapping[str, Layer], records: Mapping[str, LayerRecord], source: str
) -> Iterator[Problem]:
    for key, record in records.items():
        if record.scale_d is None:
            message, allowed = "has no scale_d", "scale_d and offset_d in every record"
            yield Problem(message, file=source, path=key, allowed=allowed)
        if key in layers:
            yield from _layer_misfits(layers[key], record, records, source)
        else:
            yield from _tensor_misfits(graph, layers, records, key, source)


def _layer_misfits(
    layer: Layer, record: LayerRecord, records: Mapping[str, LayerRecord], source: str
) -> Iterator[Problem]:
    for position, index in enumerate(layer.data_inputs):
        key = _key(layer.name, position, index)
        if key not in records:
            yield Problem(f"{layer.name!r} has a record, but its second input has none", file=source, path=key)
    found = len(record.scale_w)
    if layer.constant is None and found:
        message, allowed = f"{found} scale_w for a layer without weights", "scale_d and offset_d only"
        yield Problem(message, file=source, path=layer.name, allowed=allowed)
    if layer.constant is not None:
        channels = int(np.prod([layer.weights_shape[axis] for axis in layer.channel_axes], dtype=np.int64))
        if found not in {1, channels}:
            allowed = f"1, or one for each of the {channels} output channels" if channels > 1 else "1"
            message = f"{found} scale_w for weights of shape {list(layer.weights_shape)}"
            yield Problem(message, file=source, path=layer.name, allowed=allowed)


def _tensor_misfits(
    graph: Graph, layers: Mapping[str, Layer], records: Mapping[str, LayerRecord], key: str, source: str
) -> Iterator[Problem]:
    """What is wrong with a record that is not of a layer: it has to be of an input that can be quantized by itself."""
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
