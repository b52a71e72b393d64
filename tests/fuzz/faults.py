"""Runs that write results are stopped at one file operation after the other; what is left must be whole.

As a program it prints one line of JSON. Every run is a forked process without TensorFlow, in which the operation of a
given number fails or ends the process.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.errors import OutputError
from calibrant.publish import exchange, journal
from calibrant.publish.journal import recover
from calibrant.publish.staging import LEFT_OVER
from calibrant.publish.write import write_file, write_files, write_folder

OLD = {"a.pb": b"old a", "b.json": b"old b"}
NEW = {"a.pb": b"new a" * 1000, "b.json": b"new b", "c.txt": b"new c"}
EVENTS = ("open", "os.", "fcntl.")  # system calls; shutil announces only what it is about to do
REFUSED, INTERRUPTED, UNDISTURBED = 3, 4, 5
SIGNALS = {kind.name: kind for kind in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)}
ERRORS = {errno.errorcode[number]: number for number in (errno.ENOSPC, errno.EIO, errno.EACCES)}
LASTING = {f"{name} from then on": number for name, number in ERRORS.items()}
Run = Callable[[Path], None]
Tree = dict[str, "bytes | None"]


@dataclass(frozen=True)
class Scenario:
    """One way in which results come to be written: what was there, the run, and what the next run does first.

    ``at_once``: the new result shows in one step even if the run is killed, before any next run.
    """

    before: Run
    run: Run
    at_once: bool = True
    places: tuple[str, ...] = (".", "out", "other")

    def recovered(self, base: Path) -> None:
        """What the next run in these places does first."""
        for place in self.places:
            if (base / place).is_dir():
                recover(base / place)


def _saved_model(text: bytes) -> Run:
    def save(path: Path) -> None:
        (path / "variables").mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(text)
        (path / "variables" / "index").write_bytes(text)

    return save


def _result(base: Path) -> None:
    (base / "out").mkdir()
    for name, content in {**OLD, "notes.txt": b"mine"}.items():
        (base / "out" / name).write_bytes(content)


def _result_with_folders(base: Path) -> None:
    _result(base)
    (base / "out" / "plots").mkdir()
    (base / "out" / "plots" / "one.png").write_bytes(b"png")
    _saved_model(b"old")(base / "out" / "saved")


def _two_places(base: Path) -> None:
    _result(base)
    (base / "other").mkdir()
    (base / "other" / "record.txt").write_bytes(b"old record")


def _to_folder(base: Path) -> None:
    write_folder(base / "out", NEW)


def _to_folder_with_model(base: Path) -> None:
    write_folder(base / "out", {**NEW, "saved": _saved_model(b"new")})


def _to_two_places(base: Path) -> None:
    write_files({**{base / "out" / k: v for k, v in NEW.items()}, base / "other" / "record.txt": b"new record"})


def _to_file(base: Path) -> None:
    write_file(base / "out" / "a.pb", NEW["a.pb"])


def _linked(base: Path) -> None:
    _two_places(base)
    (base / "link").symlink_to(base / "other" / "record.txt")


def _to_link(base: Path) -> None:
    write_file(base / "link", b"new record")


def _where(module: Any, name: str, answer: Callable[..., Any], run: Run) -> Run:
    """A run in a child, where a function of a module is another one."""

    def changed(base: Path) -> None:
        setattr(module, name, answer)
        run(base)

    return changed


def _not_supported(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOTSUP, "Operation not supported")


_rename = Path.rename


def _rename_within_mount(path: Path, target: Path) -> Path:
    """As if the output folder were a mount point: nothing is renamed from beside it into it."""
    if f"out/{LEFT_OVER}" in str(target) and f"out/{LEFT_OVER}" not in str(path):
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    return _rename(path, target)


def _no(*_: Any) -> bool:
    return False


SCENARIOS = {
    "first result": Scenario(lambda base: None, _to_folder),
    "over a result": Scenario(_result, _to_folder),
    "sub-folders": Scenario(_result_with_folders, _to_folder, False),
    "a SavedModel": Scenario(_result_with_folders, _to_folder_with_model, False),
    "no exchange": Scenario(_result, _where(exchange, "_swap", _no, _to_folder), False),
    "no links": Scenario(_result_with_folders, _where(os, "link", _not_supported, _to_folder_with_model), False),
    "mount point": Scenario(
        _result_with_folders, _where(Path, "rename", _rename_within_mount, _to_folder_with_model), False
    ),
    "two places": Scenario(_two_places, _to_two_places, False),
    "two places, from the second": Scenario(_two_places, _to_two_places, False, ("other", ".", "out")),
    "a file": Scenario(_result, _to_file),
    "a link to a file": Scenario(_linked, _to_link),
    "a file, no links": Scenario(_result, _where(journal, "_link", _no, _to_file), False),
}


def tree(folder: Path) -> Tree:
    """What a user sees: relative path → content, None for folders; leftovers are not part of it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if LEFT_OVER not in str(path.relative_to(folder))
    }


