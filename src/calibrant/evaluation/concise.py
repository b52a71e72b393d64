"""The same settings in fewer blocks: one ``common_config`` where most layers agree, instead of one override each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from calibrant.config.layer_block import layer_block
from calibrant.config.model import Configuration
from calibrant.config.plan import Plan
from calibrant.errors import ConfigError

TRIED = 4  # blocks that most layers have


def concise(configuration: Configuration, plan_of: Callable[[Configuration], Plan]) -> Configuration:
    """A configuration with the fewest overrides of layers that resolves to the same settings.

    Parameters
    ----------
    configuration : Configuration
        With one override for each layer whose settings were chosen.
    plan_of : Callable[[Configuration], Plan]
        Resolves a configuration for the model.
    """
    if len(configuration.override_layer_configs) < 2:
        return configuration
    wanted = plan_of(configuration)
    blocks = Counter(layer_block(entry).calibration_config for entry in wanted.layers if entry.weights is not None)
    shortest = configuration
    for block, _ in blocks.most_common(TRIED):
        for types in dict.fromkeys((configuration.override_layer_types, ())):
            bare = replace(configuration, common_config=block, override_layer_types=types, override_layer_configs=())
            found = _with_overrides(bare, wanted, plan_of)
            if found is not None and _size(found) < _size(shortest):
                shortest = found
    return shortest


def _size(configuration: Configuration) -> int:
    return len(configuration.override_layer_configs) + len(configuration.override_layer_types)


def _with_overrides(
    bare: Configuration, wanted: Plan, plan_of: Callable[[Configuration], Plan]
) -> Configuration | None:
    """The configuration with overrides for the layers that would be different; None where that does not do it."""
    try:
        have = {entry.name: entry for entry in plan_of(bare).layers}
        different = [layer_block(entry) for entry in wanted.layers if entry != have.get(entry.name)]
        complete = replace(bare, override_layer_configs=tuple(different))
        plan = plan_of(complete)
    except ConfigError:
        return None
    same = (plan.layers, plan.tensors, plan.groups) == (wanted.layers, wanted.tensors, wanted.groups)
    return complete if same else None
