"""What a search may choose: settings of layers, and layers in float; and the configuration that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from calibrant.config import CHANNEL_TYPES
from calibrant.config.layer_block import with_overrides
from calibrant.config.model import Configuration
from calibrant.config.plan import ActivationPlan, LayerPlan, Plan
from calibrant.steps.balancing.channels import STRENGTH

_IFMR = ActivationPlan(
    search_range_start=0.7, search_range_end=1.3, search_step=0.01, max_percentile=0.999999, min_percentile=0.999999
)
_BINS = 4096


@dataclass(frozen=True)
class Candidate:
    """One candidate.

    Parameters
    ----------
    settings : tuple[LayerPlan, ...]
        Of every layer that the given configuration quantizes, in graph order.
    in_float : tuple[str, ...]
        Names of those that are left in float nevertheless, in graph order.
    """

    settings: tuple[LayerPlan, ...]
    in_float: tuple[str, ...] = ()

    def with_float(self, names: set[str]) -> Candidate:
        """The same settings, with exactly these layers in float."""
        return replace(self, in_float=tuple(entry.name for entry in self.settings if entry.name in names))

    def repaired(self, repair: Mutation, names: set[str] | None = None) -> Candidate:
        """With a repair on the named layers, or on all, wherever it changes something."""
        return replace(
            self,
            settings=tuple(
                (repair.change(entry) or entry) if names is None or entry.name in names else entry
                for entry in self.settings
            ),
        )


@dataclass(frozen=True)
class Mutation:
    """A cheap change of one layer's settings.

    Parameters
    ----------
    name : str
        What :func:`calibrant.tune` calls it.
    change : Callable[[LayerPlan], LayerPlan | None]
        The settings of a layer → the changed ones; None where it changes nothing.
    """

    name: str
    change: Callable[[LayerPlan], LayerPlan | None]


def _percentile(share: float) -> Callable[[LayerPlan], LayerPlan | None]:
    def change(entry: LayerPlan) -> LayerPlan | None:
        kept = entry.activation if entry.activation.algorithm == "ifmr" else _like(_IFMR, entry.activation)
        return _with_activation(entry, replace(kept, max_percentile=share, min_percentile=share))

    return change


def _hfmg(entry: LayerPlan) -> LayerPlan | None:
    return _with_activation(entry, _like(ActivationPlan("hfmg", num_of_bins=_BINS), entry.activation))


def _like(wanted: ActivationPlan, given: ActivationPlan) -> ActivationPlan:
    return replace(wanted, asymmetric=given.asymmetric, bits=given.bits)


def _with_activation(entry: LayerPlan, activation: ActivationPlan) -> LayerPlan | None:
    return None if activation == entry.activation else replace(entry, activation=activation)


def _other_symmetry(entry: LayerPlan) -> LayerPlan | None:
    if entry.type.startswith("BatchMatMul") and entry.weights is None:
        return None
    return _with_activation(entry, replace(entry.activation, asymmetric=not entry.activation.asymmetric))


def _per_channel(entry: LayerPlan) -> LayerPlan | None:
    weights = entry.weights
    if entry.type not in CHANNEL_TYPES or weights is None or weights.algorithm != "arq" or weights.channel_wise:
        return None
    return replace(entry, weights=replace(weights, channel_wise=True))


def _balanced(entry: LayerPlan) -> LayerPlan | None:
    if not entry.can_be_balanced or entry.migration_strength is not None:
        return None
    return replace(entry, migration_strength=STRENGTH)


def _unbalanced(entry: LayerPlan) -> LayerPlan | None:
    return None if entry.migration_strength is None else replace(entry, migration_strength=None)


MUTATIONS = (
    Mutation("per channel", _per_channel),
    Mutation(f"DMQ {STRENGTH}", _balanced),
    Mutation("DMQ off", _unbalanced),
    Mutation("HFMG", _hfmg),
    Mutation("percentile 1", _percentile(1.0)),
    Mutation("percentile 0.9999", _percentile(0.9999)),
    Mutation("percentile 0.999", _percentile(0.999)),
    Mutation("percentile 0.998", _percentile(0.998)),
    Mutation("percentile 0.995", _percentile(0.995)),
    Mutation("other symmetry", _other_symmetry),
)


def configuration_for(given: Configuration, plan: Plan, choice: Candidate) -> Configuration:
    """The given configuration with a choice written into it: overrides for what changed, skip_layers for the rest.

    Parameters
    ----------
    plan : Plan
        What the given configuration resolves to.
    """
    before = {entry.name: entry for entry in plan.layers}
    chosen = [entry for entry in choice.settings if entry.name not in choice.in_float]
    return with_overrides(given, plan, [entry for entry in chosen if entry != before[entry.name]], choice.in_float)