class _Stream:
    """A file whose writing is an operation; half of it has been written when it fails."""

    def __init__(self, stream: Any, step: Callable[[], None]):
        self._stream, self._step = stream, step

    def write(self, content: bytes) -> int:
        half = len(content) // 2
        self._stream.write(content[:half])
        self._stream.flush()
        self._step()
        return half + self._stream.write(content[half:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stream.close()


@contextmanager
def _fault(at: int, kind: str) -> Iterator[Callable[[], int]]:
    """Lets the operation of a number, from 1, fail or end the process; gives a function that says how many ran."""
    passed, active = 0, True

    def step() -> None:
        nonlocal passed
        if not active:
            return
        passed += 1
        if kind in SIGNALS and passed == at:
            os.kill(os.getpid(), SIGNALS[kind])
        elif kind in ERRORS and passed == at:
            raise OSError(ERRORS[kind], os.strerror(ERRORS[kind]))
        elif kind in LASTING and passed >= at:
            raise OSError(LASTING[kind], os.strerror(LASTING[kind]))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(EVENTS):
            step()

    real_fsync, real_open, real_swap = os.fsync, io.open, exchange._swap

    def fsync(descriptor: int) -> None:
        step()
        real_fsync(descriptor)

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        stream = real_open(file, mode, *arguments, **options)
        return _Stream(stream, step) if "w" in mode and not isinstance(file, int) else stream

    def swap(first: Path, second: Path) -> bool:
        step()
        done = real_swap(first, second)
        if kind in SIGNALS:  # a system call fails or succeeds, but a run can be stopped after either
            step()
        return done

    os.fsync, io.open, exchange._swap = fsync, opened, swap  # type: ignore[assignment]
    sys.addaudithook(hook)
    try:
        yield lambda: passed
    finally:
        active = False


def _run_in_child(run: Run, base: Path, at: int, kind: str) -> int:
    """How it ended: an exit code, or a signal's number below zero."""
    child = os.fork()
    if not child:
        code = 1
        try:
            with _fault(at, kind) as count:
                run(base)
            code = 0 if count() >= at else UNDISTURBED
        except OutputError:
            code = REFUSED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory, where flushing takes no time."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


@dataclass(frozen=True)
class Case:
    """A scenario, what happens at which operation, and at which operation the next run is killed, if at all."""

    name: str
    kind: str
    at: int
    then: int | None = None


def problems_of(case: Case, old: Tree, new: Tree) -> tuple[list[str], int]:
    """What is wrong after a case, and how its run ended."""
    scenario, found = SCENARIOS[case.name], []
    with _temporary() as folder:
        base = Path(folder)
        scenario.before(base)
        ended = _run_in_child(scenario.run, base, case.at, case.kind)
        shown = _which(tree(base), old, new)
        if ended not in (0, UNDISTURBED, REFUSED, INTERRUPTED, -signal.SIGKILL, -signal.SIGTERM):
            found.append(f"ended with {ended}")
        if shown is None and case.kind not in LASTING and (scenario.at_once or ended >= 0):
            found.append(f"mixed at once: {sorted(tree(base))}")
        if ended == REFUSED and case.kind in ERRORS and shown != "old":
            found.append("an error was reported, and the earlier result is not there")
        if ended == 0 and shown != "new":
            found.append("success was reported, and the new result is not there")
        if case.then is not None:
            _run_in_child(scenario.recovered, base, case.then, "SIGKILL")
        scenario.recovered(base)
        if _which(tree(base), old, new) is None:
            found.append(f"mixed after the next run: {sorted(tree(base))}")
        left = sorted(str(path.relative_to(base)) for path in base.rglob(f"{LEFT_OVER}*"))
        if left:
            found.append(f"left over: {left}")
    return found, ended


def _which(seen: Tree, old: Tree, new: Tree) -> str | None:
    def files(found: Tree) -> Tree:  # empty folders on the way to a first result are neither old nor new
        return {name: content for name, content in found.items() if content is not None}

    return "old" if files(seen) == files(old) else "new" if files(seen) == files(new) else None


def cases(wanted: int, generator: random.Random, lengths: dict[str, int]) -> Iterator[Case]:
    """Every operation with every fault, or a sample where that is too many; then, the next run is stopped too."""
    kinds = (*SIGNALS, *ERRORS, *LASTING)
    every = [Case(name, kind, at) for name, count in lengths.items() for kind in kinds for at in range(1, count + 1)]
    twice = max(wanted - len(every), wanted // 4)
    yield from every if len(every) <= wanted - twice else generator.sample(every, wanted - twice)
    for _ in range(twice):
        name = generator.choice(list(lengths))
        yield Case(name, "SIGKILL", generator.randint(1, lengths[name]), generator.randint(1, 60))


def _before_and_after(scenario: Scenario) -> tuple[Tree, Tree, int]:
    """What an undisturbed run finds and makes, and how many operations it takes."""
    with _temporary() as folder:
        base = Path(folder)
        scenario.before(base)
        before = tree(base)

        def count(base: Path) -> None:
            with _fault(0, "none") as passed:
                scenario.run(base)
            (base / f"{LEFT_OVER}count").write_text(str(passed()))

        if _run_in_child(count, base, 0, "none"):
            raise SystemExit("an undisturbed run fails")
        counted = int((base / f"{LEFT_OVER}count").read_text())
        return before, tree(base), counted


def main() -> None:
    """Run as many cases as asked for, and print counts and problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SCENARIOS)
    chosen = parser.parse_args()
    names = [chosen.only] if chosen.only else list(SCENARIOS)
    expected = {name: _before_and_after(SCENARIOS[name]) for name in names}
    lengths = {name: length for name, (_, _, length) in expected.items()}
    ends: Counter[str] = Counter()
    wrong, longest, count = [], 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary"
        canary.touch()
        os.chdir(folder)  # what removes too much removes this
        for case in cases(chosen.runs, random.Random(chosen.seed), lengths):
            begun = time.monotonic()
            found, ended = problems_of(case, *expected[case.name][:2])
            longest, count = max(longest, time.monotonic() - begun), count + 1
            ends[str(ended)] += 1
            wrong += [f"{case}: {problem}" for problem in found]
            if not canary.exists():
                raise SystemExit(f"{case}: the working directory was emptied")
    print(json.dumps({"runs": count, "wrong": wrong, "longest": longest, "operations": lengths, "ends": dict(ends)}))


if __name__ == "__main__":
    main()
