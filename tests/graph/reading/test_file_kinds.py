"""Files and folders that hold no model for TensorFlow: each gets one error that says what it is."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph.reading.file_kind import not_a_model
from calibrant.graph.reading.load import load
from command_line import run

GRAPH = b"\n\x0b\n\x01x\x12\x06NoOp"
LITERT = b"\x1c\x00\x00\x00TFL3" + bytes(24)
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x032.0:\x00"
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(32)
PICKLE = b"\x80\x02."
CONFIG = {"class_name": "Sequential", "config": {}}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
FILES = {
    "m.onnx": (ONNX, "is a model of ONNX", "made from"),
    "onnx.pb": (ONNX, "is a model of ONNX", "made from"),
    "m.tflite": (LITERT, "is a LiteRT", "made from"),
    "m.bin": (LITERT, "is a LiteRT", "made from"),
    "m.pt": (PICKLE, "is a model of PyTorch", "made from"),
    "m.pkl": (PICKLE, "is a Python pickle", "made from"),
    "m.safetensors": (b"\x02" + bytes(7) + b"{}", "another framework", "made from"),
    "config.json": (json.dumps(CONFIG).encode(), "configuration of a Keras model, without its weights", "load_weights"),
    "model.json": (b'{"modelTopology": {}, "weightsManifest": []}', "TensorFlow.js", "made from"),
    "other.json": (b'{"a": 1}', "is a JSON file", None),
    "damaged.json": (b'{"a": ', "is a JSON file", None),
    "g.pb": (gzip.compress(GRAPH), "compressed with gzip", "gzip -dc g.pb > unpacked.pb"),
    "g.pb.gz": (gzip.compress(GRAPH), "compressed with gzip", "gzip -dc g.pb.gz > g.pb"),
    "g.tar.gz": (gzip.compress(GRAPH), "compressed with gzip", "tar -xzf g.tar.gz"),
    "empty.pb": (b"", "is an empty file", "again"),
    "empty.keras": (b"", "is an empty file", "again"),
    "pointer.h5": (LFS, "is a pointer of Git LFS", "git lfs pull"),
    "page.pb": (b"<!DOCTYPE html><html></html>", "is a web page", "download"),
    "text.pb": (b'node { name: "x" op: "NoOp" }', "is a graph in text form", "text.pbtxt"),
    "h5.keras": (HDF5, "is an HDF5 file under another name", "h5.h5"),
    "m.index": (b"\x00\x01", "is a part of a checkpoint", "tf.saved_model.save"),
    "m.data-00000-of-00001": (b"\x00\x01", "is a part of a checkpoint", "tf.saved_model.save"),
    "m.meta": (b"\x00\x01", None, None),
    "saved.pb": (b"\x08\x01\x12\x80\x01", "is the saved_model.pb", "rename"),
    "zip.keras": (b"PK\x03\x04damaged", None, None),
    "zip.bin": (b"PK\x03\x04damaged", "is a damaged zip archive", "again"),
}
ARCHIVES = {
    "m.zip": (["config.json", "metadata.json"], "is a Keras model under another name", "m.keras"),
    "m.h5": (["config.json", "metadata.json"], "is a Keras model under another name", "m.keras"),
    "m.pt": (["archive/data.pkl"], "is a model of PyTorch", "made from"),
    "m.npz": (["arr_0.npy"], "NumPy arrays", "--data"),
    "z.zip": (["m/saved_model.pb"], "is a zip archive (m/saved_model.pb)", "unpack"),
    "z.keras": (["m.pb"], "is a zip archive (m.pb)", "unpack"),
    "m.keras": (["config.json", "metadata.json"], None, None),
}
FOLDERS = {
    "is an empty folder": ([], None),
    "is a folder, but not a SavedModel": (["readme.txt"], None),
    "with a checkpoint, not a model": (["checkpoint", "m.index", "m.data-00000-of-00001"], "tf.saved_model.save"),
    "a checkpoint, not": (["m.index", "m.meta"], "/m.meta"),
    "Keras archive that was unpacked": (["config.json", "model.weights.h5", "metadata.json"], "zip"),
    "it holds a.pb, one, two/b.keras": (["a.pb", "one/saved_model.pb", "two/b.keras"], "one of them"),
    "SavedModel; it holds 1": (["1/saved_model.pb", "1/fingerprint.pb"], "/1"),
    "it holds 1, 2": ([f"{n}/{name}.pb" for n in (1, 2) for name in ("fingerprint", "saved_model")], "one of them"),
    "saved_model.pb is missing": (["variables/variables.index"], "again"),
    "SavedModel: saved_model.pb is missing": (["fingerprint.pb"], "again"),
}


def assert_says(path: Path, message: str | None, hint: str | None) -> None:
    problem = not_a_model(path)
    if message is None:
        assert problem is None
        return
    assert problem is not None and message in problem.message
    assert problem.file == str(path)
    assert hint is None if problem.hint is None else hint is not None and hint in problem.hint


@pytest.mark.parametrize("name", FILES)
def test_of_a_file(name: str, tmp_path: Path) -> None:
    content, message, hint = FILES[name]
    (tmp_path / name).write_bytes(content)
    assert_says(tmp_path / name, message, hint)


@pytest.mark.parametrize("name", ARCHIVES)
def test_of_an_archive(name: str, tmp_path: Path) -> None:
    names, message, hint = ARCHIVES[name]
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for inside in names:
            archive.writestr(inside, b"")
    assert_says(tmp_path / name, message, hint)


def test_of_a_litert_file_of_a_result(tmp_path: Path) -> None:
    (tmp_path / "net_int8.tflite").write_bytes(LITERT)
    (tmp_path / "net_int8_fakequant.pb").write_bytes(GRAPH)
    problem = not_a_model(tmp_path / "net_int8.tflite")
    assert problem is not None and problem.hint is not None
    assert f"calibrant verify {tmp_path} --data" in problem.hint
    assert problem.hint.endswith(str(tmp_path / "net_int8_fakequant.pb"))


def test_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert_says(tmp_path / "a.npy", "is a NumPy array", "--data")


@pytest.mark.parametrize("message", FOLDERS)
def test_of_a_folder(message: str, tmp_path: Path) -> None:
    names, hint = FOLDERS[message]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert_says(tmp_path, message, hint)


def test_a_graph_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "m.pb").write_bytes(GRAPH)
    assert not_a_model(tmp_path / "m.pb") is None


@pytest.mark.parametrize("url", ["gs://bucket/model.pb", "file:///tmp/model.pb", "https://host/model.keras"])
def test_urls_are_shown_as_they_were_given(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{url}: is no path of a model(.|\n)*copy the file first"):
        load(url)
    done = run("quantize", url, "--data", tmp_path, "--out", tmp_path / "out")
    assert done.code == 2 and f"{url}: is no path" in done.err


def test_empty_path() -> None:
    with pytest.raises(ModelError, match="the path of the model is empty"):
        load("")


@pytest.mark.parametrize("name", ["m.onnx", "m.tflite", "g.pb", "empty.pb", "config.json"])
def test_commands_and_python_say_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0])
    with pytest.raises(ModelError, match=FILES[name][1]):
        load(path)
    for words in (["inspect", path], ["quantize", path, "--data", path, "--out", tmp_path / "out"]):
        done = run(*words)
        assert done.code == 2 and FILES[name][1] in done.err
    assert not (tmp_path / "out").exists()
