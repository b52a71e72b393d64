"""``.npy``, ``.npz`` and idx files: the same batches as from memory, never the whole file at once."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from calibrant.data.open_data import ImageOptions, InputSpec, open_data
from calibrant.errors import DataError

IMAGE = InputSpec("image", (None, 4, 4, 1), np.float32)
CODE = InputSpec("code", (None, 3), np.int32)
DATA = np.random.default_rng(3).standard_normal((40, 4, 4, 1)).astype(np.float32)
CODES = np.arange(120, dtype=np.int64).reshape(40, 3)


def read(source, inputs=(IMAGE,), **options):
    batches = list(open_data(source, list(inputs), **options))
    return {spec.name: np.concatenate([batch[spec.name] for batch in batches]) for spec in inputs}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_every_storage_gives_the_same_values(tmp_path, order, dtype, kind):
    array = np.asarray(DATA, dtype=dtype, order=order)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    save = {"npy": np.save, "npz": lambda file, one: np.savez(file, image=one)}.get(kind)
    save(path, array) if save else np.savez_compressed(path, image=array)
    batches = open_data(path, [IMAGE])
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in batches]), DATA)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_memory_is_that_of_a_batch(tmp_path, suffix):
    array = np.zeros((400, 64, 64), np.float32)
    path = tmp_path / f"a.{suffix}"
    np.save(path, array) if suffix == "npy" else np.savez(path, x=array)
    del array
    batches = open_data(path, [InputSpec("x", (None, 64, 64), np.float32)], batch_size=4)
    tracemalloc.start()
    many = sum(1 for _ in batches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert many == 100 and peak < 1_500_000, "the file has 6.5 MB, a batch 65 KB"


class TestNpz:
    def test_only_array_that_fits_is_taken_whatever_its_name(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=DATA[..., 0], y=np.zeros(40, np.int64), label_names=np.array(["a", "b"]))
        np.testing.assert_array_equal(read(tmp_path / "a.npz")["image"], DATA)

    def test_array_of_the_very_shape_comes_before_one_that_could_be_reshaped(self, tmp_path):
        np.savez(tmp_path / "a.npz", flat=np.zeros((40, 16), np.float32), x=DATA)
        np.testing.assert_array_equal(read(tmp_path / "a.npz")["image"], DATA)

    def test_several_that_fit_are_listed(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_test=DATA, x_train=DATA)
        with pytest.raises(DataError, match=r"several arrays fit: x_test, x_train(.|\n)*a\.npz:NAME"):
            open_data(tmp_path / "a.npz", [IMAGE])

    def test_chosen_array_and_samples(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_test=DATA, x_train=DATA + 1)
        np.testing.assert_array_equal(read(f"{tmp_path}/a.npz:x_train")["image"], DATA + 1)
        np.testing.assert_array_equal(read(f"{tmp_path}/a.npz:x_test[8:]")["image"], DATA[8:])
        np.testing.assert_array_equal(read(f"{tmp_path}/a.npz:x_test[3:30]", batch_size=7)["image"], DATA[3:30])

    def test_none_that_fits_lists_what_there_is(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=DATA[:, :3], y=np.zeros(40, np.int64))
        with pytest.raises(DataError, match=r"none that fits float32 \[\?, 4, 4, 1\](.|\n)*x float32 \[40, 3, 4, 1\]"):
            open_data(tmp_path / "a.npz", [IMAGE])

    @pytest.mark.parametrize("part", ["[-3:]", "[::2]", "[3]", "[a:b]", "[]"])
    def test_what_a_slice_may_be(self, tmp_path, part):
        np.savez(tmp_path / "a.npz", x=DATA)
        np.save(tmp_path / "a.npy", DATA)
        for word, message in (("a.npz:x", "no array"), ("a.npz", "no such file"), ("a.npy", "no such file")):
            with pytest.raises(
                DataError, match=rf"{message}(.|\n)*hint: \[start:stop\] chooses samples: whole numbers"
            ):
                open_data(f"{tmp_path}/{word}{part}", [IMAGE])

    def test_no_arrays_at_all(self, tmp_path):
        np.savez(tmp_path / "a.npz")
        with pytest.raises(DataError, match="the archive holds no arrays") as caught:
            open_data(tmp_path / "a.npz", [IMAGE])
        assert "a.npz:NAME" not in str(caught.value)

    def test_two_arrays_of_one_name(self, tmp_path):
        for array in (DATA, DATA + 1):
            np.save(tmp_path / "x.npy", array)
            with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.write(tmp_path / "x.npy", "x.npy")
        with pytest.raises(DataError, match="two arrays of the file are called 'x'"):
            open_data(tmp_path / "a.npz", [IMAGE])

    def test_unknown_array_names_the_nearest(self, tmp_path):
        np.savez(tmp_path / "a.npz", x_train=DATA)
        with pytest.raises(DataError, match="no array 'x_trian'(.|\n)*did you mean 'x_train'"):
            open_data(f"{tmp_path}/a.npz:x_trian", [IMAGE])

    def test_several_inputs_by_name(self, tmp_path):
        np.savez(tmp_path / "a.npz", code=CODES, image=DATA, other=DATA)
        arrays = read(tmp_path / "a.npz", (IMAGE, CODE))
        np.testing.assert_array_equal(arrays["code"], CODES)
        np.testing.assert_array_equal(arrays["image"], DATA)

    def test_several_inputs_with_a_wrong_name(self, tmp_path):
        np.savez(tmp_path / "a.npz", codes=CODES, image=DATA)
        with pytest.raises(DataError, match="'code': no array of this name(.|\n)*did you mean 'codes'"):
            open_data(tmp_path / "a.npz", [IMAGE, CODE])

    def test_scalar_member_is_fed_with_every_batch(self, tmp_path):
        np.savez(tmp_path / "a.npz", image=DATA, keep=np.float32(0.5))
        batches = list(open_data(tmp_path / "a.npz", [IMAGE, InputSpec("keep", (), np.float32)]))
        assert [float(batch["keep"]) for batch in batches] == [0.5] * 3

    def test_several_inputs_with_names_of_their_own(self, tmp_path):
        """What the hint proposes works."""
        path = tmp_path / "a.npz"
        np.savez(path, rays=np.zeros((4, 3), np.float32), steps=np.ones((4, 2), np.float32))
        inputs = [InputSpec(f"args_{number}", (None, size), np.dtype(np.float32)) for number, size in ((0, 3), (1, 2))]
        with pytest.raises(DataError, match=r"takes float32 \[\?, 3\](.|\n)*in the order of the inputs") as caught:
            open_data(str(path), inputs)
        several = str(caught.value).rpartition(": ")[2]
        assert several == f"{path}:NAME;{path}:NAME"
        (batch,) = open_data(several.replace("NAME", "rays", 1).replace("NAME", "steps"), inputs)
        assert batch["args_0"].shape == (4, 3) and batch["args_1"].all()

    def test_not_a_number_names_file_array_and_sample(self, tmp_path):
        bad = DATA.copy()
        bad[37, 0, 0, 0] = np.nan
        np.savez(tmp_path / "a.npz", x=bad)
        with pytest.raises(DataError, match=r"a\.npz:x: input 'image': NaN at sample 37"):
            read(tmp_path / "a.npz")

    def test_python_objects_are_not_loaded(self, tmp_path):
        np.savez(tmp_path / "a.npz", image=np.array([{}, None], dtype=object))
        with pytest.raises(DataError, match="Python objects"):
            open_data(f"{tmp_path}/a.npz:image", [IMAGE])


class TestDamaged:
    @pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.gz", "a.idx"])
    @pytest.mark.parametrize("content", [b"", b"\x00", b"not an array at all" * 50])
    def test_files_of_another_format(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            open_data(tmp_path / name, [IMAGE])

    def test_structured_records(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros(3, [("pixels", np.float32), ("label", np.int32)]))
        message = r"the data are structured records \(pixels, label\), the input wants float32(.|\n)*array\['pixels'\]"
        with pytest.raises(DataError, match=message):
            read(tmp_path / "a.npy")

    def test_truncated_npy(self, tmp_path):
        np.save(tmp_path / "a.npy", DATA)
        whole = (tmp_path / "a.npy").read_bytes()
        (tmp_path / "a.npy").write_bytes(whole[:-100])
        with pytest.raises(DataError, match=rf"is {len(whole)} bytes with the header, the file has {len(whole) - 100}"):
            open_data(tmp_path / "a.npy", [IMAGE])

    def test_truncated_npz(self, tmp_path):
        np.savez(tmp_path / "a.npz", image=DATA)
        (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:1500])
        with pytest.raises(DataError, match="cannot be read"):
            open_data(tmp_path / "a.npz", [IMAGE])

    def test_npz_with_a_flipped_bit(self, tmp_path):
        np.savez(tmp_path / "a.npz", image=DATA)
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[1000] ^= 1
        (tmp_path / "a.npz").write_bytes(bytes(content))
        with pytest.raises(DataError, match="Bad CRC-32"):
            read(tmp_path / "a.npz")

    def test_npz_member_shorter_than_its_header_says(self, tmp_path):
        np.save(tmp_path / "a.npy", DATA)
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("image.npy", (tmp_path / "a.npy").read_bytes()[:-64])
        with pytest.raises(DataError, match="2560 bytes of data were expected, 2496 found"):
            read(tmp_path / "a.npz")

    def test_empty_array(self, tmp_path):
        np.save(tmp_path / "a.npy", DATA[:0])
        with pytest.raises(DataError, match="holds no values"):
            open_data(tmp_path / "a.npy", [IMAGE])

    def test_directory_named_like_a_file(self, tmp_path):
        (tmp_path / "a.npy").mkdir()
        with pytest.raises(DataError, match="the folder is empty"):
            open_data(tmp_path / "a.npy", [IMAGE])


class TestFolderOfArrays:
    def test_one_per_input(self, tmp_path):
        np.save(tmp_path / "image.npy", DATA)
        np.save(tmp_path / "code.npy", CODES)
        arrays = read(tmp_path, (IMAGE, CODE))
        np.testing.assert_array_equal(arrays["code"], CODES)

    def test_the_only_one(self, tmp_path):
        np.save(tmp_path / "whatever.npy", DATA)
        np.testing.assert_array_equal(read(tmp_path)["image"], DATA)

    def test_samples_chosen(self, tmp_path):
        np.save(tmp_path / "a.npy", DATA)
        np.testing.assert_array_equal(read(f"{tmp_path}/a.npy[:10]")["image"], DATA[:10])

    def test_window_behind_the_end_is_empty(self, tmp_path):
        np.save(tmp_path / "a.npy", DATA)
        with pytest.raises(DataError, match="there are no samples"):
            open_data(f"{tmp_path}/a.npy[50:]", [IMAGE])


class TestIdx:
    @staticmethod
    def write(path, array, code):
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
        content = head + array.astype(array.dtype.newbyteorder(">")).tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    @pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte", "images.idx"])
    def test_images(self, tmp_path, name):
        images = np.random.default_rng(1).integers(0, 256, (20, 4, 4)).astype(np.uint8)
        path = self.write(tmp_path / name, images, 0x08)
        np.testing.assert_array_equal(read(path)["image"][..., 0], images)
        flat = InputSpec("pixels", (None, 16), np.float32)
        scaled = read(path, [flat], image_options=ImageOptions(scale=1 / 255))["pixels"]
        np.testing.assert_allclose(scaled, images.reshape(20, 16) / 255, rtol=1e-6)

    def test_floats(self, tmp_path):
        path = self.write(tmp_path / "a.idx", DATA, 0x0D)
        np.testing.assert_array_equal(read(f"{path}[5:9]")["image"], DATA[5:9])

    def test_truncated(self, tmp_path):
        path = self.write(tmp_path / "a.idx", DATA, 0x0D)
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(DataError, match="2560 bytes of data were expected, 2556 found"):
            read(path)

    def test_truncated_gzip(self, tmp_path):
        path = self.write(tmp_path / "a.gz", DATA, 0x0D)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DataError, match=r"a\.gz: the file cannot be read"):
            read(path)

    @pytest.mark.parametrize("place", [-8, -1, -100])
    def test_damaged_gzip(self, tmp_path, place):
        """The checksum is at the end, behind the values; a slice in front of them is read without it."""
        images = np.random.default_rng(1).integers(0, 256, (20, 4, 4)).astype(np.uint8)
        path = self.write(tmp_path / "a.gz", images, 0x08)
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.gz: the file cannot be read"):
            read(path)
        if place > -100:
            np.testing.assert_array_equal(read(f"{path}[:16]")["image"][..., 0], images[:16])

    def test_damaged_gzip_with_values_behind_the_last(self, tmp_path):
        path = self.write(tmp_path / "a.gz", np.zeros((20, 4, 4), np.uint8), 0x08)
        content = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(content + bytes(3 << 20)))
        assert len(read(path)["image"]) == 20
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
        with pytest.raises(DataError, match=r"a\.gz: the file cannot be read"):
            read(path)
        path.write_bytes(gzip.compress(content + bytes(257 << 20), 1))
        with pytest.raises(DataError, match="it goes on for more than 256 MiB after the values"):
            read(path)


def test_unknown_kind_lists_the_known(tmp_path):
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(DataError, match=r"\.txt is no known kind of data(.|\n)*allowed: .*\.npz"):
        open_data(tmp_path / "a.txt", [IMAGE])


def test_file_for_one_of_two_inputs(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    with pytest.raises(DataError, match="data for one input, the model has 2: image, code"):
        open_data(tmp_path / "a.npy", [IMAGE, CODE])


@pytest.mark.parametrize("samples", [40, 20_000])
def test_no_room_to_unpack_names_the_temporary_folder(tmp_path, monkeypatch, samples):
    """Not the file, which is whole, whether a write fails or that of what was buffered."""
    resource = pytest.importorskip("resource")
    array = np.asfortranarray(np.zeros((samples, 4, 4, 1), np.float32))
    np.savez(tmp_path / "a.npz", image=array)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (array.nbytes - 1, limits[1]))
    try:
        with pytest.raises(DataError) as raised:
            open_data(tmp_path / "a.npz", [IMAGE])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (problem,) = raised.value.problems
    assert problem.file == str(tmp_path) and "a.npz:image is column-major" in problem.message
    assert "TMPDIR" in problem.hint and "np.ascontiguousarray" in problem.hint


def test_a_damaged_file_is_the_error_where_it_is_unpacked(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.asfortranarray(DATA))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[400] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: the file cannot be read: Bad CRC"):
        open_data(tmp_path / "a.npz", [IMAGE])
