"""Steps: load, fold, plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibrant.config import load_config
from calibrant.config.graph_info import GraphInfo
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.errors import ModelError, Problem, UnknownNameError
from calibrant.file_endings import QUANTIZED_GRAPHS
from calibrant.fold import Folded, fold
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.reading.load import load
from calibrant.options import ModelOptions
from calibrant.progress import LOG, Stopwatch
from calibrant.steps.graph_info import graph_info
from calibrant.steps.plan import layer_plan
from calibrant.steps.ranges.joint import with_joint_settings


def load_model(model: Any, options: ModelOptions) -> Graph:
    """The graph of a model; raises as :func:`calibrant.graph.reading.load.load` does."""
    return load(model, options.inputs, options.outputs, options.signature, options.constants, options.trust_model)


def load_models(models: Sequence[Any], options: ModelOptions) -> list[Graph]:
    """The graphs of several models, as :func:`load_model`.

    The signature and what is to be set are those of the models that have them: a quantized model has neither the other
    signatures of its original nor the placeholders that were set before. Nor need a file that was made of a model that
    was cut have the tensors there: it is taken with its own inputs and outputs, where there are as many.

    Raises
    ------
    ModelError
        As of :func:`load_model`, or none of them has such a signature or placeholder.
    """
    graphs: list[Graph] = []
    refused: dict[str, UnknownNameError] = {}
    taken: set[str | None] = set()
    for model in models:
        own = options if isinstance(model, (str, Path)) else replace(options, signature=None)
        graph, own = _read_beside(graphs, model, own, refused)
        graphs.append(graph)
        taken |= {own.signature, *(own.constants or ())}
    if options.signature is not None and not {options.signature} & (taken | refused.keys()):
        allowed = "a SavedModel among the models"
        raise ModelError(Problem("only a SavedModel has signatures", allowed=allowed, hint="leave out --signature"))
    for name, error in refused.items():
        if name not in taken:
            raise error
    return graphs


def _read_beside(
    before: Sequence[Graph], model: Any, options: ModelOptions, refused: dict[str, UnknownNameError]
) -> tuple[Graph, ModelOptions]:
    """As :func:`_read`; a file made here that lacks the inputs or outputs with those that it has itself."""
    try:
        return _read(model, options, refused)
    except ModelError as error:
        is_cut = options.inputs is not None or options.outputs is not None
        if not before or not is_cut or not str(model).endswith(QUANTIZED_GRAPHS):
            raise
        try:
            graph, own = _read(model, replace(options, inputs=None, outputs=None), refused)
        except ModelError:
            raise error from None
        if (len(graph.inputs), len(graph.outputs)) != (len(before[0].inputs), len(before[0].outputs)):
            raise
        LOG.info("%s has its own names where the model was cut; outputs: %s", model, ", ".join(graph.output_keys))
        return graph, own


def _read(model: Any, options: ModelOptions, refused: dict[str, UnknownNameError]) -> tuple[Graph, ModelOptions]:
    """A graph, and the options without the names that it does not have; notes these."""
    try:
        return load_model(model, options), options
    except UnknownNameError as error:
        rest = _without(options, error.names)
        try:
            found = _read(model, rest, refused)
        except ModelError:
            if options.signature in error.names:  # it has others, of which none is the default
                raise error from None
            raise
        refused.update({name: error for name in error.names if name not in refused})
        return found


def _without(options: ModelOptions, names: Collection[str]) -> ModelOptions:
    constants = {name: value for name, value in (options.constants or {}).items() if name not in names}
    signature = None if options.signature in names else options.signature
    return replace(options, signature=signature, constants=constants or None)


@dataclass(frozen=True, eq=False)
class FoldedModel:
    """A folded model.

    Parameters
    ----------
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
    info : GraphInfo
        What a configuration may say about it.
    layers : Mapping[str, Layer]
        Layers of the folded graph, by name.
    """

    original: Graph
    folded: Folded
    info: GraphInfo
    layers: Mapping[str, Layer]


def folded_model(original: Graph, configuration: Configuration) -> FoldedModel:
    """Fold a model as the configuration asks for."""
    folded = fold(original, configuration.do_fusion is not False, configuration.skip_fusion_layers)
    info, layers = graph_info(original, folded.graph, folded.fusions)
    kinds = Counter(fusion.kind for fusion in folded.fusions)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    LOG.debug("fusions: %s; norms left: %d", found or "none", len(folded.left))
    return FoldedModel(original, folded, info, layers)


@dataclass(frozen=True, eq=False)
class Planned:
    """A folded network, and what is to be done to it.

    Parameters
    ----------
    original : Graph
        The model as it was read.
    folded : Folded
        The model after fusion.
    layers : Mapping[str, Layer]
        Layers of the folded graph, by name.
    plan : Plan
        The settings of each layer by itself.
    configuration : Configuration
        What the plan was made from.
    """

    original: Graph
    folded: Folded
    layers: Mapping[str, Layer]
    plan: Plan
    configuration: Configuration

    @property
    def joint_plan(self) -> Plan:
        """The plan with what joint quantization makes of the settings, as far as the graph before balancing tells."""
        return with_joint_settings(self.plan, self.folded.graph, self.layers, self.configuration.skip_layers)


def plan_model(model: Any, config: Any, options: ModelOptions, watch: Stopwatch) -> Planned:
    """Load, fold and plan.

    Raises
    ------
    CalibrantError
        With every problem of the model or the configuration.
    """
    configuration = load_config(config)
    with watch.step("load"):
        original = load_model(model, options)
    ends = (", ".join(tensors) for tensors in (original.inputs, original.outputs))
    LOG.debug("model %s: %d nodes, inputs %s, outputs %s", original.source, len(original.nodes), *ends)
    return plan_graph(original, configuration, watch)


def plan_graph(original: Graph, configuration: Configuration, watch: Stopwatch) -> Planned:
    """As :func:`plan_model`, of a model that has been read."""
    with watch.step("fold"):
        read = folded_model(original, configuration)
    plan = layer_plan(configuration, read.info)
    LOG.debug("%d layers to be quantized, %d stay in float", len(plan.layers), len(plan.disabled) + len(plan.skipped))
    return Planned(original, read.folded, read.layers, plan, configuration)
