"""Labels from the names of folders: the images of a class are in a sub-folder of their own."""

from __future__ import annotations

import numpy as np

from calibrant.data.input_source import read_errors
from calibrant.data.resolve_path import Selection, images_below
from calibrant.errors import DataError, Problem
from calibrant.progress import LOG

_SHOWN = 10


def class_of_each_image(selection: Selection) -> np.ndarray:
    """The class numbers of the images of a folder, in the order in which the folder is read as data.

    The classes are its sub-folders, sorted by name and counted from 0, as Keras' ``image_dataset_from_directory`` does;
    those without images count, hidden ones do not.

    Parameters
    ----------
    selection : Selection
        The folder.

    Raises
    ------
    DataError
        It cannot be read, holds no images, or images that are in no sub-folder; or a part of it is chosen.
    """
    path, word = selection.path, selection.word
    if selection.window:
        raise DataError(Problem("[start:stop] chooses samples of arrays, this is a folder", file=word))
    with read_errors(word):
        classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        images = sorted(images_below(path))
    outside = [name for name in images if "/" not in name]
    if outside or not images:
        found = f"image {outside[0]!r} is in no class folder" if outside else "no image is in a class folder"
        hint = "otherwise give a file of labels: a class number a line, in the order of the sorted paths of the images"
        allowed = "for each class a sub-folder with its images"
        raise DataError(
            Problem(f"of a folder, the labels are its sub-folders, but {found}", word, allowed=allowed, hint=hint)
        )
    numbers = {name: number for number, name in enumerate(classes)}
    named = ", ".join(f"{number} {name}" for name, number in list(numbers.items())[:_SHOWN])
    LOG.info("classes of %s: %s%s", word, named, ", ..." if len(classes) > _SHOWN else "")
    return np.array([numbers[name.partition("/")[0]] for name in images])
