"""The configuration file to start from."""

from __future__ import annotations

import re

from calibrant.config import load_config
from calibrant.config.model import Configuration
from calibrant.config.starter import starter_text

LAYERS = [("a/conv", "Conv2D"), ("b", "MatMul")]


def test_it_sets_nothing_about_layers_so_they_are_refined():
    found = load_config(starter_text("net.pb", LAYERS))
    assert found == Configuration(activation_offset=True, joint_quant=False, do_fusion=True)


def test_what_is_commented_out_can_be_used_as_it_is():
    text = re.sub(r"^# (?=[a-z_]+ [:{]|    |\}$)", "", starter_text("net.pb", LAYERS), flags=re.MULTILINE)
    found = load_config(text)
    assert found.common_config.ifmr_quantize.search_range_start == 0.7
    assert found.skip_layers == ("a/conv",)
    assert [entry.layer_name for entry in found.override_layer_configs] == ["a/conv"]


def test_every_layer_is_named():
    text = starter_text("net.pb", LAYERS)
    assert '# "a/conv"  Conv2D\n# "b"  MatMul\n' in text
