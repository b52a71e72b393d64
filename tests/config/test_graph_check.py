"""Names and inputs in a configuration that the graph does not have."""

import time

import pytest
from config_samples import GRAPH, problems_of

from calibrant.config import GraphInfo, LayerInfo, load_config, resolve
from calibrant.errors import ConfigError

# the text, line:column, the field's path, what was found, the hint
CASES = {
    "unknown layer": (
        "skip_layers: 'conv1/Conv2d'",
        "1:14",
        "skip_layers[0]",
        "no layer 'conv1/Conv2d'",
        "did you mean 'conv1/Conv2D'?",
    ),
    "tensor name for a layer": (
        "skip_layers: 'deconv:0'",
        "1:14",
        "skip_layers[0]",
        "no layer 'deconv:0'",
        "did you mean 'deconv'?",
    ),
    "unknown approximation layer": (
        "skip_approximation_layers: 'dens/MatMul'",
        "1:28",
        "skip_approximation_layers[0]",
        "no layer",
        "did you mean 'dense/MatMul'",
    ),
    "override of an unknown layer": (
        "override_layer_configs { layer_name: 'deconf' calibration_config {} }",
        "1:38",
        "override_layer_configs[0].layer_name",
        "the graph has no layer 'deconf'",
        "did you mean 'deconv'?",
    ),
    "override of another node": (
        "override_layer_configs { layer_name: 'conv1/Relu' calibration_config {} }",
        "1:38",
        "override_layer_configs[0].layer_name",
        "'conv1/Relu' is a Relu, which is not quantized as a layer",
        "",
    ),
    "override of a layer left out": (
        "override_layer_configs { layer_name: 'training/Conv2D' calibration_config {} }",
        "1:38",
        "override_layer_configs[0].layer_name",
        "cannot be quantized: its weights are not constant",
        "",
    ),
    "channels of a layer without": (
        "override_layer_configs { layer_name: 'dense/MatMul' "
        "calibration_config { arq_quantize { channel_wise: true } } }",
        "1:103",
        "override_layer_configs[0].calibration_config.arq_quantize.channel_wise",
        "a MatMul has no channels",
        "",
    ),
    "6 bits of another layer": (
        "override_layer_configs { layer_name: 'deconv' calibration_config { arq_quantize { quant_bits: 6 } } }",
        "1:95",
        "override_layer_configs[0].calibration_config.arq_quantize.quant_bits",
        "6 bits are for Conv2D only",
        "",
    ),
    "fusion of an unknown layer": (
        "skip_fusion_layers: 'deconf'",
        "1:21",
        "skip_fusion_layers[0]",
        "no layer 'deconf'",
        "did you mean 'deconv'?",
    ),
    "fusion of another node": (
        "skip_fusion_layers: 'conv1/Relu'",
        "1:21",
        "skip_fusion_layers[0]",
        "'conv1/Relu' is a Relu, which is never fused",
        "",
    ),
    "tensor of an unknown node": (
        "tensor_quantize { layer_name: 'block/ad' input_index: 0 }",
        "1:31",
        "tensor_quantize[0].layer_name",
        "no node 'block/ad'",
        "did you mean 'block/add'",
    ),
    "tensor of another type": (
        "tensor_quantize { layer_name: 'conv1/Relu' input_index: 0 }",
        "1:31",
        "tensor_quantize[0].layer_name",
        "'conv1/Relu' is a Relu",
        "",
    ),
    "input that is not there": (
        "tensor_quantize { layer_name: 'maxpool' input_index: 1 }",
        "1:54",
        "tensor_quantize[0].input_index",
        "'maxpool' has 1 input, counted from 0",
        "",
    ),
    "input that is not float": (
        "tensor_quantize { layer_name: 'shape/add' input_index: 0 }",
        "1:56",
        "tensor_quantize[0].input_index",
        "input 0 of 'shape/add' does not carry float data",
        "",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_does_not_fit_the_graph(case):
    text, place, path, message, hint = case
    with pytest.raises(ConfigError) as error:
        resolve(load_config(text), GRAPH)
    (problem,) = error.value.problems
    assert f"{problem.line}:{problem.column}" == place
    assert problem.path == path
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_many_unknown_names_in_a_large_graph_take_bounded_time():
    layers = tuple(LayerInfo(f"network/block{index}/Conv2D", "Conv2D", True) for index in range(20_000))
    info = GraphInfo(layers, {layer.name: layer.type for layer in layers})
    began = time.process_time()
    problems = problems_of("".join(f"skip_layers: 'network/blok{index}/Conv2D'\n" for index in range(1000)), info)
    assert time.process_time() - began < 20
    assert problems[-1].message == "and 800 more problems"
    assert "block0" in problems[0].hint
