"""Writing results: a folder, a file, or several of both, all at once or not at all."""

from __future__ import annotations

import errno
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from calibrant.errors import OutputError, Problem
from calibrant.process_wide import ENDING_SIGNALS
from calibrant.publish.disk import flush_folder, flush_tree
from calibrant.publish.exchange import take_place
from calibrant.publish.journal import move_into_place, recover
from calibrant.publish.staging import LEFT_OVER, Staging, held, staging_folder
from calibrant.publish.writable import check_writable, check_writable_file

Content = bytes | Callable[[Path], None]
"""The content of a file, or a function that writes a file or folder at a path."""


def write_folder(folder: Path, files: Mapping[str, Content]) -> tuple[Path, ...]:
    """Write files, given as bytes or as a function that writes a file or folder at a path; all of them or none.

    An existing folder is exchanged for the new one in one step; its other files are kept. If that is impossible (see
    :func:`calibrant.publish.exchange.take_place`), the files are renamed into it one by one, and what a killed run has
    left to rename, the next run renames first. Several runs may write into one folder: the last wins.

    Raises
    ------
    OutputError
        The disk is full, or the folder cannot be written to. The previous result is then still complete.
    """
    check_writable(folder)
    with _all_or_nothing(folder) as made:
        place = folder.resolve()
        _make_parents(place, made)
        for each in (place.parent, place):
            recover(each)
        with _staging(place) as staging:
            for name, content in files.items():
                _stage(staging.new / name, content)
            flush_tree(staging.new)
            if not _take_new_place(staging.new, place):
                with held(place):
                    _take_old_place(staging, place, files)
    return tuple(folder / name for name in files)


def write_files(files: Mapping[Path, Content]) -> None:
    """Write files in any folders, and the folders above them; all of them or none. A link stays one to what is written.

    Raises
    ------
    OutputError
        One of them cannot be written. All are then as they were.
    """
    for path in files:
        check_writable_file(path)
    with _all_or_nothing(*files) as made, ExitStack() as stack:
        stagings: dict[Path, Staging] = {}
        for path, content in files.items():
            target = path.resolve()
            _make_parents(target, made)
            place = target.parent
            if place not in stagings:
                recover(place)
                stagings[place] = stack.enter_context(staging_folder(place))
            _stage(stagings[place].new / target.name, content)
        for staging in stagings.values():
            flush_tree(staging.new)
        for place in sorted(stagings):
            stack.enter_context(held(place))
        with _undisturbed():
            move_into_place(list(stagings.values()))


def write_file(path: Path, content: Content) -> None:
    """Write a file and the folders above it; it holds the old or the new content, never a part.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_files({path: content})


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for what nobody keeps; those of killed runs are removed."""
    place = Path(tempfile.gettempdir())
    recover(place)
    with staging_folder(place) as staging:
        yield staging.new


def finish_earlier_run(folder: Path) -> None:
    """Before a result is read: move into place what a killed run had begun to move there.

    Raises
    ------
    OutputError
        Part of a result has been moved, and the rest cannot be.
    """
    with _all_or_nothing(folder):
        recover(folder)


@contextmanager
def _all_or_nothing(*targets: Path) -> Iterator[list[Path]]:
    """A list of folders to be removed after an error or interrupt; errors name what the user named."""
    made: list[Path] = []
    try:
        yield made
    except BaseException as error:
        for parent in sorted(made, reverse=True):  # deepest first
            with suppress(OSError):
                parent.rmdir()
        if not isinstance(error, OSError):
            raise
        named = str(error.filename) if error.filename and LEFT_OVER not in str(error.filename) else str(targets[0])
        raise OutputError(Problem(f"cannot be written: {error.strerror or error}", file=named)) from None


def _make_parents(path: Path, made: list[Path]) -> None:
    """Make the missing parents of a path, and list them before, so that an interrupt finds none that is not listed."""
    parent = path.parent
    while not parent.exists():
        made.append(parent)
        parent = parent.parent
    path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _staging(folder: Path) -> Iterator[Staging]:
    """A staging folder: beside the folder, or inside it if its parent cannot be written to."""
    with ExitStack() as stack:
        try:
            staging = stack.enter_context(staging_folder(folder.parent))
        except OSError:
            if not folder.is_dir():
                raise
            staging = stack.enter_context(staging_folder(folder))
        yield staging


def _stage(path: Path, content: Content) -> None:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)


def _take_new_place(new: Path, folder: Path) -> bool:
    """Let ``new`` become a folder that is not there yet; False if it is."""
    if folder.exists():
        return False
    with _undisturbed():
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run has just made it
                raise
            return False
        try:
            flush_folder(folder.parent)
        except OSError:
            folder.rename(new)
            raise
    return True


def _take_old_place(staging: Staging, folder: Path, files: Mapping[str, Content]) -> None:
    """Let the files take their places in a folder that is there and kept from other runs."""
    with _undisturbed():
        if take_place(staging, folder, files):
            return
    if staging.target == folder:
        with _undisturbed():
            move_into_place([staging])
        return
    with staging_folder(folder) as inside:
        for name in files:
            _bring(staging.new / name, inside.new / name)
        with _undisturbed():
            move_into_place([inside])


def _bring(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(path, target)  # the folder is a mount point
        flush_tree(target)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay interrupts while files are being renamed (main thread only; others are never interrupted)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, *ENDING_SIGNALS)}
    previous = {kind: handler for kind, handler in handlers.items() if handler is not None}
    for kind in previous:
        signal.signal(kind, lambda caught, frame: received.append(caught))
    try:
        yield
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
        for number in received:
            signal.raise_signal(number)
