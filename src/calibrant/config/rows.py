"""A plan as the rows of a table, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from calibrant.config.plan import ActivationPlan, JointGroup, Plan


@dataclass(frozen=True)
class PlanRow:
    """One line of a plan: a layer or a tensor. A cell is None where there is nothing of the kind.

    Parameters
    ----------
    layer : str
        Its name; of a tensor, ``NODE:INDEX``, the input of the node that reads it.
    type : str
        The operator, or ``tensor``.
    quantized : bool
        False for a layer in float.
    weight_bits : int | None
        Of its weights.
    weight_algorithm : str | None
        ``arq`` or ``nuq``.
    channel_wise : bool | None
        Whether its weights have a scale for each output channel.
    activation_algorithm : str | None
        ``ifmr`` or ``hfmg``.
    symmetric : bool | None
        Whether its activations have no offset.
    migration_strength : float | None
        Of the balancer.
    sources : tuple[tuple[str, str], ...]
        (block, origin) pairs: from which entry of the configuration each block of settings comes.
    entry : str | None
        The entry that was taken as a whole; ``default`` where there is none.
    left_out : tuple[str, ...]
        What ``common_config`` sets and that entry does not, so that the defaults apply.
    joint_group : str | None
        The group of quantizers that it is in.
    reason : str | None
        Why it is in float.
    """

    layer: str
    type: str
    quantized: bool
    weight_bits: int | None = None
    weight_algorithm: str | None = None
    channel_wise: bool | None = None
    activation_algorithm: str | None = None
    symmetric: bool | None = None
    migration_strength: float | None = None
    sources: tuple[tuple[str, str], ...] = ()
    entry: str | None = None
    left_out: tuple[str, ...] = ()
    joint_group: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The row for machine-readable output."""
        return {**asdict(self), "sources": dict(self.sources)}


def plan_rows(plan: Plan) -> list[PlanRow]:
    """One row per quantized layer, then one per layer with quantized weights alone, quantized tensor, layer in float.

    Among the tensors are those that only joint quantization quantizes: the inputs of its additions.
    """
    joined = {place: group for group in plan.groups for place in group.places}
    of_node = {name: group.name for (name, _), group in joined.items()}
    rows = [
        PlanRow(
            layer.name,
            layer.type,
            True,
            weight_bits=layer.weights.bits if layer.weights else None,
            weight_algorithm=layer.weights.algorithm if layer.weights else None,
            channel_wise=layer.weights.channel_wise if layer.weights else None,
            activation_algorithm=layer.activation.algorithm,
            symmetric=not layer.activation.asymmetric,
            migration_strength=layer.migration_strength,
            sources=layer.sources,
            entry=layer.entry,
            left_out=layer.left_out,
            joint_group=of_node.get(layer.name),
        )
        for layer in plan.layers
    ]
    rows += [
        PlanRow(
            layer.name,
            layer.type,
            True,
            weight_bits=layer.weights.bits,
            weight_algorithm=layer.weights.algorithm,
            channel_wise=layer.weights.channel_wise,
            sources=tuple((block, origin) for block, origin in layer.sources if block == "weights"),
            entry=layer.entry,
        )
        for layer in plan.weight_only
        if layer.weights is not None
    ]
    named = {(tensor.layer_name, tensor.input_index): tensor for tensor in plan.tensors}
    layers = {layer.name for layer in plan.layers}
    rows += [_tensor_row(place, tensor.activation, joined.get(place)) for place, tensor in named.items()]
    rows += [
        _tensor_row(place, group.settings, group)
        for place, group in joined.items()
        if place not in named and place[0] not in layers
    ]
    rows += [PlanRow(name, type, False, reason=reason) for name, type, reason in plan.skipped]
    return rows


def _tensor_row(place: tuple[str, int], activation: ActivationPlan, group: JointGroup | None) -> PlanRow:
    return PlanRow(
        f"{place[0]}:{place[1]}",
        "tensor",
        True,
        activation_algorithm=activation.algorithm,
        symmetric=not activation.asymmetric,
        sources=(("activation", "tensor_quantize" if group is None else f"joint_quant ({group.name})"),),
        joint_group=None if group is None else group.name,
    )
