"""Settings that are legal and have no effect: each is reported, nothing is silently ignored."""

from __future__ import annotations

from collections.abc import Iterator

from calibrant.config.entry_warnings import entry_warnings
from calibrant.config.graph_info import GraphInfo
from calibrant.config.model import Configuration

_MOST_NAMES = 5


def plan_warnings(
    configuration: Configuration, info: GraphInfo, skipped: frozenset[str], nuq_layers: frozenset[str] | None
) -> tuple[str, ...]:
    """One sentence per setting that changes nothing for this graph.

    Parameters
    ----------
    skipped : frozenset[str]
        Quantizable layers that the configuration leaves in float.
    nuq_layers : frozenset[str] | None
        Layers selected by the mapping file; None where it was not read.
    """
    if configuration.listed is not None:  # a config.json says everything about every layer
        return ()
    return (
        *_lists(configuration, info),
        *entry_warnings(configuration, info, skipped),
        *_tensors(configuration),
        *_nuq(configuration, info, skipped, nuq_layers),
    )


def _lists(configuration: Configuration, info: GraphInfo) -> Iterator[str]:
    if configuration.skip_approximation_layers:
        yield "skip_approximation_layers has no effect: there is no calibrated approximation in this version"
    layers = {layer.name for layer in info.layers} | {name for name, _, _ in info.rejected}
    tensors = {tensor.layer_name for tensor in configuration.tensor_quantize}
    idle = [name for name in configuration.skip_layers if name not in layers and name not in tensors]
    if idle:
        yield f"skip_layers: {_names(idle)} would not be quantized anyway"
    if configuration.skip_fusion_layers and configuration.do_fusion is False:
        yield "skip_fusion_layers has no effect: do_fusion is false"


def _tensors(configuration: Configuration) -> Iterator[str]:
    seen: dict[tuple[str | None, int | None], int] = {}
    for index, tensor in enumerate(configuration.tensor_quantize):
        key = (tensor.layer_name, tensor.input_index)
        if tensor.layer_name in configuration.skip_layers:
            yield f"tensor_quantize[{index}] has no effect: {tensor.layer_name!r} is listed in skip_layers"
        elif key in seen and configuration.tensor_quantize[seen[key]] != tensor:
            earlier = f"tensor_quantize[{seen[key]}]"
            yield f"{earlier} has no effect: tensor_quantize[{index}] sets the same input of {tensor.layer_name!r}"
        seen[key] = index


def _nuq(
    configuration: Configuration, info: GraphInfo, skipped: frozenset[str], nuq_layers: frozenset[str] | None
) -> Iterator[str]:
    if configuration.nuq_config is not None and nuq_layers is None:
        yield "nuq_config has no effect: its mapping file has not been read"
    usable = {layer.name for layer in info.layers if layer.has_weights and layer.name not in skipped}
    idle = sorted((nuq_layers or frozenset()) - usable)
    if idle:
        yield f"nuq_config: {_names(idle)} is not quantized, so its weights stay as they are"


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMES])
    return shown + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")
