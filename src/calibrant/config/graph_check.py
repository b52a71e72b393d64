"""What a configuration says about one graph, checked against that graph."""

from __future__ import annotations

import json
from collections.abc import Iterator

from calibrant.config.check import balancer_problems, weight_problems
from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.model import Configuration, OverrideLayer, TensorQuantize
from calibrant.config.suggest import Suggester
from calibrant.errors import Problem
from calibrant.layer_kinds import TENSOR_QUANTIZABLE


def graph_problems(configuration: Configuration, info: GraphInfo) -> Iterator[Problem]:
    """Every name, input index and override that does not fit the graph."""
    layers = {layer.name: layer for layer in (*info.layers, *info.weight_only)}
    suggest = Suggester()
    for field in ("skip_layers", "skip_approximation_layers"):
        for index, name in enumerate(getattr(configuration, field)):
            if name and name not in info.node_types and name not in layers:
                hint = suggest.closest(name, layers) or suggest.closest(name, info.node_types)
                message = f"the graph has no layer {_short(name)}"
                yield configuration.problem(f"{field}[{index}]", message, allowed="a layer of the graph", hint=hint)
    yield from _fusion_problems(configuration, info, suggest)
    for index, override in enumerate(configuration.override_layer_configs):
        path = f"override_layer_configs[{index}]"
        yield from _override_problems(configuration, info, layers, suggest, path, override)
    for index, tensor in enumerate(configuration.tensor_quantize):
        yield from _tensor_problems(configuration, info, suggest, f"tensor_quantize[{index}]", tensor)


def _fusion_problems(configuration: Configuration, info: GraphInfo, suggest: Suggester) -> Iterator[Problem]:
    for index, name in enumerate(configuration.skip_fusion_layers):
        if not name or name in info.fusible:
            continue
        path, allowed = f"skip_fusion_layers[{index}]", "a layer that can be fused"
        if name in info.node_types:
            message = f"{_short(name)} is {_article(info.node_types[name])}, which is never fused"
            yield configuration.problem(path, message, allowed=allowed)
        else:
            hint = suggest.closest(name, sorted(info.fusible)) or suggest.closest(name, info.node_types)
            yield configuration.problem(path, f"the graph has no layer {_short(name)}", allowed=allowed, hint=hint)


def _override_problems(
    configuration: Configuration,
    info: GraphInfo,
    layers: dict[str, LayerInfo],
    suggest: Suggester,
    path: str,
    override: OverrideLayer,
) -> Iterator[Problem]:
    name, settings = override.layer_name, override.calibration_config
    if not name:
        return
    if name not in layers:
        message, hint = f"the graph has no layer {_short(name)}", None
        reasons = {rejected: reason for rejected, _, reason in info.rejected}
        if name in reasons:
            message = f"{_short(name)} is {_article(info.node_types[name])} that cannot be quantized: {reasons[name]}"
        elif name in info.node_types:
            message = f"{_short(name)} is {_article(info.node_types[name])}, which is not quantized as a layer"
        else:
            hint = suggest.closest(name, layers) or suggest.closest(name, info.node_types)
        yield configuration.problem(f"{path}.layer_name", message, allowed="a quantizable layer", hint=hint)
        return
    if settings is None:
        return
    layer, path = layers[name], f"{path}.calibration_config"
    what = f"{_short(name)}, {_article(layer.type)}"
    if (
        layer.has_weights or configuration.listed is None
    ):  # config.json may have settings for weights that are not there
        yield from weight_problems(configuration, path, settings, layer.type, layer.has_channels, what)
    dilated = " with dilation" if layer.dilated else ""
    yield from balancer_problems(configuration, path, settings, layer.can_be_balanced, what + dilated)
    for block in ("ifmr_quantize", "hfmg_quantize"):
        activation = getattr(settings, block)
        if layer.dynamic and activation and activation.asymmetric:
            message = f"{what}, multiplies two activations, which are quantized symmetrically only"
            yield configuration.problem(f"{path}.{block}.asymmetric", message, allowed="false")
        if activation and activation.is_wide and not layer.has_weights:
            message = f"{what}, has no weights; 16 bits are for what layers with weights read"
            yield configuration.problem(f"{path}.{block}.dst_type", message, allowed="INT8")


def _tensor_problems(
    configuration: Configuration, info: GraphInfo, suggest: Suggester, path: str, tensor: TensorQuantize
) -> Iterator[Problem]:
    name, index = tensor.layer_name, tensor.input_index
    if not name:
        return
    allowed = "a MaxPool, Add or AddV2 node"
    if name not in info.node_types:
        hint = suggest.closest(name, info.float_inputs) or suggest.closest(name, info.node_types)
        message = f"the graph has no node {_short(name)}"
        yield configuration.problem(f"{path}.layer_name", message, allowed=allowed, hint=hint)
        return
    if info.node_types[name] not in TENSOR_QUANTIZABLE:
        message = f"{_short(name)} is {_article(info.node_types[name])}"
        yield configuration.problem(f"{path}.layer_name", message, allowed=allowed)
        return
    if name in info.fused_into:
        message = f"{_short(name)} is gone: it was folded into {_short(info.fused_into[name])}"
        allowed, hint = "a node that is not folded", f"skip_fusion_layers : {json.dumps(name)} keeps it"
        yield configuration.problem(f"{path}.layer_name", message, allowed=allowed, hint=hint)
        return
    inputs = info.float_inputs.get(name, ())
    usable = " or ".join(str(position) for position, is_float in enumerate(inputs) if is_float)
    allowed = usable or "no input of this node carries float32 data, in a graph that computes in float32 only"
    if index is None or index < 0:
        return
    if index >= len(inputs):
        message = f"{_short(name)} has {len(inputs)} input{'' if len(inputs) == 1 else 's'}, counted from 0"
        yield configuration.problem(f"{path}.input_index", message, allowed=allowed)
    elif not inputs[index]:
        message = f"input {index} of {_short(name)} does not carry float data"
        yield configuration.problem(f"{path}.input_index", message, allowed=allowed)


def _short(name: str) -> str:
    return repr(name if len(name) <= 200 else name[:200] + "…")


def _article(type: str) -> str:
    return f"{'an' if type[:1] in 'AEIOU' else 'a'} {type}"
