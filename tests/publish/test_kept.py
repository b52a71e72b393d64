"""What is read is not written over, however either of them is named."""

from pathlib import Path

import pytest

from calibrant.errors import OutputError
from calibrant.publish.kept import Kept
from calibrant.publish.writable import check_writable, check_writable_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("file", "sub/part.npy", "sub/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "down").symlink_to("sub")
    return tmp_path


@pytest.mark.parametrize(
    "written, read, refused",
    [
        ("file", Kept(Path("file")), True),
        ("sub/../file", Kept(Path("./file")), True),
        ("link", Kept(Path("file")), True),
        ("file", Kept(Path("link")), True),
        ("file", Kept(Path("sub/part.npy")), False),
        ("new", Kept(Path("new")), False),
        ("down/part.npy", Kept(Path("sub"), (".npy",)), True),
        ("sub/notes.txt", Kept(Path("sub"), (".npy",)), False),
        ("sub/notes.txt", Kept(Path("sub")), True),
        ("sub/new.npy", Kept(Path("sub")), False),
    ],
)
def test_files(folder, written, read, refused):
    if not refused:
        check_writable_file(Path(written), [read])
        return
    with pytest.raises(OutputError, match="would replace '.*', which is read"):
        check_writable_file(Path(written), [read])


def test_all_files_and_folders_that_would_be_replaced_are_named(folder):
    read = [Kept(Path("link").absolute()), Kept(Path("sub/part.npy")), Kept(Path("absent"))]
    check_writable(Path("sub"), ["new", "file", "notes.txt"], read)
    with pytest.raises(OutputError) as caught:
        check_writable(folder, ["file", "sub", "absent", "new"], read)
    assert [Path(problem.file).name for problem in caught.value.problems] == ["file", "sub"]
