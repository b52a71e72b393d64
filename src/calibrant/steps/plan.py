"""Step: a configuration and a graph's facts → the plan, with the layers that a NUQ mapping file names."""

from __future__ import annotations

from calibrant.config import resolve
from calibrant.config.facts import GraphFacts
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.errors import ConfigError, Problem
from calibrant.records.mapping_file import nuq_layer_names, read_mapping

NUQ_TYPES = frozenset({"Conv2D", "MatMul", "Conv2DBackpropInput"})


def make_plan(configuration: Configuration, facts: GraphFacts) -> Plan:
    """Resolve a configuration against a graph, reading the NUQ mapping file if it names one.

    Raises
    ------
    ConfigError : with every problem of the configuration, or of the mapping file.
    """
    if configuration.nuq_config is None or configuration.nuq_config.mapping_path is None:
        return resolve(configuration, facts)
    path = configuration.nuq_config.mapping_path
    named = nuq_layer_names(read_mapping(path))
    known = {layer.name for layer in facts.layers if layer.type in NUQ_TYPES}
    chosen = frozenset(named) & known
    if not chosen:
        raise ConfigError(
            Problem(
                f"names no layer of the model; it marks {len(named)} layers for weight compression",
                file=path,
                allowed="names of the model's Conv2D, MatMul or Conv2DBackpropInput layers",
            )
        )
    return resolve(configuration, facts, chosen)
