"""Models above 2 GB are written as SavedModels with variables; here the limit is lowered instead."""

from __future__ import annotations

import filecmp

import numpy as np
import pytest

from calibrant import quantize
from calibrant.emit import large_model
from calibrant.evaluation.verify import verify
from calibrant.graph.reading import saved_model
from calibrant.graph.reading.load import load
from calibrant.graph.running import session
from calibrant.graph.running.run import run_once
from graphs import dense, graph_def, numbers, placeholder, tf

IDS = np.random.default_rng(0).integers(0, 2000, (40, 5)).astype(np.int32)


@pytest.fixture
def low_limit(monkeypatch):
    """Models of more than 50 kB are too large."""
    monkeypatch.setattr(large_model, "LIMIT", 50_000)
    monkeypatch.setattr(large_model, "_ROOM", 0)
    monkeypatch.setattr(session, "FEW_BYTES", 0)


@pytest.fixture
def definition():
    """Two tables of embeddings and a layer."""

    def build():
        ids = placeholder([None, 5], name="ids", dtype=tf.int32)
        tables = [tf.constant(numbers(2000, 8, seed=seed), name=f"table{seed}") for seed in (1, 2)]
        rows = tf.gather(tables[0], ids) + tf.gather(tables[1], ids)
        tf.identity(dense(tf.reduce_mean(rows, 1)), name="out")

    return graph_def(build)


def test_the_weights_are_variables_and_every_reader_reads_them(low_limit, definition, tmp_path, monkeypatch):
    result = quantize(definition, data=IDS, out=tmp_path / "out")
    assert "model_fakequant.pb" not in [path.name for path in result.files]
    assert any("2 GB" in warning for warning in result.report["warnings"])
    assert not any("2 GB" in finding["what"] for finding in result.report["findings"])
    assert result.report["run"]["output_sqnr_db"]["out"] > 20
    folder = tmp_path / "out" / "model_fakequant"
    assert (folder / "saved_model.pb").stat().st_size < 50_000
    wanted = run_once(result.fakequant, {"ids": IDS})[0]
    np.testing.assert_array_equal(
        tf.saved_model.load(str(folder)).signatures["serving_default"](ids=IDS)["out"], wanted
    )
    monkeypatch.setattr(saved_model, "_from_session", None)  # it would need a GraphDef of the whole
    np.testing.assert_array_equal(run_once(load(folder), {"ids": IDS})[0], wanted)
    assert verify(tmp_path / "out", IDS, model=definition).passed


def test_the_same_bytes_every_time(low_limit, definition, tmp_path):
    for name in ("first", "second"):
        quantize(definition, data=IDS, out=tmp_path / name)
    names = ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
    first, second = (tmp_path / name / "model_fakequant" for name in ("first", "second"))
    assert filecmp.cmpfiles(first, second, names, shallow=False) == (names, [], [])


def test_an_export_that_is_one_file_is_refused(low_limit, definition, tmp_path):
    result = quantize(definition, data=IDS, out=tmp_path / "out", export="ascend")
    assert "2 GB" in str(result.refused["ascend"])
    assert not list((tmp_path / "out").glob("*_quantized.pb"))


def test_a_litert_file_is_refused_by_the_sum_of_its_constants(low_limit, definition, tmp_path, monkeypatch):
    monkeypatch.setattr(large_model, "LIMIT", 100_000)  # each of the tables has 64,000 bytes
    result = quantize(definition, data=IDS, out=tmp_path / "out", export=["tflite", "saved_model"])
    assert list(result.refused) == ["tflite"]
    (problem,) = result.refused["tflite"].problems
    assert problem.message.startswith("has 128,000 bytes of constants in float; ")
    assert not list((tmp_path / "out").glob("*.tflite"))
    assert (tmp_path / "out" / "model_saved_model" / "saved_model.pb").is_file()
