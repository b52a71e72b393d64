"""Faults that were planted on the demo: the page names the guilty layer or cause first."""

import numpy as np
import pytest

import calibrant
from calibrant.graph.reading.load import load

CONV3, CONV4, DEPTHWISE = (
    "digits_1/conv3_1/convolution",
    "digits_1/conv4_1/convolution",
    "digits_1/depthwise2_1/depthwise",
)


@pytest.fixture(scope="module")
def digits(repository):
    return repository / "examples" / "digits"


@pytest.fixture(scope="module")
def images(digits):
    return np.load(digits / "calibration.npz")["image"]


def override(layer, settings):
    return f"override_layer_configs {{ layer_name: '{layer}' calibration_config {{ {settings} }} }}"


def first_finding(model, config, data, out, **options):
    result = calibrant.quantize(model, config, data, out, **options)
    return result.report["findings"][0] if result.report["findings"] else None


CONFIGURATIONS = {
    "a percentile that clips": (
        CONV4,
        "clipped",
        override(CONV4, "ifmr_quantize { max_percentile: 0.6 search_range_start: 0.99 search_range_end: 1.01 }"),
    ),
    "a range far too wide": (
        CONV3,
        "wider",
        override(CONV3, "ifmr_quantize { search_range_start: 5 search_range_end: 6 search_step: 0.1 }"),
    ),
    "six bits": (CONV3, "6 bits", override(CONV3, "arq_quantize { quant_bits: 6 }")),
    "a norm that is not folded": (DEPTHWISE, "skip_fusion", f"skip_fusion_layers: '{DEPTHWISE}'"),
    "no fusion at all": (None, "do_fusion", "do_fusion: false"),
}


@pytest.mark.parametrize("fault", CONFIGURATIONS)
def test_faults_of_the_configuration(digits, images, tmp_path, fault):
    layer, word, text = CONFIGURATIONS[fault]
    found = first_finding(str(digits / "digits.pb"), text, images, tmp_path, samples="all")
    assert (found["layer"], word in found["what"]) == (layer, True), found


def test_a_block_goes_in_the_place_of_the_entry_that_the_layer_has(digits, images, tmp_path):
    model, first = str(digits / "digits.pb"), override(CONV3, "arq_quantize { quant_bits: 8 }")
    _, _, guilty = CONFIGURATIONS["a percentile that clips"]
    found = first_finding(model, f"{first}\n{guilty}", images, tmp_path, samples="all")
    assert found["replaces"] == "override_layer_configs[1] (line 2)"
    assert f"in the place of {found['replaces']}:" in (tmp_path / "report.html").read_text()
    mended = calibrant.quantize(model, f"{first}\n{found['block']}", images, tmp_path, samples="all")
    assert all(entry["layer"] != CONV4 for entry in mended.report["findings"])


def test_a_block_for_a_layer_without_an_entry_is_added(digits, images, tmp_path):
    text = "common_config { ifmr_quantize { max_percentile: 0.6 search_range_start: 0.99 search_range_end: 1.01 } }"
    found = first_finding(str(digits / "digits.pb"), text, images, tmp_path, samples="all")
    assert found["block"] and found["replaces"] is None


def test_a_block_is_the_same_run_with_the_options_that_it_names(digits, images, tmp_path):
    model = str(digits / "digits.pb")
    first = calibrant.quantize(model, None, images, tmp_path, samples=32, sensitivity=True, page=False)
    block = first.report["sensitivity"][0]["override"]
    words = block.splitlines()[0].removeprefix("# in a file of its own, for quantize ").split()
    assert words == ["--samples", "32", "--no-refine", "--no-equalize"]
    assert calibrant.quantize(model, block, images, samples=32).record == first.record


DATA = {
    "too few samples": ("2 samples calibrate", lambda images: images[:2]),
    "nothing but zeros": ("calibrate nothing", np.zeros_like),
    "features far too large": ("preprocessing", lambda images: images * 1e7),
    "one broken pixel": ("digits_1/conv1_1/convolution", lambda images: _with_outlier(images)),
}


def _with_outlier(images):
    changed = images.copy()
    changed[3, 2, 2] = 3e3
    return changed


@pytest.mark.parametrize("fault", DATA)
def test_faults_of_the_data(digits, images, tmp_path, fault):
    word, change = DATA[fault]
    found = first_finding(str(digits / "digits.pb"), None, change(images), tmp_path, samples="all")
    assert word in f"{found['layer']} {found['what']}", found


def test_a_channel_that_is_a_hundred_times_as_large(digits, images, tmp_path):
    graph = load(digits / "digits.pb")
    edit = graph.edit()
    for name, factor, axis in (
        ("digits_1/norm1_1/Cast_2/ReadVariableOp", 100.0, 0),
        ("digits_1/norm1_1/Cast_3/ReadVariableOp", 100.0, 0),
        ("digits_1/depthwise2_1/depthwise/ReadVariableOp", 0.01, 2),
    ):
        changed = graph.require_constant(name).copy()
        np.moveaxis(changed, axis, 0)[5] *= factor
        scaled = edit.add_constant(f"{name}/scaled", changed)
        for node, index in graph.consumers(f"{name}:0"):
            edit.set_input(node.name, index, scaled)
    found = first_finding(edit.finish().graph_def(), None, images, tmp_path, samples="all")
    assert found["layer"] in (DEPTHWISE, CONV4), found
    assert "channels" in found["what"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("ifmr_quantize { max_percentile: 0.6 search_range_start: 0.99 search_range_end: 1.01 }", "clipped"),
        ("arq_quantize { quant_bits: 6 }", "6 bits"),
    ],
)
def test_a_trained_residual_network(shared, tmp_path, settings, word):
    folder, layer = shared / "real" / "resnet8_cifar10", "model/conv2d_4/Conv2D"
    data = np.load(folder / "cifar10_part.npz")["x_calibration"][:64].astype(np.float32)
    found = first_finding(str(folder / "resnet8.pb"), override(layer, settings), data, tmp_path, samples="all")
    assert (found["layer"], word in found["what"]) == (layer, True), found
