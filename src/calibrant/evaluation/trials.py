"""Running candidates of a search: quantize with a configuration, compare with the float model, remember the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.calibration.limits import check_workers
from calibrant.child_process import ChildProcess
from calibrant.config.model import Configuration
from calibrant.config.text_write import write_config
from calibrant.data.amount import KEEP_ORDER
from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.data.options import DataOptions
from calibrant.errors import CalibrantError, DataError, Problem
from calibrant.evaluation.accuracy import Scoreboard
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.labels import labels_by_output, labels_of
from calibrant.evaluation.output_samples import OutputSamples
from calibrant.evaluation.predictions import per_sample
from calibrant.evaluation.side_by_side import labels_of_items
from calibrant.evaluation.sound_reference import SoundReference
from calibrant.evaluation.tune_search import Outcome
from calibrant.graph.graph import Graph
from calibrant.graph.logits import is_sigmoid, scores_tensor, softmax_input
from calibrant.graph.running.run import Runner
from calibrant.progress import only_warnings
from calibrant.quantization import quantize


@dataclass(frozen=True, eq=False)
class TrialSetup:
    """Everything that is the same for all candidates; can be sent to another process.

    Parameters
    ----------
    model : Graph
        The float graph.
    data, test : Any
        Calibration data and the data to compare on, as for :func:`calibrant.quantize`; restartable.
    labels : Mapping[int, np.ndarray | GivenLabels]
        Position of an output → its labels for the test data; without any, those of ``(x, y)`` test data, and else
        predictions are compared with the float model's.
    output : int | None
        Position of the only output that is judged; None: the worst of all.
    label_offset : int
        As for :func:`calibrant.evaluate`.
    ignore_labels : tuple[int, ...]
        Samples with these labels do not count.
    bias_correction, refine : bool
        As for :func:`calibrant.quantize`.
    data_options : DataOptions
        As for :func:`calibrant.quantize`; test data are never shuffled.
    """

    model: Graph
    data: Any
    test: Any
    labels: Mapping[int, np.ndarray | GivenLabels] = field(default_factory=dict)
    output: int | None = None
    label_offset: int = 0
    ignore_labels: tuple[int, ...] = ()
    bias_correction: bool = True
    refine: bool = False
    data_options: DataOptions = field(default_factory=DataOptions)


class Trials:
    """Runs candidates in this process."""

    def __init__(self, setup: TrialSetup):
        self._setup = setup
        self._points = judged_tensors(setup.model, setup.output)
        self._labels: dict[int, list[GivenLabels]] = {}  # one for each batch of the test data
        self._whole: dict[int, GivenLabels] = {}  # of all batches, or of the first where their axes differ
        self._fingerprint: str | None = None
        self._unsound: DataError | None = None
        self._samples = 0  # of the test data
        self._float = self._outputs(setup.model, with_labels=not setup.labels)
        self.notes: list[str] = []
        """What labels were taken for, where that had to be decided."""
        self.doubts: list[str] = []
        """Why labels seem to be those of other samples or classes."""
        for place, labels in setup.labels.items():
            given = labels_of(labels)
            self._whole[place] = given
            self._check_number(place, len(given))
            ends = np.cumsum([len(part) for part in self._float[place]]).tolist()
            pieces = zip([0, *ends[:-1]], ends, strict=True)
            self._labels[place] = [given[start:stop] for start, stop in pieces]
        for place in self._labels:
            self._check_number(place, sum(map(len, self._labels[place])))
            self._whole.setdefault(place, _whole(self._labels[place]))
            board = self._board(place, self._float[place], self._float[place])
            if board.scores()[0].judged is None:
                raise DataError(Problem("the labels do not vary, so nothing can be lost", hint="give other test data"))
            self.notes += [board.note] if board.note else []
            self.doubts += [board.doubt] if board.doubt else []

    def _check_number(self, place: int, count: int) -> None:
        """Refuse labels of an output that is not judged, and another number of them than samples."""
        model = self._setup.model
        if place not in self._float:
            problem = f"the labels belong to {model.output_keys[place]!r}, which is not judged"
            raise DataError(Problem(problem, hint="name it with --output NAME (output=)"))
        samples = sum(map(len, self._float[place]))
        if count == self._samples != samples:
            raise OutputSamples(model).refuse_labels(place)
        if count != samples:
            file = self._whole[place].file if place in self._whole else None
            raise DataError(Problem(f"{count} labels for {samples} samples", file=file, allowed="one label a sample"))

    def run(self, configuration: Configuration, rank: bool = False) -> Outcome:
        """How the model quantized with a configuration does."""
        setup = self._setup
        try:
            with only_warnings():
                result = quantize(
                    setup.model,
                    configuration,
                    setup.data,
                    None,
                    setup.data_options,
                    bias_correction=setup.bias_correction,
                    refine=setup.refine,
                    sensitivity=rank,
                )
        except DataError:
            raise
        except CalibrantError as error:
            if self._unsound is not None:
                raise
            return Outcome(float("inf"), float("-inf"), error=str(error.problems[0]))
        if self._unsound is not None:
            raise self._unsound
        outputs = self._outputs(result.fakequant)
        losses = [self._loss(place, self._float[place], outputs[place]) for place in self._labels or self._float]
        loss = math.nan if any(map(math.isnan, losses)) else max(losses)
        sqnr_db = min(median_sqnr_db(_in_one(self._float[place]), _in_one(outputs[place])) for place in self._float)
        ranking = tuple(entry.layer for entry in result.sensitivity or ())
        return Outcome(loss, sqnr_db, ranking)

    def _loss(self, place: int, reference: list[np.ndarray], outputs: list[np.ndarray]) -> float:
        """What one output has lost."""
        first, second = self._board(place, reference, outputs).scores()
        if first.judged is not None and second.judged is not None:
            return first.judged - second.judged
        alike = second.cosine if second.agreement is None else second.agreement
        return math.nan if alike is None else 1 - alike

    def _look_at(self, reference: SoundReference, arrays: Sequence[np.ndarray], number: int) -> None:
        """Outputs that are no numbers are refused once quantizing has not found what makes them so."""
        try:
            reference.check(arrays, number)
        except DataError as error:
            self._unsound = self._unsound or error

    def _board(self, place: int, reference: list[np.ndarray], outputs: list[np.ndarray]) -> Scoreboard:
        setup = self._setup
        tensor = setup.model.outputs[place]
        binary, exclusive = is_sigmoid(setup.model, tensor), softmax_input(setup.model, tensor) is not None
        names = [setup.model.source, "quantized"]
        board = Scoreboard(names, setup.ignore_labels, binary, offset=setup.label_offset, exclusive=exclusive)
        labels = self._labels.get(place)
        if labels is not None:
            board.expect(reference[0], self._whole[place])
        for at, pair in enumerate(zip(reference, outputs, strict=True)):
            board.update(pair, None if labels is None else labels[at])
        return board

    def _outputs(self, graph: Graph, with_labels: bool = False) -> dict[int, list[np.ndarray]]:
        """The outputs that are judged, batch by batch, as their axes may differ."""
        setup = self._setup
        in_order = replace(setup.data_options, shuffle=None)  # as labels that are given beside the samples
        batches = open_data(setup.test, inputs_of(setup.model), with_labels=with_labels, **in_order.keywords())
        found: dict[int, list[np.ndarray]] = {place: [] for place in self._points}
        tensors = [scores_tensor(graph, graph.outputs[place]) for place in self._points]
        reference = SoundReference(graph, tensors) if graph is setup.model else None
        samples = OutputSamples(setup.model, batches.one_a_run)
        with Runner(graph, tensors) as runner:
            for number, batch in enumerate(batches):
                arrays = [samples.of_output(np.atleast_1d(np.array(array))) for array in runner(batch)]
                count = samples.count(batch)
                if reference is not None:
                    self._samples += count
                    self._look_at(reference, arrays, number)
                for place, array in zip(self._points, arrays, strict=True):
                    found[place].append(array)
                own = labels_of_items(batches.take_labels(), count)
                name = None if setup.output is None else setup.model.output_keys[setup.output]
                for place, each in labels_by_output(own, setup.model, name).items():
                    self._labels.setdefault(place, []).append(each)
        if self._fingerprint not in (None, batches.fingerprint):
            problem = "the test data are not the same when they are read again"
            raise DataError(Problem(problem, hint=KEEP_ORDER))
        self._fingerprint = batches.fingerprint
        return found


def _whole(parts: list[GivenLabels]) -> GivenLabels:
    if len({part.numbers.shape[1:] for part in parts}) > 1:
        return parts[0]
    return GivenLabels(np.concatenate([part.numbers for part in parts]), parts[0].file)


def _in_one(parts: list[np.ndarray]) -> np.ndarray:
    """[N, values] of all batches, with zeros after shorter samples."""
    rows = [per_sample(part) for part in parts]
    width = max(part.shape[1] for part in rows)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in rows])


def judged_tensors(model: Graph, output: int | None) -> list[int]:
    """Positions of the outputs that are judged; strings are not.

    Raises
    ------
    DataError
        There is none.
    """
    places = range(len(model.outputs)) if output is None else (output,)
    numeric = [place for place in places if model.dtype(model.outputs[place]).as_numpy_dtype is not object]
    if not numeric:
        problem = "the output is of strings, which cannot be judged"
        raise DataError(Problem(problem, allowed=", ".join(model.output_keys), hint="choose another: --output"))
    return numeric


class TrialPool:
    """Runs lists of candidates in one or several processes, none of them twice.

    Parameters
    ----------
    workers : int
        Processes; 1 runs everything in this one.
    """

    def __init__(self, setup: TrialSetup, workers: int = 1):
        self._setup = setup
        self._local = Trials(setup)
        self._known: dict[str, Outcome] = {}
        self.notes, self.doubts = tuple(self._local.notes), tuple(self._local.doubts)
        self.runs = 0
        check_workers(workers)
        self._children: list[ChildProcess] = []
        try:
            for _ in range(workers if workers > 1 else 0):
                plain = replace(setup, model=replace(setup.model))  # without what the graph has worked out about itself
                self._children.append(ChildProcess(trying, plain))
        except BaseException:
            self.close()
            raise

    def run(self, candidates: Sequence[tuple[Configuration, bool]]) -> list[Outcome]:
        """The outcome of each (configuration, whether its layers are to be ranked)."""
        texts = [write_config(configuration) for configuration, _ in candidates]
        new: dict[str, tuple[Configuration, bool]] = {}
        for text, (configuration, rank) in zip(texts, candidates, strict=True):
            known = self._known.get(text)
            if known is None or (rank and not known.ranking and known.error is None):
                new[text] = (configuration, rank or new.get(text, (None, False))[1])
        self.runs += len(new)
        if self._children and len(new) > 1:
            outcomes = self._in_children(list(new.values()))
        else:
            outcomes = [self._local.run(*candidate) for candidate in new.values()]
        self._known.update(zip(new, outcomes, strict=True))
        return [self._known[text] for text in texts]

    def _in_children(self, candidates: list[tuple[Configuration, bool]]) -> list[Outcome]:
        waiting = iter(list(enumerate(candidates)))
        outcomes: dict[int, Outcome] = {}

        def work(child: ChildProcess) -> None:
            for number, candidate in waiting:  # the next of a list iterator is one step for all threads
                try:
                    outcomes[number] = child.ask(candidate)
                except BaseException:
                    list(waiting)  # no other candidate is begun
                    raise

        with ThreadPoolExecutor(len(self._children)) as threads:
            try:
                futures = [threads.submit(work, child) for child in self._children]
                failures = [failure for failure in (future.exception() for future in futures) if failure is not None]
            except BaseException:
                self.close()
                raise
        if failures:
            raise failures[0]
        return [outcomes[number] for number in range(len(candidates))]

    def close(self) -> None:
        """End the processes, whatever they do."""
        for child in self._children:
            child.kill()

    def __enter__(self) -> TrialPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@contextmanager
def trying(setup: TrialSetup) -> Iterator[Callable[[tuple[Configuration, bool]], Outcome]]:
    """In a worker process: run candidates."""
    trials = Trials(setup)
    yield lambda candidate: trials.run(*candidate)
