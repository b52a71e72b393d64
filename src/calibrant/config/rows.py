"""A plan as the rows of a table, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from calibrant.config.plan import ActivationPlan, JointGroup, Plan


@dataclass(frozen=True)
class PlanRow:
    """One line of the table; a cell is None where the layer has nothing of the kind.

    ``sources``, ``entry`` and ``left_out`` are those of ``LayerPlan``; ``joint_group`` names the group of quantizers
    that it is in.
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
