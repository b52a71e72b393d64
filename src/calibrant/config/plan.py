"""The plan: what is done to every layer of one graph, with every setting resolved to a value."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WeightPlan:
    """How the weights of one layer are quantized.

    Parameters
    ----------
    algorithm : str
        ``'arq'`` (uniform) or ``'nuq'`` (at most ``num_steps`` of the 256 levels occur).
    channel_wise : bool
        One scale per output channel instead of one for the tensor.
    bits : int
        6, 7 or 8; always 8 for ``'nuq'``.
    num_steps : int | None
        16 or 32, for ``'nuq'`` only.
    num_of_iteration : int | None
        0 to 5 rounds of refinement, for ``'nuq'`` only.
    """

    algorithm: str = "arq"
    channel_wise: bool = False
    bits: int = 8
    num_steps: int | None = None
    num_of_iteration: int | None = None


@dataclass(frozen=True)
class ActivationPlan:
    """How one activation is quantized.

    Parameters
    ----------
    algorithm : str
        ``'ifmr'`` (search over clipping ranges) or ``'hfmg'`` (greedy walk over a histogram).
    asymmetric : bool
        With an offset.
    bits : int
        8, or 16 for a layer with weights.
    search_range_start, search_range_end, search_step : float | None
        Ratios tried, for ``'ifmr'`` only.
    max_percentile, min_percentile : float | None
        In (0.5, 1], where the search begins, for ``'ifmr'`` only.
    num_of_bins : int | None
        1024, 2048, 4096 or 8192, for ``'hfmg'`` only.
    """

    algorithm: str = "ifmr"
    asymmetric: bool = True
    bits: int = 8
    search_range_start: float | None = None
    search_range_end: float | None = None
    search_step: float | None = None
    max_percentile: float | None = None
    min_percentile: float | None = None
    num_of_bins: int | None = None


@dataclass(frozen=True)
class LayerPlan:
    """Everything that is done to one layer.

    Parameters
    ----------
    name, type : str
        The node's name and operator.
    weights : WeightPlan | None
        None for a layer without weights.
    activation : ActivationPlan
        Of its data input (of both inputs for a product of two activations).
    migration_strength : float | None
        In [0.2, 0.8], or None where the layer is not balanced.
    sources : tuple[tuple[str, str], ...]
        (block, origin) pairs for the blocks ``weights``, ``activation``, ``asymmetric`` and ``balancer``; an origin is
        ``override_layer_configs[0]``, ``override_layer_types[1]``, ``common_config``, ``nuq_config``,
        ``activation_offset``, ``symmetric only``, ``config.json``, ``joint_quant`` with the group's name, or
        ``default``. Not part of a comparison.
    entry : str
        The place whose entry was taken as a whole; ``default`` where there is none. Not part of a comparison.
    entry_line : int | None
        The line of the configuration file where that entry begins, if it is known. Not part of a comparison.
    left_out : tuple[str, ...]
        What ``common_config`` sets and that entry does not, so that the defaults apply: ``dmq_balancer``,
        ``arq_quantize.quant_bits``. Not part of a comparison.
    can_be_balanced : bool
        Whether the balancer acts on this layer.
    """

    name: str
    type: str
    weights: WeightPlan | None
    activation: ActivationPlan
    migration_strength: float | None = None
    sources: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    entry: str = field(default="default", compare=False)
    entry_line: int | None = field(default=None, compare=False)
    left_out: tuple[str, ...] = field(default=(), compare=False)
    can_be_balanced: bool = field(default=False, compare=False)

    @property
    def own_entry(self) -> str | None:
        """What an override of this layer takes the place of, as one name may have one entry; None without an entry."""
        if not self.entry.startswith("override_layer_configs"):
            return None
        return self.entry if self.entry_line is None else f"{self.entry} (line {self.entry_line})"


def is_default(entry: LayerPlan) -> bool:
    """Whether the configuration says nothing about the range of a layer's activations."""
    return dict(entry.sources).get("activation") == "default"


@dataclass(frozen=True)
class TensorPlan:
    """Quantization of one input of a MaxPool or Add node; ``origin`` is where its settings were written."""

    layer_name: str
    input_index: int
    activation: ActivationPlan
    origin: str = field(default="tensor_quantize", compare=False)


@dataclass(frozen=True)
class JointGroup:
    """Quantizers that get one scale and offset.

    Parameters
    ----------
    name : str
        That of its first addition in graph order.
    settings : ActivationPlan
        Of every quantizer in it.
    additions : tuple[str, ...]
        The Add and AddV2 nodes, in graph order.
    places : tuple[tuple[str, int], ...]
        (node, input index) of every quantizer, the additions' inputs included, in graph order.
    """

    name: str
    settings: ActivationPlan
    additions: tuple[str, ...]
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Plan:
    """What is done to one graph.

    Parameters
    ----------
    batch_num : int
        Number of batches that calibrate.
    activation_offset : bool
        What an activation without a setting of its own uses; already applied in ``layers``.
    joint_quant : bool
        One scale for the inputs of an addition and everything that shares it.
    do_fusion : bool
        Whether norms are folded.
    skip_fusion_layers : tuple[str, ...]
        The layers whose fusion is left out.
    force_float16_scale : bool
        Scales of activations are rounded to float16 in the fake-quantized model.
    nuq_mapping_file : str | None
        The mapping file that chose layers for non-uniform weights, resolved; None without one.
    layers : tuple[LayerPlan, ...]
        In graph order.
    weight_only : tuple[LayerPlan, ...]
        Layers inside loops and branches, of whose settings those of the weights alone count.
    tensors : tuple[TensorPlan, ...]
        Inputs of MaxPool and Add nodes that are quantized, in the order of the file.
    groups : tuple[JointGroup, ...]
        Of quantizers that share one scale; their settings are those that ``layers`` and ``tensors`` have.
    disabled : tuple[LayerPlan, ...]
        Quantizable layers that are left in float, with the settings they would have.
    skipped : tuple[tuple[str, str, str], ...]
        (name, type, reason) of everything that could be meant as a layer and is left in float.
    warnings : tuple[str, ...]
        Sentences for the user about settings that have no effect.
    """

    batch_num: int = 1
    activation_offset: bool = True
    joint_quant: bool = False
    do_fusion: bool = True
    skip_fusion_layers: tuple[str, ...] = ()
    force_float16_scale: bool = False
    nuq_mapping_file: str | None = None
    layers: tuple[LayerPlan, ...] = ()
    weight_only: tuple[LayerPlan, ...] = ()
    tensors: tuple[TensorPlan, ...] = ()
    groups: tuple[JointGroup, ...] = ()
    disabled: tuple[LayerPlan, ...] = ()
    skipped: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def unfused_layers(self) -> tuple[str, ...]:
        """Names of the layers whose fusion is left out, as far as the plan knows them by name."""
        if self.do_fusion:
            return self.skip_fusion_layers
        return tuple(layer.name for layer in self.layers + self.disabled)
