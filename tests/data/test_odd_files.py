"""Headers and pictures that are not what they say: one error each, before anything large is made."""

import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from calibrant.data.images import ImageOptions, ImageSource
from calibrant.data.input_spec import InputSpec
from calibrant.data.numpy_files import NpzFile, npy_column
from calibrant.errors import DataError

PICTURE = InputSpec("x", (None, 8, 8, 3), np.float32)


def npy(header):
    """A file with this header, which need not be one."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize(
    "shape",
    ["(" * 3000, "(-1, 2)", f"({2**70}, 0)", "(True, 2)", "(1.0, 2)", "2", "(__import__('os').abort(),)"],
    ids=["nested", "negative", "huge and empty", "truth value", "float", "number", "code"],
)
def test_shapes_in_headers(shape, kind, tmp_path):
    content, path = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"), tmp_path / f"x.{kind}"
    if kind == "npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        NpzFile(path) if kind == "npz" else npy_column(path, str(path))


def write_npy(path, content):
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
        return NpzFile(path).column("x")
    path.write_bytes(content)
    return npy_column(path, str(path))


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("shape", ["(2, 2)", "()"])
def test_headers_up_to_64_kib(kind, shape, tmp_path):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    column = write_npy(tmp_path / f"x.{kind}", npy(head.ljust(60_000)) + bytes(16))
    assert column.shape == ((2, 2) if shape == "(2, 2)" else ())
    with pytest.raises(DataError, match="its header is said to have 65,537 bytes"):
        write_npy(
            tmp_path / f"x.{kind}", b"\x93NUMPY\x02\x00" + struct.pack("<I", 65_537) + head.ljust(65_537).encode()
        )


@pytest.mark.parametrize(
    "version, said", [((3, 0), "3.0 .* is for named fields"), ((9, 0), "9.0 .* is not known; 1.0")]
)
def test_versions_of_the_format(version, said, tmp_path):
    with pytest.raises(DataError, match=said):
        write_npy(tmp_path / "x.npy", b"\x93NUMPY" + bytes(version) + bytes(20))


def png(width, height):
    """A black picture of one bit a pixel, which is small in the file."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * min(height, 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content, options, said",
    [
        (png(20_000, 20_000), {}, "exceeds limit"),
        (png(60_000, 1), {"resize_side": 256}, "60000 x 1 pixels become 15360000 x 256"),
        (png(0, 0), {}, "cannot be read"),
        (b"BM" + bytes(52), {}, "cannot be read"),
        (b"hello", {}, "cannot be read"),
    ],
    ids=["many pixels", "one row", "no pixels", "no header", "no picture"],
)
def test_pictures(content, options, said, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(ImageSource([path], str(tmp_path), PICTURE, ImageOptions(**options)).chunks(1))


def test_the_bound_of_pixels_is_pillows():
    from calibrant.data.images import MOST_PIXELS

    assert 2 * Image.MAX_IMAGE_PIXELS == MOST_PIXELS
