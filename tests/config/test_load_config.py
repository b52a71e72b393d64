"""Where a configuration comes from: a path, a text, nothing, or Python; and where its mapping file is looked up."""

import pytest

from calibrant.config import Configuration, load_config
from calibrant.errors import ConfigError


def test_nothing_sets_nothing():
    assert load_config(None) == load_config() == Configuration()


def test_a_path_as_text_or_as_path(tmp_path):
    file = tmp_path / "quant.cfg"
    file.write_text("batch_num: 7")
    assert load_config(file).batch_num == load_config(str(file)).batch_num == 7


@pytest.mark.parametrize(
    "text", ["batch_num: 7", "batch_num:7", " batch_num : 7", "# c\nbatch_num: 7", "\nbatch_num: 7"]
)
def test_a_text(text):
    assert load_config(text).batch_num == 7


def test_a_configuration_is_checked_and_returned():
    right = Configuration(batch_num=3)
    assert load_config(right) is right
    with pytest.raises(ConfigError, match="batch_num: 0 is not allowed"):
        load_config(Configuration(batch_num=0))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folder of the configuration file and the working directory."""
    beside, working = tmp_path / "beside", tmp_path / "working"
    beside.mkdir()
    working.mkdir()
    monkeypatch.chdir(working)
    (beside / "quant.cfg").write_text("nuq_config { mapping_file: 'map.json' }")
    return beside, working


def test_the_mapping_file_is_looked_up_beside_the_configuration_file_first(folders):
    for folder in folders:
        (folder / "map.json").write_text("{}")
    assert load_config(folders[0] / "quant.cfg").mapping_path == str(folders[0] / "map.json")


def test_then_in_the_working_directory(folders):
    (folders[1] / "map.json").write_text("{}")
    assert load_config(folders[0] / "quant.cfg").mapping_path == "map.json"


def test_a_text_looks_in_the_working_directory(folders):
    (folders[1] / "map.json").write_text("{}")
    assert load_config("nuq_config { mapping_file: 'map.json' }").mapping_path == "map.json"


def test_an_absolute_mapping_file(folders):
    (folders[1] / "other.json").write_text("{}")
    (folders[0] / "quant.cfg").write_text(f"nuq_config {{ mapping_file: '{folders[1] / 'other.json'}' }}")
    assert load_config(folders[0] / "quant.cfg").mapping_path == str(folders[1] / "other.json")


def test_a_mapping_file_that_is_a_folder(folders):
    (folders[0] / "quant.cfg").write_text("nuq_config { mapping_file: '.' }")
    with pytest.raises(ConfigError, match="is a folder, not a mapping file") as error:
        load_config(folders[0] / "quant.cfg")
    assert repr(str(folders[0])) in error.value.problems[0].message


def test_a_missing_mapping_file_names_both_places(folders):
    with pytest.raises(ConfigError) as error:
        load_config(folders[0] / "quant.cfg")
    hint = error.value.problems[0].hint
    assert str(folders[0] / "map.json") in hint
    assert "'map.json'" in hint
