"""Folders of pictures: decoding, cutting, colour order, layout and values."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from PIL import Image

from calibrant.data import resolve_path
from calibrant.data.open_data import ImageOptions, InputSpec, open_data
from calibrant.errors import DataError
from graphs import tf

COLOUR = InputSpec("image", (None, 8, 8, 3), np.float32)
PICTURES = np.random.default_rng(5).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for index, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    (tmp_path / "labels.txt").write_text("ignored")
    return tmp_path


def read(folder, spec=COLOUR, **options):
    batches = list(open_data(folder, [spec], batch_size=2, image_options=ImageOptions(**options)))
    return np.concatenate([batch[spec.name] for batch in batches])


def test_a_folder_of_many_other_things_is_not_walked_to_its_end(folder, monkeypatch):
    monkeypatch.setattr(resolve_path, "_MOST_OTHERS", 20)
    for number in range(30):
        (folder / f"folder{number}").mkdir()
    with pytest.raises(DataError, match="of the first 36 files and folders, only 5 are images"):
        read(folder)


def test_pixels_as_they_are_in_the_order_of_the_names(folder):
    np.testing.assert_array_equal(read(folder), PICTURES)
    assert open_data(folder, [COLOUR], batch_size=2).count == 3


def test_a_seed_is_no_negative_number(folder):
    with pytest.raises(DataError, match="shuffle is -1\n    allowed: a whole number >= 0$"):
        open_data(folder, [COLOUR], shuffle=-1)
    assert open_data(folder, [COLOUR], shuffle=np.int64(0)).samples == 5


def test_pixels_lie_as_they_are_stored_whatever_exif_says(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(PICTURES[0]).save(tmp_path / "0.png", exif=tags)
    np.testing.assert_array_equal(read(tmp_path), PICTURES[:1])


def test_colour_order(folder):
    np.testing.assert_array_equal(read(folder, colour="BGR"), PICTURES[..., ::-1])


def test_values(folder):
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = (PICTURES / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(read(folder, scale=1 / 255, mean=mean, std=std), expected, rtol=1e-5, atol=1e-6)


def test_values_with_channels_first(folder):
    first = InputSpec("image", (None, 3, 8, 8), np.float32)
    read_first = read(folder, first, mean=(10.0, 20.0, 30.0))
    np.testing.assert_array_equal(read_first, PICTURES.transpose(0, 3, 1, 2) - np.array([10, 20, 30]).reshape(3, 1, 1))


def test_layout_where_the_model_does_not_say(folder):
    unknown = InputSpec("image", None, np.float32)
    assert read(folder, unknown, size=(8, 8), layout="NCHW").shape == (5, 3, 8, 8)
    assert read(folder, unknown, size=(8, 8)).shape == (5, 8, 8, 3)


def test_grey(folder):
    grey = read(folder, InputSpec("image", (None, 8, 8, 1), np.uint8))
    expected = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in PICTURES])
    np.testing.assert_array_equal(grey[..., 0], expected)
    np.testing.assert_array_equal(read(folder, InputSpec("image", (None, 8, 8), np.uint8)), expected)


@pytest.mark.parametrize("shape", [(8, 8, 3), (None, None, 3), (8, None, 3)])
def test_one_picture_a_run(folder, shape):
    spec, mean = InputSpec("image", shape, np.float32), np.array([1, 2, 3])
    batches = open_data(folder, [spec], image_options=ImageOptions(size=(8, 8), mean=(1, 2, 3)))
    np.testing.assert_array_equal([batch["image"] for batch in batches], PICTURES - mean)
    assert batches.usage() == (5, 5)


def test_rows_of_a_colour_are_grey_pictures(tmp_path):
    Image.fromarray(PICTURES[0]).save(tmp_path / "0.png")
    assert read(tmp_path, InputSpec("image", (None, 8, 3), np.float32)).shape == (1, 8, 3)


def test_flat_input_with_a_size(folder):
    assert read(folder, InputSpec("image", (None, 64), np.float32), size=(8, 8)).shape == (5, 64)


def test_size_of_the_model(folder):
    assert read(folder, InputSpec("image", (None, 4, 6, 3), np.float32)).shape == (5, 4, 6, 3)


def test_crop_keeps_the_centre(folder):
    cut = read(folder, InputSpec("image", (None, 4, 4, 3), np.float32), crop=0.5)
    np.testing.assert_array_equal(cut, PICTURES[:, 2:6, 2:6])


def test_resized_by_the_shorter_side_then_cut(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    cut = read(tmp_path, InputSpec("image", (None, 4, 4, 3), np.float32), resize_side=5, interpolation="nearest")
    np.testing.assert_array_equal(cut, np.full((1, 4, 4, 3), 200))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.fromarray(PICTURES[0]).convert(mode).save(tmp_path / f"a.{suffix}")
    assert read(tmp_path).shape == (1, 8, 8, 3)


def test_pictures_in_sub_folders_sorted_by_path(tmp_path):
    for index, name in enumerate(["b/0.png", "a/1.png", "a/0.JPEG"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (index * 100,) * 3).save(tmp_path / name)
    assert [picture.max() for picture in read(tmp_path)] == [200, 100, 0]


def test_linked_folders_are_followed_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8), (50,) * 3).save(tmp_path / "elsewhere" / "0.png")
    data = tmp_path / "data"
    (data / "b").mkdir(parents=True)
    Image.new("RGB", (8, 8), (100,) * 3).save(data / "b" / "0.png")
    (data / "a").symlink_to(tmp_path / "elsewhere")
    (data / "b" / "loop").symlink_to(data)
    (data / "c").symlink_to(data / "b")
    assert [picture.max() for picture in read(data)] == [50, 100]


def test_a_sub_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "0.png")
    scan = os.scandir

    def refusing(folder):
        if str(folder).endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"/b: .*cannot be read: Permission denied"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_damaged_file_is_named(folder, content):
    (folder / "3.png").write_bytes(content)
    with pytest.raises(DataError, match=r"3\.png: input 'image': the picture cannot be read"):
        read(folder)


def test_truncated_file_is_named(folder):
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1\.png"):
        read(folder)


def test_a_pipe_among_the_pictures_is_refused(folder):
    os.mkfifo(folder / "9.png")
    with pytest.raises(DataError, match="9.png: is a pipe or device"):
        read(folder)


def test_a_shorter_side_below_the_size_of_the_model(folder):
    with pytest.raises(DataError, match="image option resize_side: 4 is out of range\n    allowed: >= 8"):
        read(folder, resize_side=4)


@pytest.mark.parametrize("option", [{"scale": 1e39}, {"mean": 1e308}, {"std": 1e-320}], ids=str)
def test_numbers_that_float32_does_not_hold(option):
    with pytest.raises(DataError, match=f"image option {next(iter(option))}: .* is out of range"):
        ImageOptions(**option)


@pytest.mark.parametrize("options", [{"std": 1e-45}, {"scale": 3e38}, {"scale": 3e38, "mean": 3e38}])
def test_values_that_overflow_are_one_error(folder, options):
    with np.errstate(all="raise"), pytest.raises(DataError, match="Inf at sample 0|NaN at sample 0"):
        read(folder, **options)


@pytest.mark.parametrize("stored, channels", [(1, 1), (1, 3), (2, 1), (2, 3), (3, 3), (4, 3)])
def test_of_sixteen_bits_the_high_ones_are_taken_as_tensorflow_does(tmp_path, stored, channels):
    values = np.random.default_rng(6).integers(0, 1 << 16, (8, 8, stored)).astype(np.uint16)
    values[0, 0], values[0, 1] = 255, 256
    content = tf.io.encode_png(values).numpy()
    (tmp_path / "0.png").write_bytes(content)
    found = read(tmp_path, InputSpec("image", (None, 8, 8, channels), np.uint8))
    np.testing.assert_array_equal(found[0], tf.io.decode_image(content, channels=channels))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_numbers_without_a_known_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.zeros((8, 8), dtype)).save(tmp_path / "0.png", format="TIFF")
    with pytest.raises(DataError, match=r"0\.png: the picture has pixels of mode (I;16|I|F),(?s:.*)in a \.npy file"):
        read(tmp_path)


def test_unknown_size(folder):
    with pytest.raises(DataError, match="size of the pictures is not known"):
        open_data(folder, [InputSpec("image", (None, None, None, 3), np.float32)])


def test_input_that_is_no_picture(folder):
    with pytest.raises(DataError, match="pictures have 1 or 3 channels"):
        open_data(folder, [InputSpec("image", (None, 8, 8, 40), np.float32)])


def test_floats_for_an_integer_input(folder):
    with pytest.raises(DataError, match="scale, mean and std make floats, the input wants uint8"):
        read(folder, InputSpec("image", (None, 8, 8, 3), np.uint8), scale=0.5)


def test_wrong_number_of_means(folder):
    with pytest.raises(DataError, match="mean has 2 values"):
        read(folder, mean=(1.0, 2.0))


def test_every_option_out_of_range_is_listed():
    with pytest.raises(DataError) as caught:
        ImageOptions(
            size=(0, 8), crop=1.5, scale=0, mean=float("nan"), std=0, colour="GRB", layout="HWC", interpolation="x"
        )
    assert len(caught.value.problems) == 8
    assert "image option colour: 'GRB' is out of range\n    allowed: RGB or BGR" in str(caught.value)
    assert "image option mean: nan is out of range\n    allowed: a finite number" in str(caught.value)
