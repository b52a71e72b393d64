"""A graph, random configurations that fit it, and their text, for the tests of this folder."""

from dataclasses import fields, is_dataclass

from hypothesis import strategies as st

from calibrant.config import (
    BALANCED_TYPES,
    QUANTIZABLE_TYPES,
    ARQuantize,
    CalibrationConfig,
    Configuration,
    DMQBalancer,
    FMRQuantize,
    GraphInfo,
    HFMGQuantize,
    LayerInfo,
    NuqConfig,
    NUQuantize,
    OverrideLayer,
    OverrideLayerType,
    TensorQuantize,
    plan_problems,
    read_config,
    resolve,
)
from calibrant.errors import ConfigError

LAYERS = (
    LayerInfo("conv1/Conv2D", "Conv2D", True),
    LayerInfo("block/depthwise", "DepthwiseConv2dNative", True),
    LayerInfo("block/conv2/Conv2D", "Conv2D", True),
    LayerInfo("deconv", "Conv2DBackpropInput", True),
    LayerInfo("pool", "AvgPool", False, has_weights=False),
    LayerInfo("attention/scores", "BatchMatMulV2", False, has_weights=False, dynamic=True),
    LayerInfo("attention/project", "BatchMatMulV2", False),
    LayerInfo("dense/MatMul", "MatMul", False),
)
GRAPH = GraphInfo(
    layers=LAYERS,
    node_types={
        **{layer.name: layer.type for layer in LAYERS},
        "input": "Placeholder",
        "conv1/Relu": "Relu",
        "maxpool": "MaxPool",
        "block/add": "AddV2",
        "shape/add": "Add",
        "training/Conv2D": "Conv2D",
    },
    rejected=(("training/Conv2D", "Conv2D", "its weights are not constant"),),
    float_inputs={"maxpool": (True,), "block/add": (True, True), "shape/add": (False, True)},
    fusible=frozenset(layer.name for layer in LAYERS if layer.type != "AvgPool"),
)


def percentiles():
    return st.sampled_from([0.50001, 0.9, 0.999999, 1.0])


def optional(strategy):
    return st.none() | strategy


def ifmr(asymmetric=(None, True, False)):
    return st.builds(
        FMRQuantize,
        search_range_start=st.sampled_from([None, 0.05, 0.3, 0.7]),
        search_range_end=st.sampled_from([None, 0.9, 1.2, 1.5]),
        search_step=st.sampled_from([None, 0.01, 0.02, 0.125]),
        max_percentile=optional(percentiles()),
        min_percentile=optional(percentiles()),
        asymmetric=st.sampled_from(asymmetric),
        dst_type=st.sampled_from([None, "INT8"]),
    )


def hfmg(asymmetric=(None, True, False)):
    return st.builds(
        HFMGQuantize,
        num_of_bins=st.sampled_from([None, 1024, 2048, 4096, 8192]),
        asymmetric=st.sampled_from(asymmetric),
        dst_type=st.sampled_from([None, "INT8"]),
    )


def nuq():
    return st.builds(
        NUQuantize, num_steps=st.sampled_from([None, 16, 32]), num_of_iteration=optional(st.integers(0, 5))
    )


@st.composite
def calibration_configs(
    draw, channel_wise=(None, True, False), bits=(None, 6, 7, 8), asymmetric=(None, True, False), balanced=True
):
    weights = draw(st.sampled_from(["arq_quantize", "nuq_quantize", None]))
    activation = draw(st.sampled_from(["ifmr_quantize", "hfmg_quantize", None]))
    arq = st.builds(ARQuantize, channel_wise=st.sampled_from(channel_wise), quant_bits=st.sampled_from(bits))
    strategies = {
        "arq_quantize": arq,
        "nuq_quantize": nuq(),
        "ifmr_quantize": ifmr(asymmetric),
        "hfmg_quantize": hfmg(asymmetric),
    }
    blocks = {name: draw(strategies[name]) for name in (weights, activation) if name}
    strength = st.sampled_from([None, 0.2, 0.35, 0.8])
    balancer = draw(optional(st.builds(DMQBalancer, migration_strength=strength))) if balanced else None
    return CalibrationConfig(**blocks, dmq_balancer=balancer)


