"""Where models of one network are compared: at the same point of each of them.

That is before a final Softmax, which hides differences, where every model has one; else at the output itself. Strings
that are the same for all samples, as the names of all classes, are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.simulation.simulate import between_node
from calibrant.errors import DataError, Problem
from calibrant.evaluation.sample_range import Fed, SampleAxes
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.graph import Graph
from calibrant.graph.logits import softmax_input
from calibrant.graph.running.run import Runner

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
    if all(is_text(reference, output) for output in reference.outputs):
        hint = "quantize with the tensors that the strings are made from as outputs: --outputs"
        raise DataError(
            Problem("all outputs are strings, so there is nothing to compare", file=reference.source, hint=hint)
        )
    chosen: dict[str, list[str]] = {name: [] for name in graphs}
    tensors: dict[str, list[Tensor]] = {name: [] for name in files}
    for index in compared_outputs(reference):
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
    return {
        **{name: ComparisonPoints(graph=tuple(found)) for name, found in chosen.items()},
        **{name: ComparisonPoints(file=tuple(found)) for name, found in tensors.items()},
    }


def compared_outputs(graph: Graph) -> list[int]:
    """Positions of the outputs that are compared."""
    return [
        place
        for place, output in enumerate(graph.outputs)
        if not is_text(graph, output) or graph.constant(output) is None
    ]


def is_text(graph: Graph, tensor: str) -> bool:
    """Whether a tensor holds strings."""
    return graph.dtype(tensor).as_numpy_dtype is object


def _simulated(graph: Graph, tensors: Iterable[Tensor | None]) -> str | None:
    """The tensor of a simulation that stands for one of a file; None in other graphs."""
    names = (between_node(tensor) for tensor in tensors if tensor is not None)
    return next((f"{name}:0" for name in names if name in graph.nodes), None)


@dataclass(frozen=True)
class Pieces:
    """How batches are divided for models that take a fixed number of samples, and how results are put together.

    Parameters
    ----------
    axes : SampleAxes
        Which inputs hold samples.
    common : int | None
        Samples in a piece for all models, where what one of them gives depends on which samples it runs at once.
    ends : tuple[bool | None, ...]
        For each output, whether its first axis counts samples; None where that is not known.
    """

    axes: SampleAxes
    common: int | None
    ends: tuple[bool | None, ...]

    @classmethod
    def of(
        cls, models: Mapping[str, Model], reference: Graph, tensors: Sequence[str], one_a_run: bool = False
    ) -> Pieces:
        """Of models of one network, one of which leaves open what it can: ``tensors`` are its outputs."""
        axes = SampleAxes.of(reference, one_a_run)
        is_open = axes.fixed(_first_sizes(reference)) is None
        ends = tuple(_counts_samples(reference.shape(tensor), is_open) for tensor in tensors)
        sizes = (axes.fixed(_first_sizes(model)) for model in models.values())
        common = next(filter(None, sizes), None) if False in ends else None
        return cls(axes, common, ends)

    def run_graph(self, runner: Runner, fed: Fed) -> list[np.ndarray]:
        """The compared tensors of a graph for one batch, each [samples, values]."""
        graph = runner.graph

        def run(piece: Fed) -> list[np.ndarray]:
            return runner({key: piece[at] for at, key in enumerate(graph.input_keys)})

        return self._run(run, fed, self.axes.fixed(_first_sizes(graph)))

    def run_file(self, runner: TfliteRunner, points: ComparisonPoints, fed: Fed) -> list[np.ndarray]:
        """The compared tensors of a LiteRT file for one batch, each [samples, values]."""

        def run(piece: Fed) -> list[np.ndarray]:
            runner.run(piece)
            return [runner.real(tensor) for tensor in points.file]

        return self._run(run, fed, self.axes.fixed(runner.first_sizes))

    def _run(self, run: Callable[[Fed], list[np.ndarray]], fed: Fed, fixed: int | None) -> list[np.ndarray]:
        size = self.common or fixed or self.axes.count(fed)
        pieces = []
        for piece, kept in self.axes.whole_pieces(fed, size):
            values = zip(run(piece), self.ends, strict=True)
            pieces.append([_rows(np.array(found), size, counts)[:kept] for found, counts in values])
        for parts in zip(*pieces, strict=True):
            require_one_width(parts)
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)] if len(pieces) > 1 else pieces[0]


def _first_sizes(model: Model) -> dict[int, int | None]:
    if isinstance(model, TfliteRunner):
        return model.first_sizes
    return {at: shape[0] for at, shape in enumerate(map(model.shape, model.inputs)) if shape}


def _counts_samples(shape: tuple[int | None, ...] | None, is_open: bool) -> bool | None:
    if shape is None or not is_open:
        return None
    return bool(shape) and shape[0] is None


def _rows(values: np.ndarray, samples: int, counts_samples: bool | None) -> np.ndarray:
    """[samples, values]; a tensor without an axis of samples is the same for all of them."""
    if counts_samples is False or values.size % samples:
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
