"""The output folder holds one whole result at every moment, whatever happens to the run that writes it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from calibrant.errors import OutputError
from calibrant.publish import exchange, staging, writable, write
from calibrant.publish.staging import LEFT_OVER, staging_folder
from calibrant.publish.writable import check_writable, path_to_write
from calibrant.publish.write import write_files, write_folder
from command_line import tree

OLD = {"a.pb": b"old a", "b.json": b"old b"}
NEW = {"a.pb": b"new a", "b.json": b"new b", "c.txt": b"new c"}


@pytest.fixture
def out(tmp_path):
    """A folder that holds a previous result and a file of the user's."""
    path = tmp_path / "out"
    write_folder(path, OLD)
    (path / "notes.txt").write_bytes(b"mine")
    return path


def left_overs(path):
    return sorted(str(found) for found in path.rglob(f"{LEFT_OVER}*"))


@pytest.fixture(params=["exchanged", "one by one"])
def way(request, monkeypatch):
    """Both ways into place: in one step, and renamed file by file where the system cannot do that."""
    if request.param == "one by one":
        monkeypatch.setattr(exchange, "_swap", lambda first, second: False)


def test_makes_the_folder_and_those_above_it(tmp_path):
    files = write_folder(tmp_path / "a" / "b" / "out", NEW)
    assert files == tuple(tmp_path / "a" / "b" / "out" / name for name in NEW)
    assert tree(tmp_path / "a" / "b" / "out") == NEW
    assert left_overs(tmp_path) == []


def test_replaces_a_result_and_keeps_the_other_files(out, way):
    write_folder(out, NEW)
    assert tree(out) == {**NEW, "notes.txt": b"mine"}
    assert left_overs(out.parent) == []


def test_keeps_what_is_in_other_folders(out):
    (out / "plots").mkdir()
    (out / "plots" / "one.png").write_bytes(b"png")
    write_folder(out, NEW)
    assert tree(out) == {**NEW, "notes.txt": b"mine", "plots": None, "plots/one.png": b"png"}


def test_the_other_files_are_the_same_files(out):
    (out / "notes.txt").chmod(0o600)
    (out / "link").symlink_to("notes.txt")
    before = (out / "notes.txt").stat()
    write_folder(out, NEW)
    after = (out / "notes.txt").stat()
    assert (before.st_ino, before.st_mode, after.st_nlink) == (after.st_ino, after.st_mode, 1)
    assert (out / "link").readlink() == Path("notes.txt")


def test_the_folder_keeps_its_permissions_and_a_new_one_has_the_usual(out, way):
    out.chmod(0o2750)
    write_folder(out, NEW)
    assert stat.S_IMODE(out.stat().st_mode) == 0o2750
    before = os.umask(0o027)
    try:
        write_folder(out.parent / "other", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((out.parent / "other").stat().st_mode) == 0o750


def test_a_folder_takes_the_place_of_a_folder_of_that_name(out, way):
    def saved_model(path):
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"model")

    for _ in range(2):
        write_folder(out, {"saved": saved_model})
        assert tree(out / "saved") == {"saved_model.pb": b"model"}
        (out / "saved" / "old").write_bytes(b"stale")
    assert left_overs(out.parent) == []


@pytest.mark.parametrize("name", [".", "./", "..", "out/", "out/.", "out/../out", ""])
def test_all_ways_to_write_a_path(name, out, tmp_path, monkeypatch):
    monkeypatch.chdir({".": out, "./": out, "": out, "..": out / ".."}.get(name, tmp_path))
    if name == "..":
        monkeypatch.chdir(out)
    place = Path(name).resolve()
    before = tree(place)
    check_writable(Path(name))
    files = write_folder(Path(name), NEW)
    assert tree(place) == {**before, **NEW}
    assert all(file.is_file() for file in files), "as the caller would open them"
    assert left_overs(tmp_path) == []


def test_the_working_directory_stays_where_it_is(out, monkeypatch):
    monkeypatch.chdir(out)
    identity = out.stat().st_ino
    write_folder(Path(), NEW)
    assert out.stat().st_ino == identity and Path("a.pb").read_bytes() == b"new a"


