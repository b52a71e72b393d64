"""Running several models on the same data and scoring them side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.errors import DataError, ModelError, Problem
from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.labels import labels_by_output, output_place
from calibrant.evaluation.labels_per_sample import check_number, labels_of_batch, warn_of_unused
from calibrant.evaluation.output_samples import OutputSamples
from calibrant.evaluation.score import Score
from calibrant.evaluation.side_by_side import SideBySide
from calibrant.evaluation.sound_reference import SoundReference
from calibrant.graph.graph import Graph
from calibrant.graph.logits import is_sigmoid, softmax_input
from calibrant.graph.running.run import Runner
from calibrant.graph.same_order import in_order_of
from calibrant.graph.sample_axis import inputs_with_samples
from calibrant.options import TO_READ, OptionGroup, Options, takes_keywords
from calibrant.progress import LOG, ProgressFn, no_progress
from calibrant.steps.planned import load_models


@takes_keywords(*TO_READ)
def evaluate(
    models: Sequence[Any],
    data: Any,
    labels: Any = None,
    *options: OptionGroup,
    output: str | None = None,
    ignore_labels: Collection[int] = (),
    label_offset: int = 0,
    names: Sequence[str] | None = None,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> tuple[Score, ...]:
    """Score models on the same data; the first is the reference of the others.

    Parameters
    ----------
    models : Sequence[Any]
        What :func:`calibrant.graph.reading.load.load` takes, at least one. Inputs and outputs belong together by
        their names where all models have the same names, else by their order.
    data : Any
        What :func:`calibrant.data.open_data.open_data` takes; all of it is used. Of ``(x, y)`` pairs, y are the labels
        where no others are given.
    labels : Any
        Path or array of class numbers [N] or for positions [N, ...], one-hot rows, 0 and 1 in the shape of the output
        (binary maps; several labels a sample), or numbers to be predicted; or a mapping with those of several outputs,
        by their names. None: outputs are compared with those of the first model only.
    *options : OptionGroup
        :class:`calibrant.ModelOptions`, for every model (the signature for every SavedModel), and
        :class:`calibrant.DataOptions`.
    output : str | None
        Which of several outputs the labels belong to; each of them has scores of its own.
    ignore_labels : Collection[int]
        Samples, or positions of sequences and maps, with these labels do not count for the accuracy.
    label_offset : int
        Added to class numbers: 1 where the model has a background class that the labels do not count.
    names : Sequence[str] | None
        What the models are called in the result; their files by default.
    track : ProgressFn
        As for :func:`calibrant.quantize`.
    **keywords : Any
        Fields of these options.

    Returns
    -------
    tuple[Score, ...]
        In the order of the models, for one output after the other.

    Raises
    ------
    CalibrantError
        A model cannot be read, data or labels do not fit, outputs have different shapes, or those of the first model
        are no numbers.
    """
    if isinstance(models, (str, Path)) or not isinstance(models, Sequence):
        models = [models]
    if not models:
        raise ModelError(Problem("there is no model to evaluate", allowed="at least one"))
    chosen = Options.of(TO_READ, options, keywords)
    graphs = load_models(models, chosen.model)
    graphs = [in_order_of(graph, like=graphs[0]) for graph in graphs]
    fixed = _fixed_batch(graphs)
    reading = chosen.data if fixed is None else replace(chosen.data, batch_size=chosen.data.batch_size or fixed)
    truth = labels_by_output(labels, graphs[0], output)
    if output is not None:
        output_place(graphs[0], output)  # raises where there is none of that name
    keys = graphs[0].output_keys
    called = _called(graphs, names)
    boards = [
        Scoreboard(
            called,
            ignore_labels,
            is_sigmoid(graphs[0], tensor),
            key if len(keys) > 1 else None,
            label_offset,
            softmax_input(graphs[0], tensor) is not None,
        )
        for key, tensor in zip(keys, graphs[0].outputs, strict=True)
    ]
    read = SideBySide(graphs, data, with_labels=labels is None, options=reading)
    fixed = None if read.one_a_run else fixed
    if read.samples is not None:
        for each in truth.values():
            check_number(each, read.samples, fixed)
    reference, samples = SoundReference(graphs[0], graphs[0].outputs), OutputSamples(graphs[0], read.one_a_run)
    runners = [Runner(graph) for graph in graphs]
    done, is_labelled = 0, bool(truth)
    try:
        # Where a model has a fixed batch, a last batch with fewer samples is left out for all.
        for number, batches in enumerate(track(read, "evaluating", read.count)):
            results = [
                [samples.of_output(np.array(array)) for array in runner(batch)]
                for runner, batch in zip(runners, batches, strict=True)
            ]
            reference.check(results[0], number)
            size = samples.count(batches[0])
            own = labels_by_output(read.labels(size), graphs[0], output)
            is_labelled = is_labelled or bool(own)
            for place, board in enumerate(boards):
                outputs_of_all = [_output(found, place, name) for found, name in zip(results, called, strict=True)]
                if samples.are_missing(place, outputs_of_all[0], size):
                    if place in truth or place in own:
                        raise samples.refuse_labels(place)
                    board.update([found[np.newaxis] for found in outputs_of_all], samples=size)
                    continue
                if place in truth:
                    board.expect(outputs_of_all[0], truth[place])
                known = labels_of_batch(truth[place], done, size) if place in truth else None
                board.update(outputs_of_all, own.get(place, known), size)
            done += size
    finally:
        for runner in runners:
            runner.close()
    for each in truth.values():
        check_number(each, done, fixed)
    if not is_labelled:
        warn_of_unused(ignore_labels, label_offset)
    for board in boards:
        if board.doubt:
            LOG.warning("%s", board.doubt)
    scores = tuple(score for board in boards for score in board.scores())
    for board in boards:
        if board.note:
            LOG.info("%s", board.note)
    return scores


def _called(graphs: Sequence[Graph], names: Sequence[str] | None) -> list[str]:
    """What the models are called."""
    if names is None:
        return [graph.source for graph in graphs]
    if isinstance(names, Set) or len(names) != len(graphs):
        found = "a set, which has no order" if isinstance(names, Set) else f"{len(names)} for {len(graphs)} models"
        raise DataError(Problem(f"names is {found}", allowed="a list of one name a model"))
    return list(names)


def _output(arrays: Sequence[np.ndarray], place: int, name: str) -> np.ndarray:
    if place >= len(arrays):
        raise DataError(
            Problem(
                f"has {len(arrays)} outputs, the first model has more", path=name, hint="choose them with --outputs"
            )
        )
    return arrays[place]


def _fixed_batch(graphs: Sequence[Graph]) -> int | None:
    """The batch that some of the models ask for; the first sizes of one that has several are no batch."""
    by_graph = [graph.first_sizes(graph.inputs[at] for at in inputs_with_samples(graph)) for graph in graphs]
    sizes = {size for found in by_graph if len(found) == 1 for size in found}
    if len(sizes) > 1:
        found = " and ".join(str(size) for size in sorted(sizes))
        raise DataError(Problem(f"the models have fixed batches of {found}, so they cannot be run on the same batches"))
    return sizes.pop() if sizes else None
