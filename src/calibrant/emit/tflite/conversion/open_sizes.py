"""Models that leave sizes open which the converter or a kernel has to know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibrant.emit.tflite.conversion.float_file import FloatFile, float_file
from calibrant.emit.tflite.flatbuffer import File
from calibrant.emit.tflite.sample import as_fed, fits, from_batch
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.emit.tflite.trial import tried
from calibrant.errors import ConfigError, ModelError, Problem, did_you_mean
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.layers import Layer
from calibrant.graph.node_input import NodeInput
from calibrant.quantized_network import QuantizedNetwork

TRIED_SIZE = 16


def float_file_with_known_sizes(
    graph: Graph, layers: Collection[Layer], places: Collection[NodeInput], settings: TfliteSettings
) -> FloatFile:
    """Convert a graph; with one sample a run where it is not converted with any number of them.

    The parameters are those of :func:`calibrant.emit.tflite.conversion.float_file.float_file`.

    Raises
    ------
    ModelError
        The converter does not take the graph; with the option that helps where it takes it with all sizes fixed.
    """
    try:
        return float_file(graph, layers, places, settings)
    except ModelError as error:
        left = _left_open(graph, settings)
        if not left:
            raise
        free = settings.batch is None and not settings.shape
        one = _converted(graph, layers, places, replace(settings, batch=1)) if free else None
        if one is not None:
            return one
        samples = _samples(graph, settings)
        guessed = {
            key: tuple(_guess(axis, size, samples) for axis, size in enumerate(shape))
            for key, shape in _ranked(graph)
            if key in left
        }
        if _converted(graph, layers, places, replace(settings, shape={**guessed, **settings.shape})) is None:
            raise
        raise with_shape_hint(error, graph, settings=settings) from None


def of_samples(network: QuantizedNetwork, settings: TfliteSettings, count: int) -> FloatFile | None:
    """The float file with so many samples a run, where its sizes were left to us and the converter takes it so."""
    if settings.shape or settings.batch is not None or not _open_inputs(network.graph):
        return None
    places = [found.place for found in network.every_input()]
    layers = [layer.layer for layer in network.layers]
    return _converted(network.graph, layers, places, replace(settings, batch=count))


def samples_a_run(file: File, graph: Graph) -> int | None:
    """The number of samples that a file takes at once; None where it is open, or the model fixes it too."""
    pairs = zip(file.inputs(), _shapes(graph), strict=True)
    fixed = (tensor.signature[:1] for tensor, (_, shape) in pairs if shape is None or shape[:1] == (None,))
    return next((size for first in fixed for size in first if size is not None), None)


def check_shapes(graph: Graph, settings: TfliteSettings) -> None:
    """Refuse fixed shapes that the inputs cannot have.

    Raises
    ------
    ConfigError
        An input that does not exist, or a shape that does not fit the model's; with what is allowed.
    """
    shapes = {nd.node_name(tensor): graph.shape(tensor) for tensor in graph.inputs} | dict(_shapes(graph))
    problems = []
    for key, given in settings.shape.items():
        message = f"tflite_shape of {key!r} is {list(given)}"
        if key not in shapes:
            keys = ", ".join(graph.input_keys)
            problems.append(
                Problem(f"{message}: there is no such input", allowed=keys, hint=did_you_mean(key, graph.input_keys))
            )
        elif (shape := shapes[key]) is not None and not fits(given, shape):
            allowed = ", ".join("any" if size is None else str(size) for size in shape)
            problems.append(Problem(message, file=graph.source, allowed=f"[{allowed}]"))
        elif settings.batch is not None and shape is not None and shape[:1] == (None,) and given[0] != settings.batch:
            problems.append(Problem(f"{message}, and tflite_batch is {settings.batch}", allowed="one of them"))
    if problems:
        raise ConfigError(*problems)


def with_tried_shape_hint(
    error: ModelError,
    network: QuantizedNetwork,
    settings: TfliteSettings,
    batch: Mapping[str, np.ndarray] | None,
    one_a_run: bool,
) -> ModelError:
    """The error of a file that does not run, with the option that fixes its shapes where the float file runs then.

    Parameters
    ----------
    batch : Mapping[str, np.ndarray] | None
        Calibration data by input.
    one_a_run : bool
        Whether they are one sample, without an axis of samples.
    """
    graph = network.graph
    left = _left_open(graph, settings)
    if batch is None or (settings.shape and not left):
        return error
    arrays = {key: np.asarray(batch[key]) for key in graph.input_keys}
    samples = _samples(graph, settings)
    first = {key: arrays[key].shape[:1] if one_a_run else (samples,) for key in left}
    fixed = {key: (*first[key], *arrays[key].shape[1:]) for key in left if arrays[key].ndim}
    places = [found.place for found in network.every_input()]
    try:
        known = replace(settings, shape={**fixed, **settings.shape}, batch=None)
        file = float_file(graph, [layer.layer for layer in network.layers], places, known).file
        sample = from_batch(graph, arrays, file, one_a_run)
        if sample is None:
            return error
        for delegate in (True, False):
            tried(file.content(), as_fed(file, sample), (), delegate, graph.source)
    except ModelError:
        return error
    return with_shape_hint(error, graph, list(arrays.values()), settings, one_a_run)


def with_shape_hint(
    error: ModelError,
    graph: Graph,
    data: Sequence[np.ndarray] | None = None,
    settings: TfliteSettings | None = None,
    one_a_run: bool = False,
) -> ModelError:
    """The error with the option that fixes the shapes of the inputs; as it is where they are fixed.

    Parameters
    ----------
    data : Sequence[np.ndarray] | None
        A batch, one array an input, which says the sizes.
    settings : TfliteSettings | None
        The shapes that are fixed already.
    one_a_run : bool
        Whether the batch is one sample, without an axis of samples.
    """
    settings = settings or TfliteSettings()
    left, samples = _left_open(graph, settings), _samples(graph, settings)
    options = {
        key: f"--tflite-shape {key}={_sizes(shape, None if data is None else data[at].shape, samples, one_a_run)}"
        for at, (key, shape) in enumerate(_shapes(graph))
        if key in left
    }
    if not options:
        return error
    hint = (
        "fix the sizes of its inputs" if not settings.shape else f"the sizes of {', '.join(options)} are open as well"
    )
    hint = f"{hint}, {' '.join(options.values())}"
    return ModelError(*(replace(problem, hint=hint) for problem in error.problems))


def _sizes(shape: nd.OpenShape | None, found: Sequence[int] | None, samples: int, one_a_run: bool) -> str:
    """A shape with so many samples, unless the data are one, and with the sizes of data where it is open."""
    if shape is None:
        shape = None if found is None else (None,) * len(found)
    if shape is None:
        return "SIZE,SIZE,…"
    known = ["SIZE"] * len(shape) if found is None else list(map(str, found))
    return ",".join(str(size or (known[axis] if axis or one_a_run else samples)) for axis, size in enumerate(shape))


def _shapes(graph: Graph) -> list[tuple[str, nd.OpenShape | None]]:
    return [(key, graph.shape(tensor)) for key, tensor in zip(graph.input_keys, graph.inputs, strict=True)]


def _ranked(graph: Graph) -> list[tuple[str, nd.OpenShape]]:
    return [(key, shape) for key, shape in _shapes(graph) if shape]


def _open_inputs(graph: Graph) -> set[str]:
    return {key for key, shape in _shapes(graph) if shape is None or None in shape}


def _left_open(graph: Graph, settings: TfliteSettings) -> set[str]:
    """The open inputs that have no shape among the settings."""
    return {key for key, shape in _given_shapes(graph, settings).items() if shape is None} & _open_inputs(graph)


def _samples(graph: Graph, settings: TfliteSettings) -> int:
    """The number of samples a run that the settings fix, or one."""
    given = _given_shapes(graph, settings)
    fixed = (given[key] for key, shape in _shapes(graph) if shape and shape[0] is None)
    return settings.batch or next((shape[0] for shape in fixed if shape), 1)


def _given_shapes(graph: Graph, settings: TfliteSettings) -> dict[str, tuple[int, ...] | None]:
    pairs = zip(graph.input_keys, graph.inputs, strict=True)
    return {key: settings.shape_of(key, nd.node_name(tensor)) for key, tensor in pairs}


def _guess(axis: int, size: int | None, samples: int) -> int:
    return size if size is not None else TRIED_SIZE if axis else samples


def _converted(
    graph: Graph, layers: Collection[Layer], places: Collection[NodeInput], settings: TfliteSettings
) -> FloatFile | None:
    try:
        return float_file(graph, layers, places, settings)
    except ModelError:
        return None
