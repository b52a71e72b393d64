"""The models of one result, compared on batch after batch.

Models of many weights run one after the other, each on as many batches as fit in memory with its answers, so that the
weights of one of them are held at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.errors import DataError, Problem
from calibrant.evaluation.comparison_points import Pieces, compared_outputs, comparison_points, require_one_width
from calibrant.evaluation.divergence import ROUNDING, OutputDivergence, TensorDivergence
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.evaluation.kernel_steps import no_worse_than_rounding, operators_hold
from calibrant.evaluation.label_count import LabelCount, extent_of
from calibrant.evaluation.label_meaning import LabelMeaning, Meaning, are_one_hot
from calibrant.evaluation.labels_per_sample import labels_of_batch, require_any
from calibrant.evaluation.layer_divergence import LayerDivergence, first_parting
from calibrant.evaluation.predictions import scores_a_position
from calibrant.evaluation.result_folder import FLOAT, ResultModels
from calibrant.evaluation.sample_range import Fed
from calibrant.evaluation.sound_reference import SoundReference
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.evaluation.verification import FAKE_QUANTIZED, LITE_FILE, Limits, ModelScore, PairScore, Verification
from calibrant.file_endings import ASCEND, FAKEQUANT, SIMULATION, TFLITE
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import Runner

KEPT = 1 << 28  # bytes of batches and answers that wait for the models that come later


class Comparison:
    """The models of one folder, compared on batch after batch.

    Attributes
    ----------
    done : int
        Number of samples that have been compared.
    """

    def __init__(
        self,
        models: ResultModels,
        truth: GivenLabels | None,
        meaning: LabelMeaning,
        labelled: int = 0,
        one_a_run: bool = False,
    ):
        self._models = models
        self._points = comparison_points(models.known)
        self._pieces = Pieces.of(models.known, models.fake, self._points[FAKEQUANT].graph, one_a_run)
        self._one_a_run = one_a_run
        self._graphs = [name for name, entry in models.known.items() if isinstance(entry, Graph)]
        self._runners: dict[str, Runner] = {}
        self._batches: list[Fed] = []
        self._first_answers: list[list[np.ndarray]] = []
        self._parting: LayerDivergence | None = None
        self._first_fed: Fed | None = None
        steps: list[float | None] = [None] * len(self._points[FAKEQUANT].graph)
        if models.file is not None:
            steps = [_step(point) for point in self._points[TFLITE].file]
        self._truth, self._meaning, self._labelled = truth, meaning, labelled
        self._counts: dict[str, LabelCount] = {}
        first = self._graphs[0]
        known = models.known[first]
        assert isinstance(known, Graph)
        classes = [scores_a_position(known.shape(known.outputs[place])) for place in compared_outputs(known)]
        self._divergences = {pair: OutputDivergence(steps, classes) for pair in _pairs(models.known)}
        self._shape = known.shape(self._points[first].graph[labelled]) if truth is not None else None
        self._reference = SoundReference(known, self._points[first].graph)
        self._compared = 0
        self.done = 0

    def update(self, fed: Fed) -> None:
        """Take in one batch, inputs by position."""
        waits = bool(self._models.unread)
        self._batches.append({index: np.array(values) for index, values in fed.items()} if waits else fed)
        self._first_answers.append(self._pieces.run_graph(self._runner(self._graphs[0]), fed))
        arrays = [*(values for batch in self._batches for values in batch.values()), *chain(*self._first_answers)]
        if not waits or sum(values.nbytes for values in arrays) > KEPT:
            self.finish()

    def finish(self) -> None:
        """Run the other models on the batches that the first has seen, and compare."""
        first, *others = self._graphs
        values = {first: self._first_answers}
        self._release(first)
        for name in others if self._batches else ():
            values[name] = [self._pieces.run_graph(self._runner(name), fed) for fed in self._batches]
            self._release(name)
        file = self._models.file
        if file is not None:
            is_first = self.done == 0
            values[TFLITE] = [self._run_file(file, fed, is_first and not at) for at, fed in enumerate(self._batches)]
        for at, fed in enumerate(self._batches):
            self._compare({name: answers[at] for name, answers in values.items()}, self._pieces.axes.count(fed))
        self._batches, self._first_answers = [], []

    def _compare(self, values: Mapping[str, Sequence[np.ndarray]], size: int) -> None:
        numbers = [found for found in values[self._graphs[0]] if found.dtype != object]
        if FLOAT in values or not any(np.isfinite(found).any() for found in numbers):
            self._reference.check(values[self._graphs[0]], self._compared)
        self._compared += 1
        for (first, second), divergence in self._divergences.items():
            for pair in zip(values[first], values[second], strict=True):
                require_one_width(pair)
            divergence.update(values[first], values[second])
        if self._truth is not None:
            given = labels_of_batch(self._truth, self.done, size)
            outputs = {name: self._shaped(values[name][self._labelled], given) for name in self._models.known}
            self._counts = self._counts or self._counting(self._truth, outputs[self._graphs[0]])
            labels = self._meaning.meant(given)
            for name, count in self._counts.items():
                count.update(outputs[name], labels)
            for count in self._counts.values():
                count.kind.read_like(self._counts[self._graphs[0]].kind)
        self.done += size

    def _shaped(self, values: np.ndarray, labels: GivenLabels) -> np.ndarray:
        """[N, values] with the axes of their labels, and a last one where the output has one more."""
        sample = labels.numbers.shape[1:]
        width = self._shape[-1] if self._shape else None
        if self._one_a_run and not sample and width is not None and values.shape[1] > width:
            problem = f"one label a run, but the output has {values.shape[1] // width} answers of {width} numbers a run"
            raise DataError(Problem(problem, file=labels.file, allowed="labels [N, answers], or an output of one row"))
        classes, left = divmod(values.shape[1], math.prod(sample))
        if left or not classes:
            return values
        has_last = classes > 1 or (self._shape is not None and len(self._shape) > 2 and self._shape[-1] == 1)
        return values.reshape(len(values), *sample, *([classes] if has_last else []))

    def _counting(self, truth: GivenLabels, outputs: np.ndarray) -> dict[str, LabelCount]:
        """What counts right answers, once it is known what the labels mean."""
        kind = self._meaning.decide(truth, outputs)
        if kind is Meaning.ROWS and are_one_hot(truth.numbers):
            self._meaning.kind = Meaning.ONE_HOT
        elif kind in (Meaning.ROWS, Meaning.NUMBERS):
            hint = "calibrant evaluate judges several labels a sample, and numbers"
            raise DataError(Problem("the labels are no class numbers", allowed="0, 1, 2, ...", hint=hint))
        ignore, offset = self._meaning.ignore, self._meaning.offset
        extent = extent_of(self._meaning.meant(truth), ignore)
        return {name: LabelCount(ignore, offset, extent) for name in self._models.known}

    def _run_file(self, file: TfliteRunner, fed: Fed, is_first: bool) -> list[np.ndarray]:
        values = self._pieces.run_file(file, self._points[TFLITE], fed)
        axes = self._pieces.axes
        fits = axes.fixed(file.first_sizes) in (None, axes.count(fed))
        if is_first and fits and SIMULATION in self._models.known:
            self._first_fed = {at: np.array(values) for at, values in fed.items()}
            self._parting = first_parting(self._models.graph(SIMULATION), file, fed)
        return values

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            self._runners[name] = Runner(self._models.graph(name), self._points[name].graph, optimized=False)
        return self._runners[name]

    def _release(self, name: str) -> None:
        """Free a model that is read again when it is needed."""
        if name in self._models.unread and name in self._runners:
            self._runners.pop(name).close()

    def result(self, limits: Limits, rounded_scales: bool) -> Verification:
        """What the batches have shown.

        Raises
        ------
        DataError
            There are labels, and none of them counts.
        """
        if self._truth is not None:
            require_any(max((count.samples for count in self._counts.values()), default=0), self._meaning.ignore)
        models = tuple(
            ModelScore(_title(name), self.done, self._counts[name].top1 if self._counts else None)
            for name in self._models.known
        )
        pairs = tuple(self._score(pair, limits, rounded_scales) for pair in self._divergences)
        return Verification(models, pairs)

    def _score(self, pair: tuple[str, str], limits: Limits, rounded_scales: bool) -> PairScore:
        score = pair_score(pair, self._divergences[pair], limits, self._parting, rounded_scales)
        is_beyond = pair == (SIMULATION, TFLITE) and not score.passed and limits == Limits()
        return replace(score, passed=True, grown=True) if is_beyond and self._has_only_grown(limits) else score

    def _has_only_grown(self, limits: Limits) -> bool:
        """Whether nothing but steps of kernels that have grown on their way parts the file from its simulation."""
        file, rounding = self._models.file, self._divergences.get((FAKEQUANT, SIMULATION))
        if file is None or rounding is None or self._first_fed is None:
            return False
        kernels = self._divergences[SIMULATION, TFLITE]
        return no_worse_than_rounding(kernels, rounding, limits) and operators_hold(
            file, self._models.graph(SIMULATION), self._first_fed
        )

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()


def _step(point: Tensor) -> float | None:
    return float(point.scale[0]) if point.scale.size else None


def _pairs(models: Mapping[str, Any]) -> list[tuple[str, str]]:
    wanted = [
        (FLOAT, FAKEQUANT),
        (FAKEQUANT, ASCEND),
        (SIMULATION, TFLITE),
        (FAKEQUANT, SIMULATION),
        (FAKEQUANT, TFLITE),
        (FLOAT, TFLITE),
    ]
    return [pair for pair in wanted if pair[0] in models and pair[1] in models]


def pair_score(
    pair: tuple[str, str],
    divergence: OutputDivergence,
    limits: Limits,
    parting: LayerDivergence | None,
    rounded_scales: bool,
) -> PairScore:
    """One pair of models, and whether it keeps to the limits."""
    passed = None
    if pair == (FAKEQUANT, ASCEND) and not rounded_scales:
        passed = divergence.relative <= limits.relative
    elif pair == (SIMULATION, TFLITE):
        passed = divergence.alike >= limits.agreement
        passed = passed and all(output.share_within >= limits.share_within for output in divergence.in_steps)
        passed = passed and all(_is_close(output, limits) for output in divergence.outputs)
    elif pair == (FAKEQUANT, TFLITE) and divergence.lost:
        passed = False
    step = next((output.step for output in divergence.in_steps), None)
    return PairScore(
        _title(pair[0]),
        _title(pair[1]),
        step,
        divergence.share_within if step else None,
        divergence.share_equal if step else None,
        divergence.largest if step else None,
        divergence.relative,
        divergence.agreement,
        passed,
        divergence.sqnr_db,
        parting if pair == (SIMULATION, TFLITE) else None,
        divergence.lost,
    )


def _is_close(output: TensorDivergence, limits: Limits) -> bool:
    if output.whole:
        return output.share_equal >= limits.share_within
    return output.relative <= limits.file_relative or (output.step is not None and output.largest <= 2 + ROUNDING)


def _title(kind: str) -> str:
    return {
        FLOAT: "float",
        FAKEQUANT: FAKE_QUANTIZED,
        SIMULATION: "fake-quantized between layers too",
        TFLITE: LITE_FILE,
        ASCEND: "lowered",
    }[kind]
