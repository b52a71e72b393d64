"""Every number, name and attribute in the deployable file, decoded and compared with the record file."""

import pytest
from ascend_file import FLOAT, HALF, File, check_file, check_quantizer
from ascend_networks import KINDS, TENSORS, chain, file_of, half_precision, quantized, residual
from tensorflow.python.framework import tensor_util

from calibrant.result import result_files

CONFIGS = {
    "asymmetric": "",
    "symmetric": "activation_offset : false",
    "7 bits per tensor": "common_config { arq_quantize { channel_wise : false quant_bits : 7 } }",
    "non-uniform": "common_config { nuq_quantize { num_steps : 16 } }",
}


def opened(result, folder):
    path = folder / "record.txt"
    path.write_bytes(result_files(result)["record.txt"])
    return File(file_of(result), path)


def layers_of(result):
    return {layer.layer.name for layer in result.network.layers}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("build", KINDS.values(), ids=KINDS)
def test_numbers_of_layers(build, config, tmp_path):
    result = quantized(build, config)
    assert check_file(opened(result, tmp_path), result.network) == layers_of(result)


def test_numbers_of_tensor_quantizers(tmp_path):
    result = quantized(residual, TENSORS)
    file = opened(result, tmp_path)
    check_file(file, result.network)
    for reader, index in (("sum", 0), ("sum", 1), ("maxpool", 0)):
        anti = file.producer(file.nodes[reader], index)
        assert anti.op == "AscendAntiQuant" and anti.name.startswith(f"{reader}/anti_quant/AscendAntiQuant")
        quantizer = check_quantizer(file, anti, 0, f"{reader}:{index}")
        assert quantizer.name.startswith(f"{reader}/act_quant/AscendQuant")
    assert len(file.of("AscendAntiQuant")) == 3


def test_half_precision(tmp_path):
    result = quantized(half_precision)
    assert check_file(opened(result, tmp_path), result.network, HALF) == {"conv/Conv2D"}


@pytest.mark.parametrize("build, config", [(chain, ""), (residual, TENSORS)], ids=["chain", "residual"])
def test_no_float_weights(build, config, tmp_path):
    file = opened(quantized(build, config), tmp_path)
    floats = [
        tensor_util.MakeNdarray(node.attr["value"].tensor).size
        for node in file.of("Const")
        if node.attr["dtype"].type == FLOAT
    ]
    assert sum(floats) <= 2


def test_one_quantizer_for_layers_that_read_one_tensor(tmp_path):
    shared = opened(quantized(residual), tmp_path)
    assert len(shared.of("AscendQuant")) == 1
    own = """override_layer_configs { layer_name : "two/Conv2D" calibration_config { hfmg_quantize { } } }"""
    assert len(opened(quantized(residual, own), tmp_path).of("AscendQuant")) == 2


def test_relu6_becomes_relu_only_where_its_quantizer_ends_at_6(tmp_path):
    ends = {}
    for config in ("", "common_config { ifmr_quantize { search_range_start : 2 search_range_end : 2.01 } }"):
        result = quantized(chain, config)
        [depthwise] = [layer for layer in result.network.layers if layer.layer.name == "depthwise"]
        ends[opened(result, tmp_path).nodes["relu6"].op] = depthwise.inputs[0].quantizer.range[1]
    assert ends["Relu"] <= 6 < ends["Relu6"]
