"""A plan as the rows of a table, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from calibrant.config.plan import ActivationPlan, Plan


@dataclass(frozen=True)
class PlanRow:
    """One line of the table; a cell is None where the layer has nothing of the kind.

    ``sources`` holds (block, origin) pairs, as ``LayerPlan`` does.
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
    reason: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The row for machine-readable output."""
        return {**asdict(self), "sources": dict(self.sources)}


def plan_rows(plan: Plan) -> list[PlanRow]:
    """One row per quantized layer in graph order, then one per quantized tensor, then one per layer left in float."""
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
        )
        for layer in plan.layers
    ]
    rows += [_tensor_row(f"{tensor.layer_name}:{tensor.input_index}", tensor.activation) for tensor in plan.tensors]
    rows += [PlanRow(name, type, False, reason=reason) for name, type, reason in plan.skipped]
    return rows


def _tensor_row(name: str, activation: ActivationPlan) -> PlanRow:
    return PlanRow(
        name,
        "tensor",
        True,
        activation_algorithm=activation.algorithm,
        symmetric=not activation.asymmetric,
        sources=(("activation", "tensor_quantize"),),
    )