def test_a_link_to_a_folder_stays_a_link(out, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(out)
    write_folder(link, NEW)
    assert link.is_symlink() and tree(out) == {**NEW, "notes.txt": b"mine"}
    ahead = tmp_path / "ahead"
    ahead.symlink_to(tmp_path / "not there yet")
    write_folder(ahead, NEW)
    assert ahead.is_symlink() and tree(tmp_path / "not there yet") == NEW


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name, there in (("link", True), ("ahead", False)):
        target, link = tmp_path / "elsewhere" / name, tmp_path / name
        if there:
            target.write_bytes(b"old")
        link.symlink_to(Path("elsewhere") / name)
        write.write_file(link, b"new")
        assert link.is_symlink() and target.read_bytes() == b"new"
    (tmp_path / "far").symlink_to(tmp_path / "not there" / "yet")
    write.write_file(tmp_path / "far", b"new")
    assert (tmp_path / "not there" / "yet").read_bytes() == b"new"
    assert left_overs(tmp_path) == []


def test_names_that_a_shell_would_expand(tmp_path):
    write_folder(tmp_path / "out[1]*?", OLD)
    write_folder(tmp_path / "out[1]*?", NEW)
    assert tree(tmp_path) == {"out[1]*?": None, **{f"out[1]*?/{name}": content for name, content in NEW.items()}}


def test_where_nothing_can_be_made_beside_the_folder(out, monkeypatch):
    """As for a mounted folder: what is above it is another disk, or is not ours."""
    real = write.staging_folder

    def refuse(parent):
        if parent == out.parent:
            raise PermissionError(13, "Permission denied", str(parent))
        return real(parent)

    monkeypatch.setattr(write, "staging_folder", refuse)
    write_folder(out, NEW)
    assert tree(out) == {**NEW, "notes.txt": b"mine"}


def test_a_folder_that_is_a_mount_point(out, monkeypatch):
    """Nothing can be renamed from beside it into it; the answer is the one that Linux gives."""
    rename = Path.rename

    def refuse(path, target):
        if f"out/{LEFT_OVER}" in str(target) and f"out/{LEFT_OVER}" not in str(path):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(exchange, "_swap", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", refuse)
    write_folder(out, NEW)
    assert tree(out) == {**NEW, "notes.txt": b"mine"}
    assert left_overs(out.parent) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("bug")])
