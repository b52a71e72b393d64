"""Small files that would become large are refused before they are unpacked."""

import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from calibrant import archives
from calibrant.calibration.state import _read
from calibrant.config.load import load_config
from calibrant.data.numpy_files import NpzFile, npy_column
from calibrant.errors import ConfigError, DataError, ModelError
from calibrant.graph.reading import keras_bounds
from calibrant.graph.reading.load import load
from calibrant.json_text import parse_json, read_json

ZEROS = 2**20 * 34
METADATA = json.dumps({"keras_version": "3.8.0"})


def archive(path, entries):
    """An archive; an entry of a number is so many zeros, an entry of two has the second behind the first."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in entries.items():
            head, zeros = content if isinstance(content, tuple) else (content, 0)
            with file.open(name, "w") as stream:
                stream.write(head.encode() if isinstance(head, str) else head)
                for _ in range(0, zeros, 2**20):
                    stream.write(bytes(2**20))
    return path


def header(shape, descr="<f4", fortran=False):
    """That of a .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return stream.getvalue()


@pytest.fixture(autouse=True)
def less_is_free(monkeypatch):
    monkeypatch.setattr(archives, "FREE_SIZE", 2**25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bombs")


class TestArchives:
    def test_what_is_small_may_be_packed_tightly(self, tmp_path):
        path = archive(tmp_path / "a.zip", {"zeros": (b"", 2**20 * 8)})
        with archives.open_archive(path) as opened:
            archives.check_unpacked_size(opened.infolist())
            assert len(opened.read("zeros")) == 2**20 * 8

    def test_ratio(self):
        free = archives.FREE_SIZE
        archives.check_growth(free, 1)
        archives.check_growth(free + 1, free // 50)
        with pytest.raises(zipfile.BadZipFile, match="at most 100 times"):
            archives.check_growth(free + 1, free // 200)

    def test_entries_that_overlap(self, tmp_path):
        path = archive(tmp_path / "a.zip", {"a": b"x" * 5000, "b": bytes(range(256)) * 20})
        content = path.read_bytes()
        first = content.index(b"PK\x01\x02")
        path.write_bytes(content[: first + 20] + struct.pack("<I", 10**6) + content[first + 24 :])
        with pytest.raises(zipfile.BadZipFile, match="overlap"), archives.open_archive(path):
            pass

    def test_the_list_of_entries_is_bounded(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archives, "DIRECTORY_LIMIT", 1 << 16)
        path = archive(tmp_path / "many.npz", {f"{number}.npy": b"" for number in range(3000)})
        with pytest.raises(DataError, match="list of entries"):
            NpzFile(path)

    def test_a_comment_after_the_list(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.comment = b"x" * 60_000
            file.writestr("a", "b")
        with archives.open_archive(tmp_path / "a.zip") as opened:
            assert opened.namelist() == ["a"]


class TestKeras:
    @pytest.mark.parametrize("large", ["metadata.json", "config.json", "model.weights.h5"])
    def test_zeros(self, folder, large):
        entries = {"metadata.json": METADATA, "config.json": "{}", "model.weights.h5": b"", large: (b" ", ZEROS)}
        refused(archive(folder / "zeros.keras", entries), "bytes would become")

    @pytest.mark.parametrize("large", ["metadata.json", "config.json"])
    def test_texts(self, folder, large):
        entries = {"metadata.json": METADATA, "config.json": "{}", large: (b" ", keras_bounds.CONFIG_LIMIT + 2**20)}
        refused(archive(folder / "text.keras", entries), f"{large} is larger than 16 MiB")

    @pytest.mark.parametrize(
        "text, message",
        [
            ("[" * 100_000, "nested too deeply"),
            ("[" * 300 + "]" * 300, "more than 200 levels"),
            (json.dumps([{"class_name": "ReLU"}] * 20_001), "20,001 objects"),
        ],
        ids=["deep", "nested", "objects"],
    )
    def test_descriptions(self, folder, text, message):
        refused(archive(folder / "deep.keras", {"metadata.json": METADATA, "config.json": text}), message)

    def test_deep_metadata(self, folder):
        refused(archive(folder / "meta.keras", {"metadata.json": "[" * 100_000, "config.json": "{}"}), "too deeply")

    def test_an_archive_in_an_archive(self, folder):
        archive(folder / "inner.zip", {"config.json": (b"", ZEROS)})
        refused(
            archive(folder / "outer.keras", {"model.keras": (folder / "inner.zip").read_bytes()}), "is a zip archive"
        )

    @pytest.mark.parametrize(
        "shape, text, message",
        [
            ((2**20, 2**20), "{}", "4,398,046,511,104"),
            ((2, 2), "[" * 100_000, "nested too deeply"),
            ((2, 2), " " * 2**24 + " ", "larger than 16 MiB"),
        ],
        ids=["arrays", "deep", "large"],
    )
    def test_hdf5(self, folder, shape, text, message):
        import h5py

        with h5py.File(folder / "a.h5", "w", libver="latest") as file:
            file.attrs.create("model_config", text)
            file.attrs["keras_version"] = "2.15.0"
            file.create_dataset("d/kernel", shape, "f4", chunks=(min(shape[0], 256),) * 2, compression="gzip")
        refused(folder / "a.h5", message)

    def test_a_deep_sequential_model_is_built_once(self, tmp_path):
        """Building it anew after every layer takes a minute for 300 layers."""
        import keras

        model = keras.Sequential([keras.Input((3,)), *(keras.layers.ReLU(name=f"r{n}") for n in range(5))])
        model.save(tmp_path / "model.keras")
        built = []
        build = keras.Sequential._maybe_rebuild
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.Sequential, "_maybe_rebuild", lambda model: (built.append(model), build(model)))
            graph = load(str(tmp_path / "model.keras"))
        assert len(built) <= 1 and len([node for node in graph.nodes.values() if node.op == "Relu"]) == 5
        assert len(keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]).layers) == 1


class TestArrays:
    @pytest.mark.parametrize(
        "head, message",
        [
            (header((2**40, 8)), "35,184,372,088,832 bytes, its entry has 128"),
            (header((2**62, 2**62)), "its entry has 128"),
            (header((), "<U500000000"), "its entry has 128"),
            (header((-1, 8)), r"its shape is \[-1, 8\]"),
            (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1), "its header is said to have 4,294,967,295"),
            (b"\x93NUMPY\x02\x00\x01", "read"),
            (b"PK\x03\x04" * 50, "magic"),
        ],
        ids=["samples", "overflow", "string", "negative", "header", "cut", "archive"],
    )
    def test_claims(self, folder, head, message):
        path = archive(folder / "claims.npz", {"x.npy": head})
        with pytest.raises(DataError, match=message) as caught:
            NpzFile(path).column("x")
        assert len(str(caught.value).splitlines()) <= 2
        (folder / "claims.npy").write_bytes(head)
        with pytest.raises(DataError):
            npy_column(folder / "claims.npy", "x")

    @pytest.mark.parametrize("fortran, shape", [(True, (ZEROS // 8, 2)), (False, (1, ZEROS // 4)), (False, ())])
    def test_zeros(self, folder, fortran, shape):
        head = header(shape, "<f4" if shape else f"|S{ZEROS}", fortran)
        path = archive(folder / "zeros.npz", {"x.npy": (head, ZEROS)})
        with pytest.raises(DataError, match="bytes would become"):
            NpzFile(path).column("x")

    def test_zeros_are_read_batch_by_batch(self, folder):
        """However tightly they are packed: images may be black."""
        path = archive(folder / "black.npz", {"x.npy": (header((ZEROS // 512, 128)), ZEROS)})
        tracemalloc.start()
        try:
            first = next(iter(NpzFile(path).column("x").chunks(4)))
            assert first.array.shape == (4, 128) and tracemalloc.get_traced_memory()[1] < 2**24
        finally:
            tracemalloc.stop()

    def test_a_state(self, folder):
        path = archive(folder / "state.npz", {"version.npy": (header((ZEROS // 4,)), ZEROS)})
        with pytest.raises(DataError, match="bytes would become"):
            _read(path)


class TestJson:
    def test_files(self, tmp_path, monkeypatch):
        path = tmp_path / "a.json"
        path.write_text("[" * 100_000)
        with pytest.raises(ValueError, match="nested too deeply"):
            read_json(path)
        monkeypatch.setattr("calibrant.json_text.SIZE_LIMIT", 10)
        path.write_text("[1, 2, 3, 4]")
        with pytest.raises(ValueError, match="larger than"):
            read_json(path)
        assert parse_json("[1, 2]") == [1, 2]

    def test_a_configuration_of_many_values(self, tmp_path, monkeypatch):
        monkeypatch.setattr("calibrant.config.json_tree._VALUES", 1000)
        (tmp_path / "a.json").write_text(json.dumps({"version": 1, "x": [1] * 1000}))
        with pytest.raises(ConfigError, match="more than 1,000 keys and values"):
            load_config(tmp_path / "a.json")


def refused(path, message):
    """One error, with little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message) as caught:
            load(str(path))
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert len(caught.value.problems) == 1 and str(path) in str(caught.value)
