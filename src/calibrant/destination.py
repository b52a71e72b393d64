"""Where the files of a run go, and how they are called; checked before anything is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.emit.prefix import file_prefix
from calibrant.errors import OutputError, Problem
from calibrant.options import ExportOptions
from calibrant.publish.kept import Kept
from calibrant.publish.writable import check_writable, path_to_write
from calibrant.result import large_model_names, result_names
from calibrant.steps.foreign_folders import refuse_foreign_folders


@dataclass(frozen=True)
class Destination:
    """Where the files go, and how they are called.

    Parameters
    ----------
    folder : Path | None
        None: nothing is written.
    prefix : str
        Prefix of the files.
    names : tuple[str, ...]
        All that may be written to the folder.
    """

    folder: Path | None
    prefix: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        out: str | Path | None,
        export: ExportOptions,
        model: Any,
        read: Iterable[Kept] = (),
        budget: bool = False,
    ) -> Destination:
        """The destination that was asked for.

        Parameters
        ----------
        out : str | Path | None
            The folder.
        export : ExportOptions
            What is written, and its name.
        model : Any
            As for :func:`calibrant.quantize`.
        read : Iterable[Kept]
            Files that must not be replaced.
        budget : bool
            Whether a configuration with what a budget chose is written too.

        Raises
        ------
        OutputError
            Nothing can be written there, or a file that is read or a folder of others would be replaced.
        """
        prefix = file_prefix(export.name, model)
        names = tuple(result_names(prefix, export.formats, budget))
        folder = None if out is None else path_to_write(out, "output folder")
        if folder is not None:
            check_writable(folder, names, read)
            refuse_foreign_folders(folder / name for name in names if name not in large_model_names(prefix))
        return cls(folder, prefix, names)

    def refuse_state(self, state: Path) -> None:
        """Check that a state file, which need not be there yet, is none of the results, nor where their folder is.

        Raises
        ------
        OutputError
            The results would replace it, or could not be written for it.
        """
        if self.folder is None:
            return
        folder = self.folder.resolve()
        for place in (state.resolve(), state.parent.resolve() / state.name):
            if folder.is_relative_to(place):
                raise _state_problem(state, f"is where the results are written, {str(self.folder)!r}")
            if any(place.is_relative_to(folder / name) for name in self.names):
                raise _state_problem(state, "would be replaced by a result of that name")


def _state_problem(state: Path, found: str) -> OutputError:
    hint = "choose another name for the state file (--resume), such as state.npz"
    return OutputError(Problem(f"is the state file to resume, and {found}", file=str(state), hint=hint))
