"""Written configurations read back as what they were."""

import pytest
from hypothesis import assume, given, settings

from calibrant.config import (
    ARQuantize,
    CalibrationConfig,
    Configuration,
    FMRQuantize,
    NuqConfig,
    OverrideLayer,
    load_config,
)
from calibrant.config.text_write import write_block, write_config
from config.config_samples import configurations


@settings(max_examples=60, deadline=None)
@given(configurations())
def test_any_configuration_reads_back_equal(tmp_path_factory, configuration):
    assume(configuration != Configuration())  # a file that sets nothing is refused
    folder = tmp_path_factory.mktemp("written")
    (folder / "map.json").write_text("{}")
    path = folder / "tuned.cfg"
    path.write_text(write_config(configuration, "found by a test\nin two lines"))
    assert load_config(path) == configuration


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "größe", "it's"])
def test_names_are_quoted(name):
    assert load_config(write_config(Configuration(skip_layers=(name,), batch_num=1))).skip_layers == (name,)


def test_a_block_to_paste():
    block = CalibrationConfig(ARQuantize(True, 8), ifmr_quantize=FMRQuantize(0.7, 1.3, 0.01, 1.0, 1.0))
    text = write_block(OverrideLayer("conv", block), "override_layer_configs")
    assert load_config(text).override_layer_configs == (OverrideLayer("conv", block),)
    assert "search_step : 0.01\n" in text


def test_an_empty_configuration_is_an_empty_text():
    assert write_config(Configuration()) == "\n"
    assert write_config(Configuration(nuq_config=NuqConfig(mapping_file="m.json"))).startswith("nuq_config {\n")
