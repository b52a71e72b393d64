"""The models in a folder that a quantization has written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.evaluation.recorded_options import as_in_the_run
from calibrant.evaluation.tflite_runner import TfliteRunner, open_tflite
from calibrant.file_endings import ASCEND, FAKEQUANT, FAKEQUANT_FOLDER, SIMULATION, TFLITE
from calibrant.graph.graph import Graph
from calibrant.graph.reading.load import load
from calibrant.graph.same_order import in_order_of
from calibrant.graph.skeleton import large_constants, skeleton
from calibrant.json_text import read_json
from calibrant.options import ModelOptions
from calibrant.publish.write import finish_earlier_run
from calibrant.regular_file import is_folder
from calibrant.steps.planned import load_model

FLOAT = "float"
REPORT, CONFIGURATION = "report.json", "configuration_sha256"
RECORD, RECORD_HASH = "record.txt", "record_sha256"
LARGE_GRAPH_BYTES = 1 << 28  # of weights of a graph that is read again when it is needed


@dataclass(frozen=True)
class ResultModels:
    """Models by kind, in the order of the table.

    Parameters
    ----------
    known : dict[str, Graph | TfliteRunner]
        All of them; large graphs without their weights.
    unread : dict[str, Callable[[], Graph]]
        Reads a large graph again.
    """

    known: dict[str, Graph | TfliteRunner]
    unread: dict[str, Callable[[], Graph]]

    def graph(self, kind: str) -> Graph:
        """A graph with its weights.

        Raises
        ------
        KeyError
            There is none of the kind.
        """
        found = self.unread[kind]() if kind in self.unread else self.known[kind]
        if not isinstance(found, Graph):
            raise KeyError(kind)
        return found

    @property
    def fake(self) -> Graph:
        """The fake-quantized model, which every result has; a large one without its weights."""
        found = self.known[FAKEQUANT]
        assert isinstance(found, Graph)
        return found

    @property
    def file(self) -> TfliteRunner | None:
        """The LiteRT file; None where there is none."""
        found = self.known.get(TFLITE)
        return found if isinstance(found, TfliteRunner) else None


def open_models(folder: Path, model: Any = None, options: ModelOptions | None = None) -> ResultModels:
    """Float model, read as in the run unless the options say how, and files of a result folder.

    Raises
    ------
    ModelError
        There is nothing to compare, or a file cannot be read.
    """
    if not is_folder(folder):
        raise ModelError(Problem("there is no such folder", file=str(folder), allowed="the folder that quantize wrote"))
    finish_earlier_run(folder)
    fakes = [path for path in folder.glob(f"*{FAKEQUANT}") if not path.name.endswith(SIMULATION)]
    fakes += [path for path in folder.glob(f"*{FAKEQUANT_FOLDER}") if path.is_dir()]  # above 2 GB
    fakes.sort()
    if len(fakes) != 1:
        found = ", ".join(path.name for path in fakes) or "none"
        raise ModelError(
            Problem(
                f"{found} found", file=str(folder), allowed=f"a folder with one NAME{FAKEQUANT}, as quantize makes it"
            )
        )
    readers: dict[str, Callable[[], Graph]] = {}
    if model is not None:
        report: Any = None
        with suppress(OSError, ValueError):
            report = read_json(folder / REPORT)
        readers[FLOAT] = partial(load_model, model, as_in_the_run(options or ModelOptions(), report))
    readers[FAKEQUANT] = partial(load, fakes[0])  # the report beside it names inputs and outputs
    prefix = fakes[0].name.removesuffix(".pb").removesuffix(FAKEQUANT_FOLDER)
    paths = {kind: folder / f"{prefix}{kind}" for kind in (ASCEND, SIMULATION, TFLITE)}
    for kind, path in paths.items():
        if kind != TFLITE and path.exists():
            readers[kind] = partial(load, path)
    has_file = paths[TFLITE].exists()
    if len(readers) + has_file < 2:
        hint = "quantize with --export tflite or ascend, or give the float model with --model"
        raise ModelError(Problem("there is nothing to compare", file=str(folder), hint=hint))
    graphs: dict[str, Graph] = {}
    unread = {}
    for kind, read in readers.items():
        graphs[kind], is_large = _without_many_weights(read)
        if is_large:
            unread[kind] = read
    fake = graphs[FAKEQUANT]
    if FLOAT in graphs:
        graphs[FLOAT] = in_order_of(graphs[FLOAT], like=fake)
    if FLOAT in unread:
        unread[FLOAT] = lambda: in_order_of(readers[FLOAT](), like=fake)
    known: dict[str, Graph | TfliteRunner] = {**graphs}
    if has_file:
        known[TFLITE] = file = open_tflite(paths[TFLITE])
        _refuse_other_run(file, folder, fakes[0])
    return ResultModels(known, unread)


def _refuse_other_run(file: TfliteRunner, folder: Path, fake: Path) -> None:
    """What a folder holds of two runs cannot be compared."""
    known: dict[str, str | None] = {}
    with suppress(OSError, ValueError, LookupError, TypeError):
        known[CONFIGURATION] = read_json(folder / REPORT)["run"][CONFIGURATION]
    with suppress(OSError):
        known[RECORD_HASH] = hashlib.sha256((folder / RECORD).read_bytes()).hexdigest()
    differing = [key for key, found in known.items() if file.about.get(key) not in (None, found)]
    if differing:
        what = "another configuration" if CONFIGURATION in differing else "other scales or offsets"
        raise ModelError(
            Problem(
                f"is of another run than {fake.name}, with {what}",
                file=file.source,
                hint="quantize again with --export tflite, or remove the file",
            )
        )


def _without_many_weights(read: Callable[[], Graph]) -> tuple[Graph, bool]:
    graph = read()
    is_large = large_constants(graph) > LARGE_GRAPH_BYTES
    return skeleton(graph) if is_large else graph, is_large
