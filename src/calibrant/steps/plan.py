"""Step: a configuration and a graph's facts → the plan, with the layers that a NUQ mapping file names."""

from __future__ import annotations

from dataclasses import replace

from calibrant.config import resolve
from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.errors import ConfigError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.records.mapping_file import MappedOp, Mapping, nuq_layer_names, read_mapping

NUQ_TYPES = frozenset({"Conv2D", "MatMul", "Conv2DBackpropInput"})
_MOST_NAMES = 20


def make_plan(configuration: Configuration, info: GraphInfo, graph: Graph) -> Plan:
    """Resolve a configuration against a graph, reading the NUQ mapping file if it names one.

    Parameters
    ----------
    graph : the folded graph that the facts are about.

    Raises
    ------
    ConfigError : with every problem of the configuration, or of the mapping file.
    """
    if configuration.nuq_config is None or configuration.mapping_path is None:
        return resolve(configuration, info)
    path = configuration.mapping_path
    mapping = read_mapping(path)
    usable = frozenset(layer.name for layer in info.layers if _can_be_nonuniform(graph, layer))
    chosen = usable.intersection(nuq_layer_names(mapping))
    if not chosen:
        marked = sum(op.weight_compress for op in mapping.ops)
        raise ConfigError(
            Problem(
                f"names no layer of the model; {marked} of its {len(mapping.ops)} ops have compressed weights",
                file=path,
                allowed="ops that stand for the model's undilated Conv2D, MatMul or Conv2DBackpropInput layers",
                hint="check that the mapping file was made from this very model",
            )
        )
    plan = resolve(configuration, info, chosen)
    return replace(plan, warnings=(*plan.warnings, *_unknown_ops(mapping, usable)))


def _can_be_nonuniform(graph: Graph, layer: LayerInfo) -> bool:
    dilations = nd.attribute(graph.nodes[layer.name], "dilations") or [1]
    return layer.type in NUQ_TYPES and layer.has_weights and all(size == 1 for size in dilations)


def _unknown_ops(mapping: Mapping, usable: frozenset[str]) -> tuple[str, ...]:
    """One sentence that lists the marked ops behind which there is no layer of the model; none where all are known."""
    unknown = [op for op in mapping.ops if op.weight_compress and usable.isdisjoint(_names(op))]
    if not unknown:
        return ()
    shown = ", ".join(f"{op.name!r} ({', '.join(_names(op)[:3])})" for op in unknown[:_MOST_NAMES])
    more = f" and {len(unknown) - _MOST_NAMES} more" if len(unknown) > _MOST_NAMES else ""
    what = "1 op" if len(unknown) == 1 else f"{len(unknown)} ops"
    return (
        f"nuq_config: {what} of the mapping file with compressed weights name no layer of the model: {shown}{more}",
    )


def _names(op: MappedOp) -> tuple[str, ...]:
    return op.original_names or (op.name,)
