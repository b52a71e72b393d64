"""The inputs of a model as its data must fit them, completed by what the user says about raw files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from calibrant.data.option_types import ACCEPTED
from calibrant.errors import DataError, Problem, did_you_mean

if TYPE_CHECKING:
    from calibrant.graph.graph import Graph

Shape = tuple[int, ...]
"""The shape of an array."""
OpenShape = tuple["int | None", ...]
"""A shape in which None stands for any size."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Parameters
    ----------
    name : str
        Name of the tensor as the user knows it, with or without ``:0``; the key of the input in batches.
    shape : OpenShape | None
        The dimensions, the batch first; None for a dimension that is not fixed, and None altogether for an unknown
        rank.
    dtype : np.dtype
        The numpy type that the model is fed with; ``object`` for strings.
    aliases : tuple[str, ...]
        Other names that data may use: the input of a signature can also be called by its tensor.
    is_read : bool
        Whether anything in the model reads it; a signature may have inputs that lead nowhere.
    has_samples : bool
        Whether the first dimension is fixed, and an output and all other inputs that fix theirs have the same: samples
        of a batch, by all appearances.
    is_one_sample : bool
        Whether it is one sample, to which the model adds the axis of samples.
    """

    name: str
    shape: OpenShape | None
    dtype: np.dtype
    aliases: tuple[str, ...] = ()
    is_read: bool = True
    has_samples: bool = False
    is_one_sample: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if self.shape is not None:
            object.__setattr__(self, "shape", _open_shape(self.shape))

    @property
    def plain_names(self) -> list[str]:
        """What data may call the input, without ``:0``; its own name first."""
        return [plain(name) for name in (self.name, *self.aliases)]

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the model fixes, or None."""
        return self.shape[0] if self.shape else None


def _open_shape(sizes: Sequence[int | None]) -> OpenShape:
    """The sizes with None for each that is negative."""
    return tuple(None if size is None or size < 0 else int(size) for size in sizes)


def inputs_of(graph: Graph, like: Graph | None = None) -> list[InputSpec]:
    """The inputs of a graph.

    Parameters
    ----------
    graph : Graph
        The graph that is fed.
    like : Graph | None
        A graph with the same inputs, whose names for them are accepted too.

    Returns
    -------
    list[InputSpec]
        In the order of the graph.
    """
    from calibrant.graph.added_axis import is_one_sample

    lengths = graph.first_sizes(graph.outputs)
    fixed = graph.first_sizes(graph.inputs)
    shown_as = like if like is not None and len(like.inputs) == len(graph.inputs) else graph
    return [
        InputSpec(
            key,
            graph.shape(tensor),
            graph.dtype(tensor).as_numpy_dtype,
            (tensor, *others, *_stood_for(graph, tensor)),
            bool(graph.consumers(tensor)) or tensor in graph.outputs,
            len(fixed) == 1 and (graph.shape(tensor) or (None,))[0] in lengths,
            is_one_sample(graph, tensor),
        )
        for key, tensor, *others in zip(
            graph.input_keys, graph.inputs, shown_as.input_keys, shown_as.inputs, strict=True
        )
    ]


def _stood_for(graph: Graph, tensor: str) -> tuple[str, ...]:
    """The tensor at which the graph was cut, where the input has another name."""
    from calibrant.graph.reading.cut import stood_for

    found = stood_for(graph.producer(tensor))
    return () if found is None else (found,)


def plain(name: str) -> str:
    """A tensor's name without ``:0``, so that both forms compare equal."""
    return name.removesuffix(":0")


def static_shape(shape: OpenShape) -> Shape | None:
    """The shape if every dimension is fixed, else None."""
    sizes = tuple(size for size in shape if size is not None)
    return sizes if len(sizes) == len(shape) else None


def show(shape: Sequence[int | str | None] | None) -> str:
    """``[?, 49, 10]``: a shape as messages show it."""
    return "of any rank" if shape is None else "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def meant_inputs(keys: Iterable[str], inputs: Sequence[InputSpec]) -> dict[str, str]:
    """By key of the data, the name of the input that it means, with or without ``:0``, for those that mean one."""
    input_of = {alias: spec.name for spec in inputs for alias in spec.plain_names}
    input_of |= {plain(spec.name): spec.name for spec in inputs}
    return {key: input_of[plain(key)] for key in keys if isinstance(key, str) and plain(key) in input_of}


def match_names(keys: Sequence[str], inputs: Sequence[InputSpec], what: str) -> dict[str, str]:
    """By input name, the key of the data that means it.

    Raises
    ------
    DataError
        Keys are not inputs; lists each of them with the closest name.
    """
    input_of = meant_inputs(keys, inputs)
    names = [spec.name for spec in inputs]
    problems = [
        Problem(
            f"{what} is given for {key!r}, which is no input",
            allowed=", ".join(names),
            hint=did_you_mean(str(key), names),
        )
        for key in keys
        if key not in input_of
    ]
    if problems:
        raise DataError(*problems)
    return {input_of[key]: key for key in keys}


