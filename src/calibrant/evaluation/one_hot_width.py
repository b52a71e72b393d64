"""Whether one-hot labels have as many columns as the model has classes."""

from __future__ import annotations

from collections.abc import Collection

from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph


def check_width(width: int, graph: Graph, place: int, file: str, offset: int = 0, ignore: Collection[int] = ()) -> None:
    """Refuse one-hot rows of another width than the classes of an output, where their number is known.

    Parameters
    ----------
    width : int
        Columns of the labels.
    graph : Graph
        The model.
    place : int
        Position of the output.
    file : str
        What messages call the labels.
    offset : int
        What is added to class numbers.
    ignore : Collection[int]
        Columns that do not count.

    Raises
    ------
    DataError
        The numbers differ.
    """
    classes = _classes(graph, graph.outputs[place])
    last = max((number for number in range(width) if number not in ignore), default=width - 1)
    if classes is None or classes in (width + offset, last + 1 + offset):
        return
    shift = f" with an offset of {offset}" if offset else ""
    problem = f"one-hot labels of {width} columns{shift} for a model with {classes} classes"
    raise DataError(Problem(problem, file=file, allowed=f"{classes - offset} columns, or class numbers [N]"))


def _classes(graph: Graph, tensor: str) -> int | None:
    """How many classes an output has; None where only running it tells."""
    shape = graph.shape(tensor)
    if shape is None or not graph.dtype(tensor).is_floating:
        return None
    long = [size for size in shape[1:] if size != 1]
    if len(long) < 2:
        return long[0] if long else 2
    return shape[-1] if shape[-1] != 1 else None
