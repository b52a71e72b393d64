"""The files of a run: those that are named, and those that belong to them."""

import numpy as np
import pytest

import calibrant
from calibrant.steps.files_read import files_read


@pytest.fixture
def names(tmp_path, monkeypatch):
    """The names of the files of a call, of which these are there."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.pb", "a.npy", "b.npz", "map.json", "x;y.npy"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "net" / "variables").mkdir(parents=True)
    (tmp_path / "quant.cfg").write_text("nuq_config { mapping_file : 'map.json' }")
    return lambda *given: [str(kept.path) for kept in files_read(*given)]


def test_models(names, tmp_path):
    assert names("net.pb") == ["net.pb"]
    for model in ("net", tmp_path / "net" / "saved_model.pb"):
        assert {name.rsplit("net/")[-1] for name in names(model)} >= {"saved_model.pb", "variables"}
    assert names(object()) == names(None) == []


def test_configurations(names):
    assert names(None, "quant.cfg") == ["quant.cfg", "map.json"]
    assert names(None, calibrant.load_config("quant.cfg")) == ["quant.cfg", "map.json"]
    assert names(None, "absent.cfg") == names(None, "batch_num : 2") == []


def test_data(names):
    assert names(None, None, "a.npy[1:3]", "b.npz:x;a.npy", None, "absent") == ["a.npy", "b.npz", "a.npy"]
    assert names(None, None, "x;y.npy", {"x": "a.npy", "y": np.ones(2)}) == ["x;y.npy", "a.npy"]
    assert names(None, None, ["a.npy", "b.npz"], calibrant.TFRecords("a.npy", str)) == ["a.npy", "b.npz", "a.npy"]
    assert names(None, None, np.ones(2), [np.ones(2)], iter("ab")) == []
