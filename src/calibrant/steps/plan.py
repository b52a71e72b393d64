"""Step: a configuration and the info about a graph → the plan, with the layers that a NUQ mapping file names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from calibrant.config import plan_problems, resolve
from calibrant.config.check import rule_problems
from calibrant.config.graph_info import GraphInfo, LayerInfo
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.config.problems import ProblemList
from calibrant.errors import ConfigError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.layers import find_layers
from calibrant.layer_kinds import KINDS
from calibrant.records.mapping_file import MappedOp, Mapping, nuq_layer_names, read_mapping
from calibrant.steps.ranges.joint import with_joint_settings

_MOST_NAMES = 20


def make_plan(configuration: Configuration, info: GraphInfo, graph: Graph, problems: ProblemList | None = None) -> Plan:
    """Resolve a configuration against a graph, including the settings of joint quantization.

    Parameters and errors are those of `layer_plan`, and ``graph`` is the folded graph. A layer that gets an operation
    before it for balancing may turn out to be in no group.
    """
    plan = layer_plan(configuration, info, problems)
    layers = {layer.name: layer for layer in find_layers(graph)[0]}
    return with_joint_settings(plan, graph, layers, configuration.skip_layers)


def layer_plan(configuration: Configuration, info: GraphInfo, problems: ProblemList | None = None) -> Plan:
    """The settings of each layer by itself; reads the NUQ mapping file if the configuration names one.

    Parameters
    ----------
    configuration : Configuration
        The configuration.
    info : GraphInfo
        Info about the folded graph.
    problems : ProblemList | None
        Known problems of the configuration by itself; None: they are still to be checked.

    Raises
    ------
    ConfigError
        The configuration or the mapping file has problems; lists all of them.
    """
    if problems is None:
        problems = ProblemList()
        problems.extend(rule_problems(configuration))
    selection = _Selection.of(configuration, info)
    problems.extend(plan_problems(configuration, info, selection.layers))
    problems.extend(selection.problems)
    problems.raise_if_any()
    plan = resolve(configuration, info, selection.layers)
    return replace(plan, warnings=(*plan.warnings, *selection.warnings))


@dataclass(frozen=True)
class _Selection:
    """The layers that a mapping file chooses; None without one that can be used."""

    layers: frozenset[str] | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, configuration: Configuration, info: GraphInfo) -> _Selection:
        """What the mapping file of a configuration chooses."""
        path, nuq = configuration.mapping_path, configuration.nuq_config
        is_missing = nuq is None or nuq.mapping_path is None
        if not path or (configuration.source is not None and is_missing):  # reported as missing
            return cls()
        try:
            mapping = read_mapping(path)
        except ConfigError as error:
            return cls(problems=error.problems)
        usable = frozenset(layer.name for layer in info.layers if _is_eligible(layer))
        chosen = usable.intersection(nuq_layer_names(mapping))
        if chosen:
            return cls(chosen, warnings=tuple(_unused_ops(mapping, info, usable)))
        marked = sum(op.weight_compress for op in mapping.ops)
        problem = Problem(
            f"names no layer of the model; {marked} of its {len(mapping.ops)} ops have compressed weights",
            file=path,
            allowed="ops that stand for the model's undilated Conv2D, MatMul or Conv2DBackpropInput layers",
            hint="check that the mapping file was made from this very model",
        )
        return cls(problems=(problem,))


def _is_eligible(layer: LayerInfo) -> bool:
    return KINDS[layer.type].nonuniform and layer.has_weights and not layer.dilated


def _unused_ops(mapping: Mapping, info: GraphInfo, usable: frozenset[str]) -> Iterator[str]:
    """A sentence that lists the marked ops that are not in the model, and one for those that cannot be non-uniform."""
    unused = [op for op in mapping.ops if op.weight_compress and usable.isdisjoint(_names(op))]
    layers = {layer.name: layer for layer in info.layers}
    rejected = {name: (type, reason) for name, type, reason in info.rejected}
    unknown, others = [], []
    for op in unused:
        known = next((name for name in _names(op) if name in layers or name in rejected), None)
        if known is None:
            unknown.append(f"{op.name!r} ({', '.join(_names(op)[:3])})")
        elif known in layers:
            layer = layers[known]
            others.append(f"{known!r} ({layer.type}{' with dilation' if layer.dilated else ''})")
        else:
            others.append(f"{known!r} ({rejected[known][0]}: {rejected[known][1]})")
    if unknown:
        what = "1 op" if len(unknown) == 1 else f"{len(unknown)} ops"
        verb = "names" if len(unknown) == 1 else "name"
        yield (
            f"nuq_config: {what} of the mapping file with compressed weights {verb} no layer of the model: "
            f"{_shortened(unknown)}"
        )
    if others:
        types = ", ".join(name for name, kind in KINDS.items() if kind.nonuniform)
        yield (
            f"nuq_config: the mapping file marks layers that cannot be non-uniform: {_shortened(others)}; "
            f"only {types} with constant weights and without dilation can"
        )


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _names(op: MappedOp) -> tuple[str, ...]:
    return op.original_names or (op.name,)
