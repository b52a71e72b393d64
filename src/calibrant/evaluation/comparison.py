"""The models of one result, run side by side on batch after batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibrant.emit.tflite.flatbuffer import Tensor
from calibrant.errors import DataError, Problem
from calibrant.evaluation.accuracy import LabelCount
from calibrant.evaluation.comparison_points import comparison_points, require_one_width, run_file, run_graph
from calibrant.evaluation.divergence import ROUNDING, OutputDivergence, TensorDivergence
from calibrant.evaluation.layer_divergence import LayerWatch
from calibrant.evaluation.result_folder import FAKEQUANT, FLOAT, LOWERED, SIMULATION, TFLITE
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.evaluation.verification import Limits, ModelScore, PairScore, Verification
from calibrant.graph.graph import Graph
from calibrant.graph.run import Runner


class Comparison:
    """The models of one folder, run side by side on batch after batch."""

    def __init__(
        self,
        models: Mapping[str, Graph | TfliteRunner],
        truth: np.ndarray | None,
        ignore_labels: Sequence[int],
        labelled: int = 0,
    ):
        self._points = comparison_points(models)
        self._runners = {
            name: Runner(entry, self._points[name].graph) for name, entry in models.items() if isinstance(entry, Graph)
        }
        file, simulation = models.get(TFLITE), models.get(SIMULATION)
        self._file = file if isinstance(file, TfliteRunner) else None
        self._watch = (
            LayerWatch(simulation, self._file) if isinstance(simulation, Graph) and self._file is not None else None
        )
        steps = [_step(point) for point in self._points[TFLITE].file] if self._file is not None else []
        self._step = steps[0] if steps else None
        compared = len(self._points[FAKEQUANT].graph)
        self._divergences = {
            pair: OutputDivergence([step or 1.0 for step in steps] or [1.0] * compared) for pair in _pairs(models)
        }
        self._truth, self._labelled = truth, labelled
        self._counts = {name: LabelCount(ignore_labels) for name in models}
        self._done = 0

    def update(self, fed: Mapping[int, np.ndarray]) -> None:
        """Run one batch, inputs by position."""
        values = {name: run_graph(runner, fed) for name, runner in self._runners.items()}
        size = len(fed[0])
        if self._file is not None:
            values[TFLITE] = run_file(self._file, self._points[TFLITE], fed)
            if self._watch is not None and self._done == 0 and self._file.fixed_batch in (None, size):
                self._watch.look(fed)
        for (first, second), divergence in self._divergences.items():
            for pair in zip(values[first], values[second], strict=True):
                require_one_width(pair)
            divergence.update(values[first], values[second])
        if self._truth is not None:
            labels = _labels(self._truth, self._done, size)
            for name, count in self._counts.items():
                count.update(values[name][self._labelled], labels)
        self._done += size

    def result(self, limits: Limits, rounded_scales: bool) -> Verification:
        """What the batches have shown."""
        models = tuple(
            ModelScore(_title(name), self._done, count.top1 if self._truth is not None else None)
            for name, count in self._counts.items()
        )
        pairs = tuple(
            pair_score(pair, divergence, self._step, limits, self._watch, rounded_scales)
            for pair, divergence in self._divergences.items()
        )
        return Verification(models, pairs)

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()


def _step(point: Tensor) -> float | None:
    return float(point.scale[0]) if point.scale.size else None


def _pairs(models: Mapping[str, Any]) -> list[tuple[str, str]]:
    wanted = [
        (FLOAT, FAKEQUANT),
        (FAKEQUANT, LOWERED),
        (SIMULATION, TFLITE),
        (FAKEQUANT, SIMULATION),
        (FAKEQUANT, TFLITE),
        (FLOAT, TFLITE),
    ]
    return [pair for pair in wanted if pair[0] in models and pair[1] in models]


def pair_score(
    pair: tuple[str, str],
    divergence: OutputDivergence,
    step: float | None,
    limits: Limits,
    watch: LayerWatch | None,
    rounded_scales: bool,
) -> PairScore:
    """One pair of models, and whether it keeps to the limits."""
    passed = None
    if pair == (FAKEQUANT, LOWERED) and not rounded_scales:
        passed = divergence.relative <= limits.relative
    elif pair == (SIMULATION, TFLITE):
        passed = divergence.agreement >= limits.agreement
        passed = passed and (step is None or divergence.share_within >= limits.share_within)
        passed = passed and all(_is_close(output, step, limits) for output in divergence.outputs)
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
        watch.first if watch is not None and pair == (SIMULATION, TFLITE) else None,
    )


def _is_close(output: TensorDivergence, step: float | None, limits: Limits) -> bool:
    if output.whole:
        return output.share_equal >= limits.share_within
    return output.relative <= limits.file_relative or (step is not None and output.largest <= 2 + ROUNDING)


def _title(kind: str) -> str:
    return {
        FLOAT: "float",
        FAKEQUANT: "fake-quantized",
        SIMULATION: "fake-quantized between layers too",
        TFLITE: "TFLite",
        LOWERED: "lowered",
    }[kind]


def _labels(truth: np.ndarray, done: int, count: int) -> np.ndarray:
    if done + count > len(truth):
        raise DataError(Problem(f"{len(truth)} labels, but there are more samples", allowed="one label a sample"))
    return truth[done : done + count]
