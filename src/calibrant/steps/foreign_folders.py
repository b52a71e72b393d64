"""Step: a folder that calibrant did not make is not replaced by what it writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from calibrant.errors import OutputError, Problem

MODEL_FILE = "saved_model.pb"
VARIABLES = "variables"


def refuse_foreign_folders(written: Iterable[Path]) -> None:
    """Check that no folder with content is in the place of what is written, but for models that calibrant has written.

    Raises
    ------
    OutputError
        Some are; names all of them.
    """
    problems = [
        Problem(
            "is a folder that calibrant did not make, and would be replaced",
            file=str(path),
            hint="choose another folder (--out) or name (--name) for what is written, or move it away",
        )
        for path in written
        if _has_content(path) and not _is_own_model(path)
    ]
    if problems:
        raise OutputError(*problems)


def _has_content(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink() and any(path.iterdir())
    except OSError:  # what cannot be looked into is not replaced
        return True


def _is_own_model(path: Path) -> bool:
    """Whether it is a SavedModel of calibrant: TensorFlow says in its own which revision of itself has written them."""
    try:
        names = {entry.name for entry in path.iterdir()}
        if names != {MODEL_FILE, VARIABLES}:
            return False
        if not all(entry.name.startswith(VARIABLES) for entry in (path / VARIABLES).iterdir()):
            return False
        content = (path / MODEL_FILE).read_bytes()
    except OSError:
        return False
    from google.protobuf.message import DecodeError

    from calibrant.graph.tf_core import SavedModel

    try:
        graphs = SavedModel.FromString(content).meta_graphs
    except DecodeError:
        return False
    return len(graphs) == 1 and not graphs[0].meta_info_def.tensorflow_git_version
