"""Arguments of the calls, looked at before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.conversion import converted_names
from calibrant.emit.prefix import file_prefix
from calibrant.errors import ConfigError, ModelError, Problem
from calibrant.publish.kept import Kept
from calibrant.publish.writable import check_writable, check_writable_file
from calibrant.steps.files_read import files_read
from calibrant.steps.foreign_folders import refuse_foreign_folders


def path_of(name: str, value: Any) -> Path:
    """A path."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(Problem(f"{name} is {value!r}", allowed="the path of a file"))
    return Path(text)


def file_to_write(name: str, value: Any, kept: Iterable[Kept] = ()) -> Path:
    """The path of a file that can be written, and is none of those that are read."""
    path = path_of(name, value)
    check_writable_file(path, kept, name)
    return path


def graph_of(value: Any) -> Any:
    """A ``tf.Graph``."""
    if not hasattr(value, "as_graph_def") or not hasattr(value, "get_operations"):
        hint = "load the .pb with tf.import_graph_def and pass tf.compat.v1.get_default_graph()"
        raise ModelError(Problem(f"graph is a {type(value).__name__}", allowed="a tf.Graph", hint=hint))
    return value


def names_of(name: str, value: Any) -> list[str]:
    """A list of names; one name by itself is a list of one, and a set is in the order of its names."""
    given = value.tolist() if isinstance(value, np.ndarray) else value
    names = [given] if isinstance(given, str) else sorted(given, key=str) if isinstance(given, Set) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(entry, str) and entry for entry in names):
        raise ConfigError(Problem(f"{name} is {value!r}", allowed="a list of names, ['softmax', 'boxes:0']"))
    return list(names)


def save_target(value: Any, model: Path, kept: Iterable[Kept] = ()) -> tuple[Path, str]:
    """Folder and prefix of a ``save_path``; one that ends with a slash has the name of the model as prefix.

    The models that are written there replace neither the model nor other files that are read.
    """
    path = path_of("save_path", value)
    is_folder = str(value).endswith(("/", os.sep)) or os.path.isdir(path)  # noqa: PTH112 - False for a name too long
    folder, prefix = (path, None) if is_folder else (path.parent, path.name)
    prefix = file_prefix(prefix, model)
    check_writable(folder, converted_names(prefix), (*files_read(model), *kept), "save_path")
    refuse_foreign_folders(folder / name for name in converted_names(prefix))
    return folder, prefix
