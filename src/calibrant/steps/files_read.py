"""Step: which files a run reads, so that it does not write over them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibrant.config.load import config_files
from calibrant.data.resolve_path import FOLDER_ENDINGS, paths_of
from calibrant.data.tfrecords import TFRecords
from calibrant.publish.kept import Kept
from calibrant.regular_file import is_folder

SAVED_MODEL_PARTS = ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb", "variables", "assets", "assets.extra")


def files_read(model: Any, config: Any = None, *data: Any) -> tuple[Kept, ...]:
    """The files and folders that are read; none for what is in memory, or not there.

    Parameters
    ----------
    model, config : Any
        As for :func:`calibrant.quantize`.
    *data : Any
        Data, labels and other files, each as for :func:`calibrant.quantize`.
    """
    kept = [*_model_files(model), *map(Kept, config_files(config))]
    return (*kept, *(Kept(path, FOLDER_ENDINGS) for each in data for path in _data_paths(each)))


def _model_files(model: Any) -> Iterator[Kept]:
    if not isinstance(model, (str, os.PathLike)):
        return
    path = Path(model)
    if path.name == "saved_model.pb":
        path = path.parent
    if is_folder(path):
        yield from (Kept(path / name) for name in SAVED_MODEL_PARTS)
    else:
        yield Kept(path)


def _data_paths(data: Any) -> Iterator[Path]:
    if isinstance(data, (str, Path)):
        yield from paths_of(data)
    elif isinstance(data, TFRecords):
        yield from _data_paths(data.paths)
    elif isinstance(data, Mapping):
        for each in data.values():
            yield from _data_paths(each)
    elif isinstance(data, (list, tuple)) and all(isinstance(each, (str, Path)) for each in data):
        for each in data:
            yield from paths_of(each)
