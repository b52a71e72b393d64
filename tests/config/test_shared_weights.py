"""Layers with common weights that ask for different settings: an error at the entry that does."""

import pytest
from config_samples import problems_of

from calibrant.config import GraphInfo, LayerInfo, load_config, resolve

LAYERS = (
    LayerInfo("a", "Conv2D", True, constant="w", channel_axes=(3,)),
    LayerInfo("b", "Conv2D", True, constant="w", channel_axes=(3,)),
    LayerInfo("other", "Conv2D", True, constant="v", channel_axes=(3,)),
)
FACTS = GraphInfo(LAYERS, {layer.name: layer.type for layer in LAYERS})
ENTRY = "override_layer_configs { layer_name : 'b'\n calibration_config { arq_quantize { quant_bits : 7 } } }"


def test_the_problem_is_placed_at_the_entry():
    (problem,) = problems_of(ENTRY, FACTS)
    assert (problem.line, problem.path) == (1, "override_layer_configs[0]")
    assert problem.message == "'b' shares its weights with 'a', but the two need different weight settings"
    assert "skip_layers" in problem.hint


@pytest.mark.parametrize(
    "text", ["batch_num : 1\n", ENTRY + ENTRY.replace("'b'", "'a'"), ENTRY + "\nskip_layers : 'a'"]
)
def test_equal_settings_and_skipped_layers_are_fine(text):
    assert problems_of(text, FACTS) == ()
    assert resolve(load_config(text), FACTS).layers


def test_channels_on_other_axes():
    layers = (LAYERS[0], LayerInfo("c", "DepthwiseConv2dNative", True, constant="w", channel_axes=(2, 3)))
    info = GraphInfo(layers, {layer.name: layer.type for layer in layers})
    assert problems_of("batch_num : 1\n", info) == ()
    plan = resolve(load_config("batch_num : 1\n"), info)
    assert [entry.weights.channel_wise for entry in plan.layers] == [False, False]
    assert plan.warnings == (
        "'a' and 'c' share their weights, but not the axis of their channels: they have one scale",
    )
    alone = resolve(load_config("skip_layers : 'c'\n"), info)
    assert [entry.weights.channel_wise for entry in alone.layers] == [True] and alone.warnings == ()
    text = "override_layer_configs { layer_name : 'c'\n calibration_config { nuq_quantize { } } }"
    assert len(problems_of(text, info)) == 1


def test_it_is_listed_with_all_other_problems():
    assert len(problems_of(ENTRY + "\nbatch_num : 0", FACTS)) == 2
