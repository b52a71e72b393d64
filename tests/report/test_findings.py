"""What findings advise: nothing that the run has done already."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from calibrant.config.plan import ActivationPlan, LayerPlan, WeightPlan
from calibrant.quantized_network import OutputSqnr
from calibrant.report.findings import findings, verdict

ROW = {
    "tensor": "relu:0",
    "read_by": ["dense:0"],
    "clipped": 0.0,
    "search": {"chosen_db": 40.0, "signal_to_noise_db": [None, 40.2]},
}
GROWTH = {"layer": "dense", "index": 0, "own_db": 12.0, "channel_ratio": 2.0}


@pytest.mark.parametrize(
    ("refined", "advice"), [(False, "Try --refine, which moves"), (True, "Try calibrant tune --refine.")]
)
def test_refining_is_advised_where_it_has_not_run(refined, advice):
    network, plan = SimpleNamespace(layers=[]), SimpleNamespace(layers=[], skip_fusion_layers=[], do_fusion=True)
    [found] = findings(network, plan, [ROW], [GROWTH], refined=refined)
    assert found["layer"] == "dense" and "12.0 dB" in found["what"]
    assert found["advice"].startswith(advice)


CLIPPED = {**ROW, "clipped": 0.003, "search": {"chosen_db": 5.1, "signal_to_noise_db": [None, 31.5]}}


def plan_of(activation):
    layers = [LayerPlan("dense", "MatMul", WeightPlan(), activation)]
    return SimpleNamespace(layers=layers, skip_fusion_layers=[], do_fusion=True)


NO_LAYERS = SimpleNamespace(layers=[])
CLIPPING = ActivationPlan("ifmr", True, 8, 0.99, 1.01, 0.01, 0.6, 0.6)
DEFAULT = ActivationPlan("ifmr", True, 8, 0.7, 1.3, 0.01, 0.999999, 0.999999)


def test_a_range_that_clips_is_found():
    [found] = findings(NO_LAYERS, plan_of(CLIPPING), [CLIPPED], [])
    assert found["advice"] == "Use the default search of the range." and found["gain_db"] == pytest.approx(26.4)


def test_a_range_that_the_outputs_chose_is_not_undone():
    assert findings(NO_LAYERS, plan_of(CLIPPING), [CLIPPED], [], by_outputs={"dense"}) == []


def test_the_default_search_is_not_advised_where_it_was_used():
    assert findings(NO_LAYERS, plan_of(DEFAULT), [CLIPPED], []) == []


def test_a_tensor_that_is_clear_is_left_alone():
    clear = {**CLIPPED, "search": {"chosen_db": 78.6, "signal_to_noise_db": [84.6]}}
    assert findings(NO_LAYERS, plan_of(CLIPPING), [clear], []) == []


def test_a_text_to_paste_names_the_options_of_the_run():
    [found] = findings(NO_LAYERS, plan_of(CLIPPING), [CLIPPED], [], comment="# for quantize --samples 64\n")
    assert found["block"].startswith("# for quantize --samples 64\noverride_layer_configs {")


def test_balancing_leaves_an_open_range_open():
    plan = plan_of(DEFAULT)
    plan.layers = [replace(plan.layers[0], sources=(("activation", "default"),), can_be_balanced=True)]
    [found] = findings(NO_LAYERS, plan, [ROW], [{**GROWTH, "channel_ratio": 50.0}])
    assert "dmq_balancer" in found["block"] and "ifmr_quantize" not in found["block"]


def test_a_layer_whose_input_never_changed_is_no_loss():
    search = SimpleNamespace(use=SimpleNamespace(is_constant=True))
    layer = SimpleNamespace(inputs=[SimpleNamespace(node="dense", search=search)], weights=None)
    layer.layer, layer.float_weights = SimpleNamespace(name="dense"), None
    text = "'dense': its input x:0 was 0; scale 1 was taken; calibrate on data with other values"
    rounding = {**ROW, "read_by": ["other:0"]}
    network = SimpleNamespace(layers=[layer])
    found = findings(network, plan_of(DEFAULT), [rounding], [{**GROWTH, "layer": "other"}], layer_warnings=[text])
    assert [entry["layer"] for entry in found] == ["other", "dense"]
    assert found[1]["advice"] == "Calibrate on data with other values."


def test_leaving_a_layer_in_float_comes_with_its_line():
    text = "'dense': 73 % of its values are rounded to zero; try skip_layers, or calibrant tune"
    [found] = findings(NO_LAYERS, plan_of(DEFAULT), [], [], layer_warnings=[text])
    assert found["block"] == 'skip_layers : "dense"\n'


@pytest.mark.parametrize(
    ("pooled", "said"),
    [
        ({"y": 38.0}, "very near the float model's (41.7 dB); "),
        ({"y": 20.3}, "near the float model's (41.7 dB, 20.3 dB of all samples together); "),
        ({"y": 38.0, "z": 8.0}, "far from the float model's (41.7 dB, 8.0 dB of all samples together); "),
        ({}, "very near the float model's (41.7 dB); "),
    ],
)
def test_the_verdict_weighs_what_few_samples_lose(pooled, said):
    totals = {"quantized_layers": 2, "layers_left_in_float": 0}
    found = verdict(totals, OutputSqnr({"y": 41.7, "z": 50.0}, 8, pooled=pooled), 0)
    assert found == f"The outputs are {said}2 layers quantized, 0 left in float."
