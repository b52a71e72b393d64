"""Commands replace files of the kind that they write, and no others."""

from __future__ import annotations

import json

import numpy as np
import pytest

import calibrant
from command_line import run
from graphs import graph_def, numbers, save, small_network

DATA = numbers(8, 6, 6, 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    save(graph_def(small_network), folder / "net.pb")
    np.save(folder / "x.npy", DATA)
    calibrant.quantize(folder / "net.pb", None, DATA, folder / "out")
    return folder


@pytest.fixture
def tuned(place, tmp_path):
    """Runs ``calibrant tune`` where a file of some content is there already."""

    def over(content):
        path = tmp_path / "there"
        path.write_bytes(content)
        done = run("tune", place / "net.pb", "--data", place / "x.npy", "--tolerance", 50, "--out", path)
        return done, path.read_bytes() == content

    return over


@pytest.mark.parametrize(
    "content",
    [b"\x93NUMPY\x01\0", b"\xff\xfe", b"dear diary: nothing", b'{"name": "package"}', b"batch_nums : 2", b"\n!"],
)
def test_tune_keeps_what_is_no_configuration(content, tuned):
    done, is_kept = tuned(content)
    assert done.code == 2 and is_kept
    assert "there: is there already, and is no configuration file" in done.err and "another name" in done.err


@pytest.mark.parametrize(
    "content",
    [b"", b"# later\n\n", b"# mine\nbatch_num : 2\n", b"batch_num : oops"],
)
def test_tune_replaces_a_configuration(content, tuned):
    done, is_kept = tuned(content)
    assert done.code == 0 and not is_kept


def test_tune_replaces_the_configuration_of_a_result(place, tuned):
    content = (place / "out" / "config.json").read_bytes()
    assert json.loads(content)
    done, is_kept = tuned(content)
    assert done.code == 0 and not is_kept


@pytest.mark.parametrize(
    ("content", "code"), [(b"\x93NUMPY", 2), (b"text", 2), (b"", 0), (b" <!DOCTYPE html><p>", 0), (b"<html>", 0)]
)
def test_pages(content, code, place, tmp_path):
    path = tmp_path / "there.html"
    path.write_bytes(content)
    for _ in range(2):
        done = run("compare", place / "out", place / "out", "--page", path)
        assert done.code == code
        assert ("is there already, and is no HTML page" in done.err) == (path.read_bytes() == content) == (code == 2)
