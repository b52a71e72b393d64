"""What a killed run has left is finished or removed by the next; what others have planted is not obeyed."""

import json
import os
from pathlib import Path

import pytest

from calibrant.errors import OutputError
from calibrant.publish import journal
from calibrant.publish.journal import recover
from calibrant.publish.staging import LEFT_OVER, Staging
from calibrant.publish.write import finish_earlier_run, scratch_folder, write_file, write_files, write_folder
from command_line import tree


@pytest.fixture
def places(tmp_path):
    """Two folders with a file each."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"old")
    return tmp_path


def dead(parent, name="dead", **new):
    """The staging folder of a run that was killed."""
    staging = Staging(parent / f"{LEFT_OVER}{name}")
    staging.path.mkdir(mode=0o700)
    staging.new.mkdir()
    staging.old.mkdir()
    for each, content in new.items():
        (staging.new / each).write_bytes(content)
    return staging


def names(staging):
    return [path.name for path in staging.new.iterdir()]


def listed(first, *others):
    there = {str(other.path): names(other) for other in others}
    first.journal.write_text(json.dumps({"here": names(first), "there": there}))
    for other in others:
        (other.path / "first").write_bytes(os.fsencode(first.path))


def test_files_in_two_folders_are_written_together(places):
    write_files({places / "one" / "file": b"new", places / "two" / "file": b"new", places / "three" / "file": b"new"})
    assert {name: content for name, content in tree(places).items() if content} == {
        "one/file": b"new",
        "two/file": b"new",
        "three/file": b"new",
    }


def test_where_one_of_two_cannot_be_moved_both_stay(places, monkeypatch):
    real, before = journal.flush_folder, tree(places)

    def refuse(path):
        if path == places / "two" and (path / "file").read_bytes() == b"new":
            raise OSError(5, "Input/output error", str(path))
        real(path)

    monkeypatch.setattr(journal, "flush_folder", refuse)
    with pytest.raises(OutputError, match="Input/output error"):
        write_files({places / "one" / "file": b"new", places / "two" / "file": b"new"})
    assert tree(places) == before


@pytest.mark.parametrize("start", ["one", "two"])
def test_the_next_run_in_either_place_finishes_both(places, start):
    first, second = dead(places / "one", file=b"new"), dead(places / "two", file=b"new")
    listed(first, second)
    write_file(places / start / "another", b"more")
    assert (places / "one" / "file").read_bytes() == (places / "two" / "file").read_bytes() == b"new"
    assert not list(places.rglob(f"{LEFT_OVER}*"))


def test_a_folder_that_was_renamed_or_is_reached_by_a_link(places):
    listed(dead(places / "one", "a", file=b"new"))
    (places / "one").rename(places / "renamed")
    (places / "link").symlink_to(places / "renamed")
    finish_earlier_run(places / "link")
    assert tree(places / "renamed") == {"file": b"new"}
    listed(dead(places / "renamed", "b", file=b"newer"))
    write_file(places / "link" / "another", b"more")
    assert tree(places / "renamed") == {"file": b"newer", "another": b"more"}


def test_a_file_system_without_permissions(places):
    """All may do everything there, so that is no reason to leave half a result."""
    staging = dead(places / "one", file=b"new")
    listed(staging)
    for path in (staging.path, places / "one"):
        path.chmod(0o777)
    finish_earlier_run(places / "one")
    assert tree(places / "one") == {"file": b"new"}


def test_without_a_journal_nothing_has_happened(places):
    dead(places / "one", file=b"new")
    finish_earlier_run(places / "one")
    assert tree(places / "one") == {"file": b"old"}


def test_probes_of_killed_runs_are_removed(places):
    (places / f"{LEFT_OVER}probe").touch()
    (places / f"{LEFT_OVER}mine").write_bytes(b"with content")
    write_file(places / "file", b"new")
    assert sorted(path.name for path in places.glob(f"{LEFT_OVER}*")) == [f"{LEFT_OVER}mine"]


@pytest.mark.parametrize("named", ["", ".", "/", "..", "one", "{}/one", "relative/.calibrant-partial-x"])
def test_a_first_folder_that_is_none_is_left_alone(places, named, monkeypatch):
    """It may have been cut off when it was written; only what is a staging folder by its name is ever removed."""
    monkeypatch.chdir(places / "one")
    staging = dead(places / "two", file=b"new")
    (staging.path / "first").write_text(named.format(places))
    before = tree(places / "one")
    recover(places / "two")
    assert tree(places / "one") == before and tree(places / "two") == {"file": b"old"}


def test_a_journal_moves_nothing_to_other_places(places):
    staging = dead(places / "two", file=b"new")
    elsewhere = dead(places / "one", file=b"evil")
    staging.journal.write_text(
        json.dumps({"here": ["../../one/file", "file"], "there": {str(elsewhere.path): ["file"], "/": ["etc"]}})
    )
    recover(places / "two")
    assert (places / "one" / "file").read_bytes() == b"old" and (places / "two" / "file").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_what_others_could_have_written_is_not_obeyed(places, mode):
    staging = dead(places / "one", file=b"evil")
    listed(staging)
    staging.path.chmod(mode)
    write_file(places / "one" / "another", b"new")
    assert (places / "one" / "file").read_bytes() == b"old" and staging.path.is_dir()
    (places / "one").chmod(0o1777)
    write_file(places / "one" / "another", b"new")
    assert (places / "one" / "file").read_bytes() == b"old" and staging.path.is_dir()


def test_a_link_is_no_staging_folder(places):
    (places / "one" / f"{LEFT_OVER}link").symlink_to(places / "two")
    recover(places / "one")
    assert tree(places / "two") == {"file": b"old"}


def test_a_damaged_journal_says_where_it_is(places):
    staging = dead(places / "one", file=b"new")
    staging.journal.write_text("{")
    with pytest.raises(OutputError, match="journal is damaged"):
        write_file(places / "one" / "file", b"newer")
    assert tree(places / "one")["file"] == b"old"


@pytest.mark.parametrize("path", ["one", ".", "/", "/dev", "relative/.calibrant-partial-x"])
def test_only_staging_folders_can_be_removed(path):
    with pytest.raises(ValueError, match="no staging folder"):
        Staging(Path(path))


@pytest.mark.parametrize("make", ["folder", "pipe", "device"])
def test_files_are_not_written_over_other_things(tmp_path, make):
    path = tmp_path / "target"
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(os.devnull)
    with pytest.raises(OutputError, match="is a"):
        write_file(path, b"new")
    assert path.is_symlink() == (make == "device") and not path.is_file()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_permissions_follow_umask(tmp_path, umask):
    def model(path):
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"model")

    before = os.umask(umask)
    try:
        write_folder(tmp_path / "out", {"a.pb": b"new", "saved": model})
        write_folder(tmp_path / "out", {"a.pb": b"new", "saved": model})
        write_file(tmp_path / "out" / "file", b"new")
    finally:
        os.umask(before)
    found = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    for name in ("out", "out/saved"):
        assert found.pop(name) == 0o777 & ~umask, name
    assert set(found.values()) == {0o666 & ~umask}


def test_names_as_long_as_names_can_be(tmp_path):
    write_file(tmp_path / ("x" * 255), b"new")
    with pytest.raises(OutputError, match="File name too long"):
        write_file(tmp_path / ("x" * 256), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x" * 255]


def test_a_scratch_folder_is_private_and_does_not_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = dead(tmp_path, file=b"half")
    with scratch_folder() as folder:
        assert folder.parent.parent == tmp_path and folder.parent.stat().st_mode & 0o777 == 0o700
        assert not killed.path.exists()
    assert list(tmp_path.iterdir()) == []
