"""One test for each field of FMRQuantize, HFMGQuantize and TensorQuantize, on the model that is written."""

import numpy as np
import pytest
from produced import LAYERS, batches, layer_quantizer, produce, quantizer, recorded

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.algorithms.hfmg import search as hfmg_search
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import search as ifmr_search
from calibrant.graph.running.run import run_once


def ifmr(fields, layer="conv1"):
    """What is in front of a layer when IFMR has these fields."""
    config = (
        f'override_layer_configs {{ layer_name : "{layer}" calibration_config {{ ifmr_quantize {{ {fields} }} }} }}'
    )
    return layer_quantizer(produce(config), layer)


def hfmg(fields, layer="conv1"):
    config = (
        f'override_layer_configs {{ layer_name : "{layer}" calibration_config {{ hfmg_quantize {{ {fields} }} }} }}'
    )
    return layer_quantizer(produce(config), layer)


def whole_range():
    """The range that the search starts from: one ratio only."""
    return ifmr(
        "search_range_start : 1 search_range_end : 1.0001 search_step : 0.0001 max_percentile : 1 min_percentile : 1"
    )


def test_search_range_start():
    assert ifmr("search_range_start : 1.2").scale == pytest.approx(1.2 * whole_range().scale, rel=0.01)


def test_search_range_end():
    assert ifmr("search_range_end : 0.72").scale < 0.73 * whole_range().scale


def test_search_step():
    coarse = ifmr("search_range_start : 0.5 search_range_end : 1.5 search_step : 1")
    ratio = coarse.scale / whole_range().scale
    assert min(abs(ratio - allowed) for allowed in (0.5, 1.0, 1.5)) < 1e-3
    assert ifmr("search_step : 0.03").scale != ifmr("search_step : 0.01").scale


def test_max_percentile():
    low, high = edges(ifmr("max_percentile : 0.8"))
    low_before, high_before = edges(ifmr(""))
    assert high < 0.7 * high_before and low == pytest.approx(low_before, rel=0.35)


def test_min_percentile():
    low, high = edges(ifmr("min_percentile : 0.8"))
    low_before, high_before = edges(ifmr(""))
    assert low > 0.7 * low_before and high == pytest.approx(high_before, rel=0.35)


def edges(found):
    """Lowest and highest real value that a pair can pass on."""
    return (-128 - found.offset) * found.scale, (127 - found.offset) * found.scale


@pytest.mark.parametrize("search", [ifmr, hfmg])
def test_asymmetric(search):
    assert search("asymmetric : false", "depthwise").offset == 0
    assert search("asymmetric : true", "depthwise").offset == -128


@pytest.mark.parametrize("block", ["ifmr_quantize", "hfmg_quantize"])
def test_asymmetric_at_all_four_places(block):
    """override_layer_configs > override_layer_types > common_config > activation_offset."""

    def offset(*places):
        offset, common, of_type, of_layer = places
        text = f"activation_offset : {offset} common_config {{ {block} {{ {common} }} }} "
        text += 'override_layer_types { layer_type : "DepthwiseConv2dNative" '
        text += f"calibration_config {{ {block} {{ {of_type} }} }} }} "
        text += (
            f'override_layer_configs {{ layer_name : "depthwise" calibration_config {{ {block} {{ {of_layer} }} }} }}'
        )
        return layer_quantizer(produce(text), "depthwise").offset

    yes, no = "asymmetric : true", "asymmetric : false"
    assert offset("false", "", "", "") == 0 and offset("true", "", "", "") == -128
    assert offset("true", no, "", "") == 0 and offset("false", yes, "", "") == -128
    assert offset("true", yes, no, "") == 0 and offset("false", no, yes, "") == -128
    assert offset("true", yes, yes, no) == 0 and offset("false", no, no, yes) == -128


def test_a_product_of_two_activations_is_symmetric():
    result = produce("activation_offset : true common_config { ifmr_quantize { asymmetric : true } }")
    assert quantizer(result, "scores", 0).offset == quantizer(result, "scores", 1).offset == 0


@pytest.mark.parametrize("block", ["ifmr_quantize", "hfmg_quantize"])
def test_dst_type(block):
    wide = produce(f"common_config {{ {block} {{ dst_type : INT16 }} }}")
    for layer in wide.network.layers:
        bits = 8 if layer.weights is None else 16
        assert {entry.quantizer.bits for entry in layer.inputs} == {bits}
        assert bits == 8 or layer.inputs[0].quantizer.offset == 0
    explicit = produce(f"common_config {{ {block} {{ dst_type : INT8 }} }}")
    plain = produce(f"common_config {{ {block} {{ }} }}")
    assert all(layer_quantizer(explicit, name) == layer_quantizer(plain, name) for name in LAYERS)


def test_num_of_bins():
    found = {bins: hfmg(f"num_of_bins : {bins}") for bins in (1024, 2048, 4096, 8192)}
    assert len({pair.scale for pair in found.values()}) >= 3
    assert hfmg("") == found[4096]
    scales = [pair.scale for pair in found.values()]
    assert max(scales) < 1.3 * min(scales)


def test_layer_name_and_input_index():
    for index, tensor in enumerate(("conv2/bias:0", "relu1:0")):
        result = produce(f'tensor_quantize {{ layer_name : "add" input_index : {index} }}')
        assert quantizer(result, "add", index).reads == tensor and quantizer(result, "add", 1 - index) is None
        assert recorded(result, f"add:{index}") is not None and recorded(result, f"add:{1 - index}") is None


@pytest.mark.parametrize("node, index", [("maxpool", 0), ("add", 0), ("add", 1)])
def test_ifmr_quantize_and_hfmg_quantize_of_a_tensor(node, index):
    def pair(block):
        return quantizer(
            produce(f'tensor_quantize {{ layer_name : "{node}" input_index : {index} {block} }}'), node, index
        )

    plain = pair("")
    values = Histogram()
    values.update(run_once(produce().network.graph, batches()[0], [plain.reads])[0])
    for block, search in (("", ifmr_search), ("ifmr_quantize { }", ifmr_search), ("hfmg_quantize { }", hfmg_search)):
        expected = search(values).quantizer
        assert (pair(block).scale, pair(block).offset) == (expected.scale, expected.offset)
    assert pair("ifmr_quantize { search_range_end : 0.71 }").scale < 0.8 * plain.scale
    assert pair("hfmg_quantize { asymmetric : false }").offset == 0


def test_quantized_tensors_are_rounded_by_the_arithmetic():
    result = produce('tensor_quantize { layer_name : "maxpool" input_index : 0 }')
    found = quantizer(result, "maxpool")
    reads = result.fakequant.nodes["maxpool"].input[0]
    before, after = run_once(result.fakequant, batches()[0], [found.reads, f"{reads}:0"])
    np.testing.assert_array_equal(after, Quantizer(found.scale, found.offset).fake_quantize(before))


def test_the_entry_of_a_layer_is_taken_whole():
    """A layer with an entry of its own borrows nothing from common_config, neither fields nor blocks."""
    common = "common_config { ifmr_quantize { search_range_end : 0.71 } arq_quantize { channel_wise : false } } "
    result = produce(
        common + 'override_layer_configs { layer_name : "conv1" calibration_config { ifmr_quantize { } } }'
    )
    assert layer_quantizer(result, "conv1") == layer_quantizer(produce(), "conv1")
    assert layer_quantizer(result, "head").scale < 0.8 * layer_quantizer(produce(), "head").scale
    assert recorded(result, "conv1")["scale_w"] == recorded(produce(), "conv1")["scale_w"]
    assert len(recorded(result, "conv2")["scale_w"]) == 1
