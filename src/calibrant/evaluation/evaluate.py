"""Running several models on the same data and scoring them side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import Batches, open_data
from calibrant.errors import DataError, ModelError, Problem
from calibrant.evaluation.accuracy import Score, Scoreboard
from calibrant.evaluation.labels import as_labels, load_labels
from calibrant.evaluation.logits import is_sigmoid
from calibrant.graph.graph import Graph
from calibrant.graph.load import load
from calibrant.graph.run import Runner, input_shapes
from calibrant.progress import LOG, ProgressFn, no_progress


def evaluate(
    models: Sequence[Any],
    data: Any,
    labels: Any = None,
    *,
    ignore_labels: Collection[int] = (),
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    signature: str | None = None,
    constants: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    track: ProgressFn = no_progress,
    **data_options: Any,
) -> tuple[Score, ...]:
    """Score models on the same data; the first is the reference of the others.

    Parameters
    ----------
    models : what :func:`calibrant.graph.load.load` takes, at least one.
    data : what :func:`calibrant.data.open_data.open_data` takes; all of it is used. It is read once per model, side
        by side, so it has to be restartable for more than one.
    labels : path or array of class numbers; None: outputs are compared with those of the first model only.
    ignore_labels : samples with these labels do not count for the accuracy.
    inputs, outputs, signature : as for :func:`calibrant.quantize`, for every model. Each of several outputs
        has scores of its own.
    names : how the models are called in the result; their files by default.

    Returns
    -------
    tuple of Score, in the order of the models; for one output after the other.

    Raises
    ------
    CalibrantError : a model cannot be read, data or labels do not fit, outputs have different shapes.
    """
    if not models:
        raise ModelError(Problem("there is no model to evaluate", allowed="at least one"))
    graphs = [load(model, inputs, outputs, signature, constants) for model in models]
    fixed = _fixed_batch(graphs)
    if fixed is not None:
        data_options = {**data_options, "batch_size": data_options.get("batch_size") or fixed}
    truth = None
    if labels is not None:
        truth = load_labels(labels) if isinstance(labels, (str,)) or hasattr(labels, "__fspath__") else labels
        truth = as_labels(np.asarray(truth), "labels")
    keys = graphs[0].output_keys
    if truth is not None and len(keys) > 1:
        message = f"the labels belong to one output, the model has {len(keys)}"
        raise DataError(Problem(message, allowed=", ".join(keys), hint="choose it with --outputs (outputs=)"))
    called = list(names or (graph.source for graph in graphs))
    boards = [
        Scoreboard(called, ignore_labels, is_sigmoid(graphs[0], tensor), key if len(keys) > 1 else None)
        for key, tensor in zip(keys, graphs[0].outputs, strict=True)
    ]
    sources = [open_data(data, inputs_of(graph, like=graphs[0]), **data_options) for graph in graphs]
    if len(graphs) > 1 and not sources[0].restartable:
        raise DataError(
            Problem("the data can be read only once, but there are several models", hint="give files or arrays")
        )
    runners = [Runner(graph) for graph in graphs]
    done = 0
    try:
        # Where a model has a fixed batch, a last batch with fewer samples is left out for all.
        for batches in track(zip(*sources, strict=fixed is None), "evaluating", _least(sources)):
            results = [
                [np.array(array) for array in runner(batch)] for runner, batch in zip(runners, batches, strict=True)
            ]
            for place, board in enumerate(boards):
                outputs_of_all = [_output(found, place, name) for found, name in zip(results, called, strict=True)]
                board.update(outputs_of_all, _labels_of(truth, done, len(results[0][0])))
            done += len(results[0][0])
    finally:
        for runner in runners:
            runner.close()
    if truth is not None and len(truth) - done >= (fixed or 1):
        raise DataError(Problem(f"{len(truth)} labels for {done} samples", allowed="one label a sample"))
    if boards[0].is_off_by_one:
        LOG.warning("the labels seem to be one too small: the class after each is predicted far more often")
    return tuple(score for board in boards for score in board.scores())


def _output(arrays: Sequence[np.ndarray], place: int, name: str) -> np.ndarray:
    if place >= len(arrays):
        raise DataError(
            Problem(
                f"has {len(arrays)} outputs, the first model has more", path=name, hint="choose them with --outputs"
            )
        )
    return arrays[place]


def _fixed_batch(graphs: Sequence[Graph]) -> int | None:
    """The batch that some of the models ask for."""
    sizes = {
        shape[0] for graph in graphs for shape, _ in input_shapes(graph).values() if shape and shape[0] is not None
    }
    if len(sizes) > 1:
        found = " and ".join(str(size) for size in sorted(sizes))
        raise DataError(Problem(f"the models have fixed batches of {found}, so they cannot be run on the same batches"))
    return sizes.pop() if sizes else None


def _least(sources: Sequence[Batches]) -> int | None:
    counts = [source.count for source in sources]
    return None if None in counts else min(counts)


def _labels_of(truth: np.ndarray | None, done: int, count: int) -> np.ndarray | None:
    if truth is None:
        return None
    if done + count > len(truth):
        raise DataError(Problem(f"{len(truth)} labels, but there are more samples", allowed="one label a sample"))
    return truth[done : done + count]