def test_an_error_while_writing_leaves_the_previous_result(error, out, tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise error

    before = tree(tmp_path)
    kind, said = (OutputError, "No space left") if isinstance(error, OSError) else (type(error), None)
    with pytest.raises(kind, match=said):
        write_folder(out, {**NEW, "last": fail})
    assert tree(tmp_path) == before
    with pytest.raises(kind, match=said):
        write_folder(tmp_path / "x" / "y" / "out", {**NEW, "last": fail})
    with pytest.raises(kind, match=said):
        write_files({tmp_path / "x" / "a": b"", tmp_path / "x" / "y" / "b": fail})
    assert tree(tmp_path) == before and not (tmp_path / "x").exists()


@pytest.mark.parametrize("make", ["file", "below a file", "/proc/out", "long", "loop"])
def test_places_that_cannot_be_written_to(make, tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    (tmp_path / "loop").symlink_to("loop")
    place = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "x" / "out",
        "/proc/out": Path("/proc/out"),
        "long": tmp_path / ("x" * 300) / "out",
        "loop": tmp_path / "loop" / "out",
    }[make]
    before = tree(tmp_path)
    for attempt in (lambda: check_writable(place), lambda: write_folder(place, NEW)):
        with pytest.raises(OutputError):
            attempt()
        assert tree(tmp_path) == before


@pytest.mark.parametrize("given", ["", "  ", "s3://bucket/out", "file:///tmp/out"])
def test_what_is_no_path(given):
    with pytest.raises(OutputError, match="page"):
        path_to_write(given, "page")


def test_what_looks_like_no_path_and_is_one():
    for given in (".", "a b", "run:/out", Path("out")):
        assert path_to_write(given, "page") == Path(given)


def test_a_living_run_is_left_alone_and_a_dead_one_is_cleared(out, tmp_path):
    dead = tmp_path / f"{LEFT_OVER}dead"
    dead.mkdir()
    (dead / "half.pb").write_bytes(b"half")
    with staging_folder(tmp_path) as living:
        (living.new / "half.pb").write_bytes(b"half")
        write_folder(out, NEW)
        assert not dead.exists() and tree(living.new) == {"half.pb": b"half"}


def test_a_new_folder_that_another_run_takes_for_a_dead_ones(tmp_path, monkeypatch):
    """The other run locks it in the moment between making and locking, and removes it a little later."""
    real, taken = staging._lock, []

    def lock(path):
        if not taken:
            taken.extend((path, real(path)))
        return real(path)

    monkeypatch.setattr(staging, "_lock", lock)
    with staging_folder(tmp_path) as mine:
        path, descriptor = taken
        shutil.rmtree(path)
        os.close(descriptor)
        (mine.new / "a.pb").write_bytes(b"new a")
        assert tree(mine.new) == {"a.pb": b"new a"}
    assert left_overs(tmp_path) == []


def test_where_folders_cannot_be_locked(out, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(staging.fcntl, "flock", refuse)
    dead = out.parent / f"{LEFT_OVER}dead"
    dead.mkdir()
    write_folder(out, NEW)
    assert tree(out) == {**NEW, "notes.txt": b"mine"}
    assert left_overs(out.parent) == [str(dead)], "nothing tells whether its run is alive"


def test_files_of_two_runs_are_not_mixed(out, monkeypatch):
    """Where files are renamed one by one, a second run waits until the first has renamed its last."""
    monkeypatch.setattr(exchange, "_swap", lambda first, second: False)
    second = threading.Thread(target=write_folder, args=(out, dict.fromkeys(NEW, b"second")))
    with staging.held(out):
        second.start()
        second.join(0.2)
        assert second.is_alive() and tree(out) == {**OLD, "notes.txt": b"mine"}
    second.join(10)
    assert tree(out) == {**dict.fromkeys(NEW, b"second"), "notes.txt": b"mine"}


def test_probes_of_other_runs_do_not_stay(out):
    """Where a file cannot be nameless, another run's may be there for a moment."""
    (out / f"{LEFT_OVER}probe").write_bytes(b"")
    write_folder(out, NEW)
    assert tree(out) == {**NEW, "notes.txt": b"mine"}


def test_the_folder_is_exchanged_while_it_is_looked_at(out, monkeypatch):
    real, gone = writable.tempfile.TemporaryFile, [FileNotFoundError(errno.ENOENT, "No such file or directory")]

    def make(**options):
        if gone:
            raise gone.pop()
        return real(**options)

    monkeypatch.setattr(writable.tempfile, "TemporaryFile", make)
    check_writable(out)
    assert not gone


def test_two_runs_at_once(tmp_path, way):
    """Each writes its own bytes many times into the same folder: the result is always that of one of them."""
    place = tmp_path / "out"
    errors = []

    def many(content):
        try:
            for _ in range(30):
                write_folder(place, dict.fromkeys(NEW, content))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=many, args=(content,)) for content in (b"first", b"second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert tree(place) in (dict.fromkeys(NEW, b"first"), dict.fromkeys(NEW, b"second"))
    assert left_overs(tmp_path) == []


def make(out):
    (out / "late.txt").write_bytes(b"late")


def make_a_folder(out):
    (out / "late").mkdir()
    (out / "late" / "one.png").write_bytes(b"png")


def replace(out):
    (out / "temporary").write_bytes(b"newer")
    (out / "temporary").replace(out / "notes.txt")


def remove(out):
    (out / "notes.txt").unlink()


def append(out):
    with (out / "notes.txt").open("ab") as file:
        file.write(b" and more")


DONE = {
    make: {"notes.txt": b"mine", "late.txt": b"late"},
    make_a_folder: {"notes.txt": b"mine", "late": None, "late/one.png": b"png"},
    replace: {"notes.txt": b"newer"},
    remove: {},
    append: {"notes.txt": b"mine and more"},
}


@pytest.fixture(params=DONE, ids=lambda do: do.__name__)
def meanwhile(request, monkeypatch):
    """Another program does something between the look at the folder and the exchange."""
    swap, done = exchange._swap, []

    def late(first, second):
        if not done:
            request.param(second)
            done.append(second)
        return swap(first, second)

    monkeypatch.setattr(exchange, "_swap", late)
    yield DONE[request.param]
    assert done


def test_what_other_programs_do_meanwhile_is_kept(out, meanwhile):
    write_folder(out, NEW)
    assert tree(out) == {**NEW, **meanwhile}
    assert left_overs(out.parent) == []


def test_what_they_do_meanwhile_is_kept_where_the_exchange_is_undone(out, meanwhile, monkeypatch):
    flush = exchange.flush_folder

    def fail(path):
        if path == out.parent and (out / "c.txt").exists():
            raise OSError(errno.EIO, "Input/output error", str(path))
        flush(path)

    monkeypatch.setattr(exchange, "flush_folder", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write_folder(out, NEW)
    assert tree(out) == {**OLD, **meanwhile}
    assert left_overs(out.parent) == []


def test_what_they_do_meanwhile_is_kept_by_the_next_run_where_this_one_is_killed(out, meanwhile, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(exchange, "_bring_others", lambda *arguments: None)
        killed.setattr(exchange, "_remove_others", lambda *arguments: None)
        killed.setattr(Path, "unlink", lambda self: None)
        killed.setattr(staging.Staging, "remove", lambda self: None)
        write_folder(out, {"a.pb": b"newer a"})
    assert len(left_overs(out.parent)) == 1
    write_folder(out, NEW)
    assert tree(out) == {**NEW, **(meanwhile or {"notes.txt": b"mine"})}
    assert left_overs(out.parent) == []


def test_what_a_killed_run_had_not_exchanged_is_removed(out, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(exchange, "_swap", lambda first, second: False)
        killed.setattr(staging.Staging, "remove", lambda self: None)
        write_folder(out, NEW)
    (out / "notes.txt").unlink()
    write_folder(out, NEW)
    assert tree(out) == NEW
    assert left_overs(out.parent) == []


def test_where_what_they_make_cannot_be_brought_files_are_renamed_one_by_one(out, monkeypatch):
    swap, bring = exchange._swap, exchange._bring

    def late(first, second):
        make_a_folder(second) if not (second / "late").exists() and (second / "b.json").exists() else None
        return swap(first, second)

    def refuse(entry, target):
        if target.parent == out and LEFT_OVER in entry.path and not (out / "late").exists() and failed:
            raise failed.pop()
        bring(entry, target)

    failed = [PermissionError(errno.EACCES, "Permission denied")]
    monkeypatch.setattr(exchange, "_swap", late)
    monkeypatch.setattr(exchange, "_bring", refuse)
    write_folder(out, NEW)
    assert not failed
    assert tree(out) == {**NEW, "notes.txt": b"mine", "late": None, "late/one.png": b"png"}
    assert left_overs(out.parent) == []