def with_shapes(
    inputs: Sequence[InputSpec], shapes: Mapping[str, Sequence[int | None]] | None
) -> tuple[InputSpec, ...]:
    """The inputs with the dimensions given by the user (None or -1: any) filled in.

    Raises
    ------
    DataError
        A name is not an input, or a shape is none or contradicts the model's.
    """
    if not shapes:
        return tuple(inputs)
    keys = match_names(list(shapes), inputs, "a shape")
    problems: list[Problem] = []
    completed: list[InputSpec] = []
    for spec in inputs:
        if spec.name not in keys:
            completed.append(spec)
            continue
        given = given_shape(shapes[keys[spec.name]], spec.name)
        merged = _merge(spec.shape, given)
        if merged is None:
            message = f"the shape given is {show(given)}, the model's is {show(spec.shape)}"
            problems.append(Problem(message, path=f"input {spec.name!r}"))
        else:
            completed.append(replace(spec, shape=merged))
    if problems:
        raise DataError(*problems)
    return tuple(completed)


def given_shape(given: object, name: str) -> OpenShape:
    """The shape that a user gives for the input of a name.

    Raises
    ------
    DataError
        It is no list of sizes.
    """
    try:
        sizes = None if isinstance(given, (str, bytes, Mapping)) else list(given)  # type: ignore[call-overload]
    except TypeError:
        sizes = None
    if sizes is None or not all(size is None or ACCEPTED["int"][0](size) for size in sizes):
        allowed = "a list of whole numbers; None or -1: any size"
        raise DataError(Problem(f"the shape given is {given!r:.80}", path=f"input {name!r}", allowed=allowed))
    return _open_shape(sizes)


def raw_dtypes(inputs: Sequence[InputSpec], dtypes: Mapping[str, object] | None) -> dict[str, np.dtype]:
    """By input name, the type of its raw files: the user's choice, else the model's own type."""
    given = dtypes or {}
    keys = match_names(list(given), inputs, "a data type")
    return {spec.name: data_type(given[keys[spec.name]]) if spec.name in keys else spec.dtype for spec in inputs}


def parse_input_shapes(text: str) -> dict[str, OpenShape]:
    """``"name:n,h,w,c;name:n,d"`` → shapes by name; -1 stands for an unknown dimension, a name may end in ``:0``.

    Raises
    ------
    DataError
        A part has another form, or a name occurs twice.
    """
    shapes: dict[str, OpenShape] = {}
    problems = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, dimensions = part.rpartition(":")
        try:
            sizes = tuple(int(size) for size in dimensions.split(","))
        except ValueError:
            sizes = (0,)
        if not name or any(size == 0 or size < -1 for size in sizes):
            problems.append(
                Problem(f"the input shape {part!r} cannot be read", allowed="name:n,h,w,c;name:n,d (-1: any)")
            )
        elif plain(name) in map(plain, shapes):
            problems.append(Problem(f"the shape of {name!r} is given twice"))
        else:
            shapes[name] = tuple(None if size < 0 else size for size in sizes)
    if not shapes and not problems:
        problems.append(Problem("the input shape is empty", allowed="name:n,h,w,c;name:n,d (-1: any)"))
    if problems:
        raise DataError(*problems)
    return shapes


def parse_data_types(text: str, names: Sequence[str]) -> dict[str, np.dtype]:
    """``"float32;int32"`` → types by name, one for each of the names in their order.

    Raises
    ------
    DataError
        A type is unknown, or the numbers of types and names differ.
    """
    words = [word.strip() for word in text.split(";") if word.strip()]
    if len(words) != len(names):
        message = f"{len(words)} data types are given for {len(names)} inputs ({', '.join(names)})"
        raise DataError(Problem(message, allowed="one type per input, separated by ';'"))
    return {name: data_type(word) for name, word in zip(names, words, strict=True)}


def data_type(given: object) -> np.dtype:
    """The type of numbers that a word, ``float32`` or ``FLOAT32``, or a type of NumPy stands for.

    Raises
    ------
    DataError
        It is none, or not one of numbers.
    """
    for word in (given, given.strip().lower()) if isinstance(given, str) else (given,):
        with suppress(TypeError, ValueError, SyntaxError):
            dtype = np.dtype(word)  # type: ignore[call-overload]  # refuses what is no type
            if dtype.kind in "biuf":
                return dtype
    names = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool"]
    hint = did_you_mean(str(given).lower(), names)
    raise DataError(Problem(f"the data type {given!r} is not known", allowed=", ".join(names), hint=hint))


def _merge(model: OpenShape | None, given: OpenShape) -> OpenShape | None:
    if model is None:
        return given
    if len(model) != len(given) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(model, given, strict=True)
    ):
        return None
    return tuple(given_size if size is None else size for size, given_size in zip(model, given, strict=True))
