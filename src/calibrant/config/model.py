"""The configuration file as frozen values, exactly as it was written: a field that was not written is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from calibrant.errors import Problem
from calibrant.text_source import Source


@dataclass(frozen=True)
class ARQuantize:
    """Uniform quantization of weights."""

    channel_wise: bool | None = None
    quant_bits: int | None = None


@dataclass(frozen=True)
class NUQuantize:
    """Non-uniform quantization of weights."""

    num_steps: int | None = None
    num_of_iteration: int | None = None


@dataclass(frozen=True)
class FMRQuantize:
    """Activations: search over clipping ranges (IFMR). Numbers are the decimals that were written."""

    search_range_start: float | None = None
    search_range_end: float | None = None
    search_step: float | None = None
    max_percentile: float | None = None
    min_percentile: float | None = None
    asymmetric: bool | None = None
    dst_type: str | None = None

    @property
    def is_wide(self) -> bool:
        """Whether the activations get 16 bits."""
        return self.dst_type == "INT16"


@dataclass(frozen=True)
class HFMGQuantize:
    """Activations: greedy walk over a histogram (HFMG)."""

    num_of_bins: int | None = None
    asymmetric: bool | None = None
    dst_type: str | None = None

    @property
    def is_wide(self) -> bool:
        """Whether the activations get 16 bits."""
        return self.dst_type == "INT16"


@dataclass(frozen=True)
class DMQBalancer:
    """Balancing of activations and weights."""

    migration_strength: float | None = None


@dataclass(frozen=True)
class CalibrationConfig:
    """The three blocks of a layer's settings; of ``arq``/``nuq`` and of ``ifmr``/``hfmg`` at most one is set."""

    arq_quantize: ARQuantize | None = None
    nuq_quantize: NUQuantize | None = None
    ifmr_quantize: FMRQuantize | None = None
    hfmg_quantize: HFMGQuantize | None = None
    dmq_balancer: DMQBalancer | None = None

    @classmethod
    def of(
        cls,
        weights: ARQuantize | NUQuantize | None,
        activation: FMRQuantize | HFMGQuantize | None,
        dmq_balancer: DMQBalancer | None,
    ) -> CalibrationConfig:
        """The settings with each block in the field of its kind."""
        return cls(
            arq_quantize=weights if isinstance(weights, ARQuantize) else None,
            nuq_quantize=weights if isinstance(weights, NUQuantize) else None,
            ifmr_quantize=activation if isinstance(activation, FMRQuantize) else None,
            hfmg_quantize=activation if isinstance(activation, HFMGQuantize) else None,
            dmq_balancer=dmq_balancer,
        )

    @property
    def weights(self) -> ARQuantize | NUQuantize | None:
        """The block of weights, if there is one."""
        return self.nuq_quantize if self.arq_quantize is None else self.arq_quantize

    @property
    def activation(self) -> FMRQuantize | HFMGQuantize | None:
        """The block of activations, if there is one."""
        return self.hfmg_quantize if self.ifmr_quantize is None else self.ifmr_quantize


@dataclass(frozen=True)
class NuqConfig:
    """Non-uniform weights for the layers a mapping file names; ``mapping_path`` is where that file was found."""

    mapping_file: str | None = None
    nuq_quantize: NUQuantize | None = None
    mapping_path: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class OverrideLayerType:
    """Settings of one type of layers."""

    layer_type: str | None = None
    calibration_config: CalibrationConfig | None = None


@dataclass(frozen=True)
class OverrideLayer:
    """Settings of one layer."""

    layer_name: str | None = None
    calibration_config: CalibrationConfig | None = None


@dataclass(frozen=True)
class TensorQuantize:
    """Activation quantization of one input of a MaxPool or Add."""

    layer_name: str | None = None
    input_index: int | None = None
    ifmr_quantize: FMRQuantize | None = None
    hfmg_quantize: HFMGQuantize | None = None


@dataclass(frozen=True)
class Configuration:
    """A whole configuration; ``Configuration()`` is the one that sets nothing.

    ``listed`` and ``nuq_mapping_file`` are set where it comes from a ``config.json``: whether each layer that the file
    lists is quantized (others are not), and the mapping file that once chose layers for non-uniform weights.
    ``warnings`` are about the text.

    ``places`` maps the path of a written field (``override_layer_configs[0].layer_name``) to line and column in
    ``source``; ``labels`` holds what messages call a path, where that differs. These and the warnings are for messages
    only and no part of a comparison.
    """

    batch_num: int | None = None
    activation_offset: bool | None = None
    joint_quant: bool | None = None
    skip_layers: tuple[str, ...] = ()
    skip_layer_types: tuple[str, ...] = ()
    skip_approximation_layers: tuple[str, ...] = ()
    fakequant_precision_mode: str | None = None
    nuq_config: NuqConfig | None = None
    common_config: CalibrationConfig | None = None
    override_layer_types: tuple[OverrideLayerType, ...] = ()
    override_layer_configs: tuple[OverrideLayer, ...] = ()
    do_fusion: bool | None = None
    skip_fusion_layers: tuple[str, ...] = ()
    tensor_quantize: tuple[TensorQuantize, ...] = ()
    listed: Mapping[str, bool] | None = None
    nuq_mapping_file: str | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)
    source: Source | None = field(default=None, compare=False, repr=False)
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def problem(self, path: str, message: str, allowed: str | None = None, hint: str | None = None) -> Problem:
        """A problem with the field at ``path``, at the place where it (or the block around it) was written."""
        written = path
        while written and written not in self.places:
            written = written.rpartition(".")[0]
        if self.source is None or not written:
            return Problem(
                message, file=self.source.name if self.source else None, path=path, allowed=allowed, hint=hint
            )
        line, column = self.places[written]
        return self.source.problem(message, line, column, self.labels.get(written, path), allowed, hint)

    @property
    def mapping_path(self) -> str | None:
        """Where the mapping file of ``nuq_config`` is; None without one."""
        return (self.nuq_config.mapping_path or self.nuq_config.mapping_file) if self.nuq_config else None

    def line_of(self, path: str) -> int | None:
        """The line in which a field was written, if it came from a text."""
        return self.places[path][0] if path in self.places else None


MESSAGES: dict[str, type[Any]] = {
    "AMCTConfig": Configuration,
    "NuqConfig": NuqConfig,
    "OverrideLayerType": OverrideLayerType,
    "OverrideLayer": OverrideLayer,
    "TensorQuantize": TensorQuantize,
    "CalibrationConfig": CalibrationConfig,
    "ARQuantize": ARQuantize,
    "FMRQuantize": FMRQuantize,
    "HFMGQuantize": HFMGQuantize,
    "NUQuantize": NUQuantize,
    "DMQBalancer": DMQBalancer,
}
"""The class of each message of the schema."""
