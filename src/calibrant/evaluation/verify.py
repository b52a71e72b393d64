"""Compare the files of one result on the same inputs.

Outputs are compared before a final Softmax, in steps of the LiteRT file's output. A file of integer kernels rounds
between layers as well, so it is compared with the fake-quantized model that does the same (``NAME_int8_fakequant.pb``);
how far both are from ``NAME_fakequant.pb`` is shown too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.emit.tflite.flatbuffer import Tensor
from calibrant.errors import DataError, Problem
from calibrant.evaluation.accuracy import LabelCount
from calibrant.evaluation.comparison_points import comparison_points, run_file, run_graph
from calibrant.evaluation.divergence import ROUNDING, OutputDivergence
from calibrant.evaluation.labels import labelled_output, read_labels
from calibrant.evaluation.layer_divergence import LayerDivergence, LayerWatch
from calibrant.evaluation.result_folder import FAKEQUANT, FLOAT, LOWERED, SIMULATION, TFLITE, open_models
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.graph.graph import Graph
from calibrant.graph.run import Runner
from calibrant.options import TO_READ, OptionGroup, Options, takes_keywords
from calibrant.progress import ProgressFn, no_progress


@dataclass(frozen=True)
class Limits:
    """How much two models may differ.

    Parameters
    ----------
    share_within : least share of outputs of the LiteRT file within one step of its simulation.
    agreement : least share of samples with the same largest output in both.
    relative : largest difference of the lowered model to the fake-quantized one, over the largest output.
    file_relative : the same of the LiteRT file to its simulation; a difference of two steps is always allowed.
    """

    share_within: float = 0.99
    agreement: float = 0.99
    relative: float = 1e-5
    file_relative: float = 0.1


@dataclass(frozen=True)
class ModelScore:
    """One model: its name, where there are labels its top-1 accuracy, and the samples it ran."""

    name: str
    samples: int
    top1: float | None


@dataclass(frozen=True)
class PairScore:
    """Two models.

    Parameters
    ----------
    first, second : their names.
    step : one step of the first output in real units; None where nothing is counted in steps. Others have their own.
    share_within, share_equal, largest_steps : of the outputs, in steps; None without steps.
    relative : largest difference over the largest output.
    agreement : share of the samples with the same largest output.
    passed : whether they are within the limits; None for pairs that are only shown.
    parting : the first layer where they part by more than a step; None where there is none or it was not looked for.
    """

    first: str
    second: str
    step: float | None
    share_within: float | None
    share_equal: float | None
    largest_steps: float | None
    relative: float
    agreement: float
    passed: bool | None
    divergence: LayerDivergence | None = None


@dataclass(frozen=True)
class Verification:
    """What was found; ``passed`` is false where a pair parts more than allowed."""

    models: tuple[ModelScore, ...]
    pairs: tuple[PairScore, ...]

    @property
    def passed(self) -> bool:
        """Whether all pairs that have limits keep to them."""
        return all(pair.passed is not False for pair in self.pairs)


@takes_keywords(*TO_READ)
def verify(
    folder: str | Path,
    data: Any,
    labels: Any = None,
    *options: OptionGroup,
    model: Any = None,
    output: str | None = None,
    ignore_labels: Sequence[int] = (),
    label_offset: int = 0,
    limits: Limits | None = None,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> Verification:
    """Run the models of a result folder side by side.

    Parameters
    ----------
    folder : what :func:`calibrant.quantize` has written.
    data : inputs, as for :func:`calibrant.evaluate`.
    labels : class numbers, for the accuracy of each model.
    output, ignore_labels, label_offset : as for :func:`calibrant.evaluate`.
    options : ModelOptions of the float model, and DataOptions.
    model : the float model; left out without one.
    limits : what is allowed.
    keywords : fields of the options.

    Raises
    ------
    CalibrantError : nothing to compare, a file that cannot be read, data that do not fit.
    """
    chosen = Options.of(TO_READ, options, keywords)
    models = open_models(Path(folder), model, chosen.model)
    reference = next(entry for entry in models.values() if isinstance(entry, Graph))
    fake = models[FAKEQUANT]
    specs = inputs_of(reference, like=fake if isinstance(fake, Graph) else None)
    batches = open_data(data, specs, **chosen.data.keywords())
    truth = read_labels(labels, label_offset, ignore_labels)
    if truth is not None and truth.dtype.kind == "f":
        hint = "calibrant evaluate compares outputs with numbers"
        raise DataError(Problem("the labels are no class numbers", allowed="0, 1, 2, ...", hint=hint))
    floating = models.get(FLOAT)
    named = floating if isinstance(floating, Graph) else reference
    place = 0 if truth is None else _compared_place(named, labelled_output(named, output))
    comparison = _Comparison(models, truth, ignore_labels, place)
    try:
        for batch in track(batches, "verifying", batches.count):
            comparison.update({index: np.asarray(batch[key]) for index, key in enumerate(reference.input_keys)})
    finally:
        comparison.close()
    return comparison.result(limits or Limits(), rounded_scales=_has_float16_scales(Path(folder)))


def _compared_place(graph: Graph, place: int) -> int:
    """Position of an output among those that are compared: strings are not."""
    strings = [graph.dtype(tensor).as_numpy_dtype is object for tensor in graph.outputs]
    if strings[place]:
        problem = f"the labels belong to {graph.output_keys[place]!r}, an output of strings"
        raise DataError(Problem(problem, hint="name another with --output NAME (output=)"))
    return place - sum(strings[:place])


class _Comparison:
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
            _score(pair, divergence, self._step, limits, self._watch, rounded_scales)
            for pair, divergence in self._divergences.items()
        )
        return Verification(models, pairs)

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()


def _step(point: Tensor) -> float | None:
    return float(point.scale[0]) if point.scale.size else None


def _has_float16_scales(folder: Path) -> bool:
    """Whether FORCE_FP16_QUANT rounded the scales of the fake-quantized model alone: it then parts from the lowered."""
    try:
        return "fakequant_precision_mode" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False


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


def _score(
    pair: tuple[str, str],
    divergence: OutputDivergence,
    step: float | None,
    limits: Limits,
    watch: LayerWatch | None,
    rounded_scales: bool,
) -> PairScore:
    passed = None
    if pair == (FAKEQUANT, LOWERED) and not rounded_scales:
        passed = divergence.relative <= limits.relative
    elif pair == (SIMULATION, TFLITE):
        passed = divergence.agreement >= limits.agreement
        passed = passed and (step is None or divergence.share_within >= limits.share_within)
        passed = passed and all(
            output.relative <= limits.file_relative or (step is not None and output.largest <= 2 + ROUNDING)
            for output in divergence.outputs
        )
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