@st.composite
def configurations(draw):
    """A configuration that fits ``GRAPH`` and leaves something to quantize."""
    kept = draw(st.sampled_from(LAYERS))
    overrides = []
    for layer in draw(st.lists(st.sampled_from(LAYERS), unique=True, max_size=4)):
        overrides.append(
            OverrideLayer(
                layer.name,
                draw(
                    calibration_configs(
                        channel_wise=(None, True, False) if layer.has_channels else (None, False),
                        bits=(None, 6, 7, 8) if layer.type == "Conv2D" else (None, 8),
                        asymmetric=(None, False) if layer.dynamic else (None, True, False),
                        balanced=layer.can_be_balanced,
                    )
                ),
            )
        )
    with_channels = {layer.type for layer in LAYERS if layer.has_channels}
    types = []
    for type in draw(st.lists(st.sampled_from(QUANTIZABLE_TYPES), unique=True, max_size=3)):
        channel_wise = (None, True, False) if type in with_channels else (None, False)
        bits = (None, 6, 7, 8) if type == "Conv2D" else (None, 8)
        balanced = type in BALANCED_TYPES
        types.append(OverrideLayerType(type, draw(calibration_configs(channel_wise, bits, balanced=balanced))))
    names = [layer.name for layer in LAYERS if layer != kept]
    other_types = [type for type in QUANTIZABLE_TYPES if type != kept.type]
    tensor = st.sampled_from([("maxpool", 0), ("block/add", 0), ("block/add", 1), ("shape/add", 1)])
    tensors = []
    for name, index in draw(st.lists(tensor, max_size=3)):
        block = draw(st.sampled_from([{}, {"ifmr_quantize": draw(ifmr())}, {"hfmg_quantize": draw(hfmg())}]))
        tensors.append(TensorQuantize(name, index, **block))
    return Configuration(
        batch_num=draw(st.sampled_from([None, 1, 2, 4294967295])),
        activation_offset=draw(st.sampled_from([None, True, False])),
        joint_quant=draw(st.sampled_from([None, True, False])),
        skip_layers=tuple(draw(st.lists(st.sampled_from([*names, "maxpool"]), unique=True, max_size=2))),
        skip_layer_types=tuple(draw(st.lists(st.sampled_from(other_types), unique=True, max_size=2))),
        skip_approximation_layers=tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=1))),
        fakequant_precision_mode=draw(st.sampled_from([None, "FORCE_FP16_QUANT"])),
        nuq_config=draw(optional(st.builds(NuqConfig, mapping_file=st.just("map.json"), nuq_quantize=optional(nuq())))),
        common_config=draw(optional(calibration_configs())),
        override_layer_types=tuple(types),
        override_layer_configs=tuple(overrides),
        do_fusion=draw(st.sampled_from([None, True, False])),
        skip_fusion_layers=tuple(draw(st.lists(st.sampled_from(sorted(GRAPH.fusible)), unique=True, max_size=2))),
        tensor_quantize=tuple(tensors),
    )


def to_text(block, colon=" : ", braces="{}", indent=""):
    """A configuration as text, one field a line, in the order of the dataclass."""
    lines = []
    for field in fields(block):
        if field.name in ("source", "places", "labels", "warnings", "listed", "mapping_path"):
            continue
        written = getattr(block, field.name)
        for value in written if isinstance(written, tuple) else [written]:
            if is_dataclass(value):
                inner = to_text(value, colon, braces, indent + "  ")
                lines.append(f"{indent}{field.name} {braces[0]}\n{inner}{indent}{braces[1]}\n")
            elif isinstance(value, bool):
                lines.append(f"{indent}{field.name}{colon}{str(value).lower()}\n")
            elif isinstance(value, str) and field.name not in ("dst_type", "fakequant_precision_mode"):
                lines.append(f'{indent}{field.name}{colon}"{value}"\n')
            elif value is not None:
                lines.append(f"{indent}{field.name}{colon}{value}\n")
    return "".join(lines)


def problems_of(source, info=None):
    """Every problem of a configuration, of the text and, given a graph, of what it says about it."""
    try:
        configuration, problems = read_config(source)
        if info is not None:
            problems.extend(plan_problems(configuration, info))
            if not problems:
                resolve(configuration, info)
    except ConfigError as error:
        return error.problems
    return problems.listing()
