"""Where models of one network are compared: at the same point of each of them.

That is before a final Softmax, which hides differences, where every model has one; else at the output itself. Strings
are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.simulation import safe_name
from calibrant.errors import DataError, Problem
from calibrant.evaluation.layer_divergence import BETWEEN
from calibrant.evaluation.sample_range import sample_count, whole_pieces
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.graph import Graph
from calibrant.graph.logits import softmax_input
from calibrant.graph.run import Runner

Model = Graph | TfliteRunner


@dataclass(frozen=True)
class ComparisonPoints:
    """The tensors of one model that are compared, one for each output.

    Parameters
    ----------
    graph : tuple[str, ...]
        Tensors of a graph; empty for a LiteRT file.
    file : tuple[Tensor, ...]
        Tensors of a LiteRT file; empty for a graph.
    """

    graph: tuple[str, ...] = ()
    file: tuple[Tensor, ...] = ()


def comparison_points(models: Mapping[str, Model]) -> dict[str, ComparisonPoints]:
    """Name of each model → its tensors to compare, in the order of the outputs.

    Raises
    ------
    DataError
        All outputs are strings.
    """
    graphs = {name: model for name, model in models.items() if isinstance(model, Graph)}
    files = {name: model for name, model in models.items() if isinstance(model, TfliteRunner)}
    reference = next(iter(graphs.values()))
    chosen: dict[str, list[str]] = {name: [] for name in graphs}
    tensors: dict[str, list[Tensor]] = {name: [] for name in files}
    for index, output in enumerate(reference.outputs):
        if reference.dtype(output).as_numpy_dtype is object:
            continue
        outputs = {name: graph.outputs[index] for name, graph in graphs.items()}
        ends = {name: file.file.outputs()[index] for name, file in files.items()}
        scores = {name: file.softmax_input(ends[name]) for name, file in files.items()}
        logits = {
            name: softmax_input(graph, outputs[name]) or _simulated(graph, scores.values())
            for name, graph in graphs.items()
        }
        everywhere = None not in logits.values() and None not in scores.values()
        for name, tensor in outputs.items():
            chosen[name].append((logits[name] if everywhere else None) or tensor)
        for name, file in files.items():
            tensors[name].append((scores[name] if everywhere else None) or file.quantized_output(ends[name]))
    if not any(chosen.values()):
        hint = "quantize with the tensors that the strings are made from as outputs: --outputs"
        raise DataError(
            Problem("all outputs are strings, so there is nothing to compare", file=reference.source, hint=hint)
        )
    return {
        **{name: ComparisonPoints(graph=tuple(found)) for name, found in chosen.items()},
        **{name: ComparisonPoints(file=tuple(found)) for name, found in tensors.items()},
    }


def _simulated(graph: Graph, tensors: Iterable[Tensor | None]) -> str | None:
    """The tensor of a simulation that stands for one of a file; None in other graphs."""
    names = (f"{safe_name(tensor.name)}{BETWEEN}" for tensor in tensors if tensor is not None)
    return next((f"{name}:0" for name in names if name in graph.nodes), None)


def run_graph(runner: Runner, fed: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """The compared tensors of a graph for one batch, each [samples, values]; in pieces if its batch is fixed."""
    graph = runner.graph
    fixed = next((shape[0] for shape in map(graph.shape, graph.inputs) if shape), None)

    def run(piece: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        return runner({key: piece[at] for at, key in enumerate(graph.input_keys)})

    return _in_pieces(run, fed, fixed)


def run_file(runner: TfliteRunner, points: ComparisonPoints, fed: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """The compared tensors of a LiteRT file for one batch, each [samples, values]; in pieces if its batch is fixed."""

    def run(piece: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        runner.run(piece)
        return [runner.real(tensor) for tensor in points.file]

    return _in_pieces(run, fed, runner.fixed_batch)


def _in_pieces(
    run: Callable[[Mapping[int, np.ndarray]], list[np.ndarray]], fed: Mapping[int, np.ndarray], fixed: int | None
) -> list[np.ndarray]:
    size = fixed or sample_count(fed)
    pieces = []
    for piece, kept in whole_pieces(fed, size):
        pieces.append([_rows(np.array(values), size)[:kept] for values in run(piece)])
    for parts in zip(*pieces, strict=True):
        require_one_width(parts)
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)] if len(pieces) > 1 else pieces[0]


def _rows(values: np.ndarray, samples: int) -> np.ndarray:
    """[samples, values]; a tensor without an axis of samples is the same for all of them."""
    if values.size % samples:
        return np.tile(values.reshape(1, -1), (samples, 1))
    return values.reshape(samples, -1)


def require_one_width(arrays: Iterable[np.ndarray]) -> None:
    """Arrays [samples, values] of one output can be compared.

    Raises
    ------
    DataError
        They have different numbers of values.
    """
    widths = sorted({array.shape[1] for array in arrays})
    if len(widths) > 1:
        found = " and ".join(map(str, widths))
        message = f"an output has {found} values: its size depends on what is in it, so it cannot be compared"
        raise DataError(Problem(message, hint="quantize with the other outputs: --outputs"))
