"""Running candidates of a search: quantize with a configuration, compare with the float model, remember the result."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from calibrant.config.model import Configuration
from calibrant.config.text_write import write_config
from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.errors import CalibrantError, DataError, Problem
from calibrant.evaluation.accuracy import Scoreboard, median_sqnr_db
from calibrant.evaluation.logits import before_softmax, is_sigmoid
from calibrant.evaluation.tune_search import Outcome
from calibrant.graph.graph import Graph
from calibrant.graph.run import Runner
from calibrant.progress import only_warnings
from calibrant.quantization import quantize


@dataclass(frozen=True, eq=False)
class TrialSetup:
    """Everything that is the same for all candidates; can be sent to another process.

    Parameters
    ----------
    model : the float graph.
    data, test : calibration data and the data to compare on, as for :func:`calibrant.quantize`; restartable.
    labels : class numbers [N] of the test data; None: predictions are compared with the float model's.
    ignore_labels : samples with these labels do not count.
    bias_correction, refine, data_options : as for :func:`calibrant.quantize`.
    """

    model: Graph
    data: Any
    test: Any
    labels: np.ndarray | None = None
    ignore_labels: tuple[int, ...] = ()
    bias_correction: bool = True
    refine: bool = False
    data_options: Mapping[str, Any] = field(default_factory=dict)


class Trials:
    """Runs candidates in this process."""

    def __init__(self, setup: TrialSetup):
        self._setup = setup
        self._float = self._outputs(setup.model)
        if setup.labels is not None and len(self._float) > 1:
            message = f"the labels belong to one output, the model has {len(self._float)}"
            keys = ", ".join(setup.model.output_keys)
            raise DataError(Problem(message, allowed=keys, hint="choose it with --outputs (outputs=)"))
        if setup.labels is not None and len(setup.labels) != len(self._float[0]):
            message = f"{len(setup.labels)} labels for {len(self._float[0])} samples"
            raise DataError(Problem(message, allowed="one label a sample"))

    def run(self, configuration: Configuration, rank: bool = False) -> Outcome:
        """How the model quantized with a configuration does."""
        setup = self._setup
        try:
            with only_warnings():
                result = quantize(
                    setup.model,
                    configuration,
                    setup.data,
                    bias_correction=setup.bias_correction,
                    refine=setup.refine,
                    sensitivity=rank,
                    **setup.data_options,
                )
        except DataError:
            raise
        except CalibrantError as error:
            return Outcome(float("inf"), float("-inf"), error=str(error.problems[0]))
        pairs = list(zip(self._float, self._outputs(result.fakequant), setup.model.outputs, strict=True))
        loss = max(self._loss(*pair) for pair in pairs)
        sqnr_db = min(median_sqnr_db(first, second) for first, second, _ in pairs)
        ranking = tuple(entry.layer for entry in result.sensitivity) if rank else ()
        return Outcome(loss, sqnr_db, ranking)

    def _loss(self, reference: np.ndarray, outputs: np.ndarray, tensor: str) -> float:
        """What one output has lost."""
        board = Scoreboard(["float", "quantized"], self._setup.ignore_labels, is_sigmoid(self._setup.model, tensor))
        board.update([reference, outputs], self._setup.labels)
        first, second = board.scores()
        if self._setup.labels is not None:
            return first.top1 - second.top1
        return 1 - (second.cosine if second.agreement is None else second.agreement)

    def _outputs(self, graph: Graph) -> list[np.ndarray]:
        batches = open_data(self._setup.test, inputs_of(self._setup.model), **self._setup.data_options)
        with Runner(graph, [before_softmax(graph, tensor) for tensor in graph.outputs]) as runner:
            found = [[np.array(array) for array in runner(batch)] for batch in batches]
        return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


class TrialPool:
    """Runs lists of candidates in one or several processes, none of them twice.

    Parameters
    ----------
    workers : processes; 1 runs everything in this one.
    """

    def __init__(self, setup: TrialSetup, workers: int = 1):
        self._setup = setup
        self._local = Trials(setup)
        self._known: dict[str, Outcome] = {}
        self.runs = 0
        self._pool = None
        if workers > 1:
            plain = replace(setup, model=replace(setup.model))  # without what the graph has worked out about itself
            self._pool = ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(plain,)
            )

    def run(self, candidates: Sequence[tuple[Configuration, bool]]) -> list[Outcome]:
        """The outcome of each (configuration, whether its layers are to be ranked)."""
        texts = [write_config(configuration) for configuration, _ in candidates]
        new: dict[str, tuple[Configuration, bool]] = {}
        for text, (configuration, rank) in zip(texts, candidates, strict=True):
            known = self._known.get(text)
            if known is None or (rank and not known.ranking and known.error is None):
                new[text] = (configuration, rank or new.get(text, (None, False))[1])
        self.runs += len(new)
        if self._pool is not None and len(new) > 1:
            outcomes = list(self._pool.map(_run_in_worker, *zip(*new.values(), strict=True)))
        else:
            outcomes = [self._local.run(*candidate) for candidate in new.values()]
        self._known.update(zip(new, outcomes, strict=True))
        return [self._known[text] for text in texts]

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> TrialPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_worker: list[Trials] = []


def _start_worker(setup: TrialSetup) -> None:
    _worker.append(Trials(setup))


def _run_in_worker(configuration: Configuration, rank: bool) -> Outcome:
    return _worker[0].run(configuration, rank)
