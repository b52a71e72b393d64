"""Resolves a path, as the user writes it, to a source for each input."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrant.data.bin_folder import BinSource
from calibrant.data.foreign_files import foreign_hint
from calibrant.data.idx_files import idx_column, is_idx_name
from calibrant.data.images import IMAGE_SUFFIXES, ImageOptions, ImageSource
from calibrant.data.input_source import InputSource, SampleSlice, read_errors
from calibrant.data.input_spec import InputSpec, plain
from calibrant.data.missing_path import exists, no_such_path
from calibrant.data.numpy_files import NpzFile, npy_column
from calibrant.errors import DataError, Problem, did_you_mean
from calibrant.regular_file import require_regular

KINDS = (
    "a folder of .bin files, a folder of images, .npy, .npz (FILE.npz:NAME chooses one array), idx (.gz); "
    "FILE[start:stop] chooses samples"
)
FOLDER_ENDINGS = (".bin", ".npy", *IMAGE_SUFFIXES)
"""How the names of the files end that are read where a folder is given."""
_WINDOW = re.compile(r"(.*)\[(\d*):(\d*)\]", re.DOTALL)
_MEMBER = re.compile(r"(.+?\.npz):(.+)", re.DOTALL)


@dataclass(frozen=True)
class Selection:
    """What one word of the user means: a path, an array in that file, and a range of its samples.

    Parameters
    ----------
    word : str
        As the user wrote it.
    path : Path
        The file or folder.
    member : str | None
        Name of an array in a .npz file; None: not given.
    window : SampleSlice | None
        The samples to read; None: all.
    """

    word: str
    path: Path
    member: str | None
    window: SampleSlice | None

    @classmethod
    def parse(cls, word: str | Path) -> Selection:
        """``PATH``, ``FILE.npz:NAME``, each optionally with ``[start:stop]``. An existing path is taken literally.

        Raises
        ------
        DataError
            There is no such file or folder; suggests the closest name in that place.
        """
        text, window, member = str(word), None, None
        if not exists(text):
            window_match = _WINDOW.fullmatch(text)
            if window_match:
                text, start, stop = window_match.groups()
                window = SampleSlice(int(start or 0), int(stop) if stop else None)
            member_match = _MEMBER.fullmatch(text)
            if member_match and not exists(text):
                text, member = member_match.groups()
        path = Path(text)
        require_regular(path, DataError)
        if not text.strip():
            raise DataError(Problem("the path of the data is empty", allowed=KINDS))
        if not exists(text):
            raise no_such_path(path, text)
        return cls(str(word), path, member, window)


def columns_of(
    source: str | Path, inputs: Sequence[InputSpec], dtypes: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource]:
    """One source per input from one word: a file or folder for all inputs, or one for each, separated by ``;``.

    Raises
    ------
    DataError
        The path does not exist, the kind of file is unknown, a folder is empty, or an input has no data.
    """
    words = _words(source)
    if len(words) > 1:
        return columns_in_order(words, inputs, dtypes, options)
    selection = Selection.parse(source)
    if len(inputs) == 1:
        return {inputs[0].name: _column(selection, inputs[0], dtypes, options)}
    if selection.path.is_dir():
        return _folder_of_inputs(selection.path, inputs, dtypes, options)
    if selection.path.suffix == ".npz" and selection.member is None:
        archive = NpzFile(selection.path)
        return _collect(inputs, lambda spec: archive.column(archive.key_of(spec, only_input=False), selection.window))
    names = ", ".join(spec.name for spec in inputs)
    message = f"this is data for one input, the model has {len(inputs)}: {names}"
    raise DataError(Problem(message, file=selection.word, hint="name one source per input, separated by ';'"))


def paths_of(source: str | Path) -> tuple[Path, ...]:
    """The files and folders that are named as for :func:`columns_of`; those that are not there are left out."""
    paths = []
    for word in _words(source):
        with suppress(DataError):
            paths.append(Selection.parse(word).path)
    return tuple(paths)


def _words(source: str | Path) -> list[str | Path]:
    return [source] if exists(source) else [word.strip() for word in str(source).split(";") if word.strip()]


def columns_in_order(
    words: Sequence[str | Path], inputs: Sequence[InputSpec], dtypes: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource]:
    """One source for each input, in the order of the inputs.

    Raises
    ------
    DataError
        The numbers of sources and inputs differ, or as :func:`columns_of`.
    """
    if len(words) != len(inputs):
        names = ", ".join(spec.name for spec in inputs)
        listed = "; ".join(map(str, words))
        raise DataError(Problem(f"{len(words)} sources for {len(inputs)} inputs ({names}): {listed}"))
    by_name = {spec.name: word for spec, word in zip(inputs, words, strict=True)}
    return _collect(inputs, lambda spec: _column(Selection.parse(by_name[spec.name]), spec, dtypes, options))


def _collect(inputs: Iterable[InputSpec], make: Callable[[InputSpec], InputSource]) -> dict[str, InputSource]:
    """The sources of all inputs, or the problems of all of them."""
    columns: dict[str, InputSource] = {}
    problems: list[Problem] = []
    for spec in inputs:
        try:
            columns[spec.name] = make(spec)
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return columns


def _column(selection: Selection, spec: InputSpec, dtypes: dict[str, np.dtype], options: ImageOptions) -> InputSource:
    path, word = selection.path, selection.word
    require_regular(path, DataError)
    if path.is_dir():
        if selection.window:
            raise DataError(Problem("[start:stop] chooses samples of arrays, this is a folder", file=word))
        return _folder(path, spec, dtypes, options)
    if path.suffix == ".npy":
        return npy_column(path, word, selection.window)
    if path.suffix == ".npz":
        archive = NpzFile(path)
        return archive.column(selection.member or archive.key_of(spec, only_input=True), selection.window)
    if is_idx_name(path):
        return idx_column(path, word, selection.window)
    if path.suffix == ".bin" and not selection.window:
        return BinSource([path], word, spec, dtypes[spec.name])
    if path.suffix.lower() in IMAGE_SUFFIXES and not selection.window:
        return ImageSource([path], word, spec, options)
    hint = foreign_hint(path, spec.dtype)
    message = f"{path.suffix or 'a file without suffix'} is no known kind of data"
    raise DataError(Problem(message, file=word, path=f"input {spec.name!r}", allowed=KINDS, hint=hint))


def _folder(path: Path, spec: InputSpec, dtypes: dict[str, np.dtype], options: ImageOptions) -> InputSource:
    word = str(path)
    with read_errors(word):
        files = sorted((file for file in path.iterdir() if _visible_file(file)), key=lambda file: file.name)
    kinds = {
        ".bin": [file for file in files if file.suffix == ".bin"],
        "image": [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES],
        ".npy": [file for file in files if file.suffix == ".npy"],
    }
    if not kinds[".bin"] and not kinds[".npy"]:
        with read_errors(word):
            kinds["image"] = [path / name for name in sorted(images_below(path))]
    present = {kind: matching for kind, matching in kinds.items() if matching}
    if len(present) > 1:
        counted = ", ".join(f"{len(matching)} {kind} files" for kind, matching in present.items())
        raise DataError(
            Problem(f"the folder holds several kinds of data: {counted}", word, path=f"input {spec.name!r}")
        )
    if kinds[".bin"]:
        return BinSource(kinds[".bin"], word, spec, dtypes[spec.name])
    inner = path / plain(spec.name)
    if not any(kinds.values()) and inner.is_dir():
        with read_errors(str(inner)):
            found = sorted(file for file in inner.iterdir() if _visible_file(file) and file.suffix == ".bin")
        if found:
            return BinSource(found, str(inner), spec, dtypes[spec.name])
    if kinds["image"]:
        return ImageSource(options.order.of(kinds["image"]), word, spec, options)
    arrays = [file for file in kinds[".npy"] if file.stem == plain(spec.name)] or kinds[".npy"]
    if len(arrays) == 1:
        return npy_column(arrays[0], str(arrays[0]))
    if arrays:
        listed = ", ".join(file.name for file in arrays)
        raise DataError(
            Problem(f"several arrays: {listed}", word, path=f"input {spec.name!r}", hint="name one of them")
        )
    raise DataError(_no_data(path, files, spec))


def _no_data(path: Path, files: Sequence[Path], spec: InputSpec) -> Problem:
    """What a folder holds in which there is nothing for an input."""
    with read_errors(str(path)):
        folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    name = plain(spec.name)
    what, hint = "the folder is empty", None
    if files:
        what = f"none of the {len(files)} files of the folder is data"
    elif folders:
        shown = ", ".join(folders[:_MOST_NAMES]) + (", ..." if len(folders) > _MOST_NAMES else "")
        what = f"the folder holds no files, and no sub-folder {name!r} with .bin files; there is {shown}"
        hint = "give the folder that holds the files"
    return Problem(what, str(path), path=f"input {spec.name!r}", allowed=", ".join(FOLDER_ENDINGS), hint=hint)


_MOST_OTHERS = 50_000
_MOST_NAMES = 20


def images_below(path: Path) -> Iterator[str]:
    """The image files of a folder and its sub-folders at any depth, without that folder; hidden ones are left out.

    Links to folders are followed, each folder once.

    Raises
    ------
    DataError
        Most of very many files and folders are something else.
    """
    images = others = 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path, onerror=_refuse, followlinks=True):
        folders.sort()
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".") and name != "lost+found"]
        others += len(folders)
        inside = os.path.relpath(folder, path)
        prefix = "" if inside == os.curdir else f"{Path(inside).as_posix()}/"
        for name in files:
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                images += 1
                yield f"{prefix}{name}"
            else:
                others += 1
        if others > _MOST_OTHERS and others > images:
            message = f"of the first {images + others:,} files and folders, only {images:,} are images"
            raise DataError(Problem(message, str(path), hint="is it the right folder? give one of images"))


def _refuse(error: OSError) -> None:
    raise DataError(Problem(f"the folder cannot be read: {error.strerror}", str(error.filename)))


def _folder_of_inputs(
    path: Path, inputs: Sequence[InputSpec], dtypes: dict[str, np.dtype], options: ImageOptions
) -> dict[str, InputSource]:
    with read_errors(str(path)):
        present = sorted(file.name for file in path.iterdir() if not file.name.startswith("."))

    def find(spec: InputSpec) -> InputSource:
        for name in dict.fromkeys((plain(spec.name), plain(spec.name).replace("/", "_"))):
            for candidate in (path / name, path / f"{name}.npy", path / f"{name}.bin"):
                if candidate.exists():
                    selection = Selection(str(candidate), candidate, None, None)
                    return _column(selection, spec, dtypes, options)
        listed = ", ".join(present[:_MOST_NAMES]) or "nothing"
        stems = [Path(name).stem for name in present]
        message = f"neither a folder nor an array of this name; there is {listed}"
        raise DataError(Problem(message, str(path), path=f"input {spec.name!r}", hint=did_you_mean(spec.name, stems)))

    return _collect(inputs, find)


def _visible_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")
