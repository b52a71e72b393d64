"""Quantization with as many layers in float as an evaluator's metric asks for.

The module can be called, as scripts use its name both for the function and for the module with the evaluator's class.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from calibrant.amct.arguments import file_to_write, names_of, path_of, save_target
from calibrant.amct.common.auto_calibration import AutoCalibrationEvaluatorBase
from calibrant.amct.conversion import write_models
from calibrant.amct.evaluated import calibrated, run_by_owner, tf_graph
from calibrant.amct.log import FOLDER, LOGGER
from calibrant.config import write_config_json
from calibrant.config.plan import Plan
from calibrant.conversion import convert_records, without_layers
from calibrant.emit.fakequant import fake_quantized
from calibrant.errors import ConfigError, DataError, ModelError, Problem, did_you_mean
from calibrant.evaluation.evaluator_search import Found, Verdict, search_in_float
from calibrant.evaluation.layer_similarity import CosineSimilarity, LayerSimilarities
from calibrant.evaluation.returned import returned_number, shown
from calibrant.evaluation.tune_search import STRATEGIES
from calibrant.graph.graph import Graph
from calibrant.graph.reading.load import load
from calibrant.in_place import watch
from calibrant.publish.writable import check_writable
from calibrant.publish.write import Content, write_file
from calibrant.steps.files_read import files_read
from calibrant.steps.foreign_folders import refuse_foreign_folders
from calibrant.steps.recorded import Recorded

__all__ = ["AutoCalibrationEvaluatorBase", "accuracy_based_auto_calibration"]

SENSITIVITIES = {"CosineSimilarity": CosineSimilarity()}
HISTORY = "accuracy_based_auto_calibration_record.json"


def accuracy_based_auto_calibration(
    model_file: str,
    outputs: Sequence[str],
    record_file: str,
    config_file: str,
    save_dir: str,
    evaluator: AutoCalibrationEvaluatorBase,
    strategy: Any = "BinarySearch",
    sensitivity: Any = "CosineSimilarity",
) -> None:
    """Quantize a network and leave layers in float until its metric is good enough.

    Parameters
    ----------
    model_file : str
        The original .pb.
    outputs : Sequence[str]
        Names of its outputs; the evaluator gets them as they are given.
    record_file : str
        Written with the factors of the layers that are quantized in the end.
    config_file : str
        ``config.json`` or a configuration file.
    save_dir : str
        Prefix of the results with its folder, as ``save_path`` of :func:`calibrant.amct.save_model`; besides the
        models ``PREFIX_final_config.json`` and ``PREFIX_ranking_information.json``.
    evaluator : AutoCalibrationEvaluatorBase
        Runs and judges networks.
    strategy : Any
        ``'BinarySearch'``, ``'Greedy'``, or an object with ``initialize(ranking)`` and
        ``update_quant_config(metric_eval)``.
    sensitivity : Any
        ``'CosineSimilarity'``, or an object with ``compare(original, quantized) -> float``, higher for what is more
        alike.

    Raises
    ------
    CalibrantError
        With every problem of the arguments, the model or the configuration; the evaluator ran too few batches, or does
        not even accept the original; or no network with a quantized layer is good enough.
    """
    model, config = path_of("model_file", model_file), path_of("config_file", config_file)
    record = file_to_write("record_file", record_file, files_read(model, config))
    names = names_of("outputs", outputs)
    folder, prefix = save_target(save_dir, model)
    final_config, ranking_file = f"{prefix}_final_config.json", f"{prefix}_ranking_information.json"
    check_writable(folder, (final_config, ranking_file), files_read(model, config))
    refuse_foreign_folders(folder / name for name in (final_config, ranking_file))
    _check_evaluator(evaluator)
    chosen = _chosen("strategy", strategy, STRATEGIES, ("initialize", "update_quant_config"))
    similarity = _chosen("sensitivity", sensitivity, SENSITIVITIES, ("compare",))
    original = load(model, outputs=names)
    metric = _Metric(evaluator, names, original)
    plan = calibrated(original, config, record, evaluator, names)
    recorded = convert_records(model, record, outputs=names, complete=True)
    ranking = _ranking(recorded, similarity, metric)

    def judge(in_float: tuple[str, ...]) -> Verdict:
        layers = tuple(layer for layer in recorded.network.layers if layer.layer.name not in in_float)
        return metric.judge(in_float, fake_quantized(replace(recorded.network, layers=layers)))

    search = search_in_float(plan.layers, ranking, judge, chosen)
    write_file(Path(FOLDER) / HISTORY, _history(search))
    for number, step in enumerate(search.steps):
        in_float = [name for name, quantized in step.quantized.items() if not quantized]
        LOGGER.logi(f"search step {number}: in float {in_float}, metric_eval {step.verdict}")
    if not search.met:
        raise _not_good_enough(search, metric, model)
    more: dict[str, Content] = {
        final_config: write_config_json(_final(plan, search.in_float)).encode(),
        ranking_file: _json([[name, _json_number(alike)] for name, alike in ranking.items()]),
    }
    final = without_layers(model, record, search.in_float, names)
    write_models(final.recorded, folder, prefix, "accuracy_based_auto_calibration", more, final.files)
    LOGGER.logi(f"Accuracy of original model is {metric.original}")
    LOGGER.logi(f"Accuracy of global quantized model is {metric.of[()]}")
    LOGGER.logi(f"Accuracy of saved model is {metric.of[search.in_float]}")
    LOGGER.logi(f"The generated model is stored in dir: {folder}")
    LOGGER.logi(f"The records file is stored in dir: {record.parent}")


class _Metric:
    """The evaluator's judgement of the original and of networks by the layers that they leave in float."""

    def __init__(self, evaluator: AutoCalibrationEvaluatorBase, outputs: list[str], original: Graph):
        self.evaluator, self.outputs = evaluator, outputs
        self.of: dict[tuple[str, ...], Any] = {}
        self.original = self._evaluated(original)
        if not self._verdict(self.original)[0]:
            raise DataError(
                Problem(
                    f"metric_eval of {type(evaluator).__name__} refuses the original model itself",
                    allowed="metric_eval(metric, metric) is True",
                )
            )

    def judge(self, in_float: tuple[str, ...], network: Graph) -> Verdict:
        """What ``metric_eval`` says of a network."""
        self.of[in_float] = self._evaluated(network)
        return self._verdict(self.of[in_float])

    def _evaluated(self, network: Graph) -> Any:
        graph = tf_graph(network)
        with graph.as_default():
            return self.evaluator.evaluate(graph, list(self.outputs))

    def _verdict(self, metric: Any) -> Verdict:
        verdict = self.evaluator.metric_eval(self.original, metric)
        try:
            good, lost = verdict
            is_good, number = bool(good), returned_number(lost)
        except (TypeError, ValueError):
            number = None
        if number is None:
            message = f"metric_eval of {type(self.evaluator).__name__} returned {shown(verdict)}"
            raise DataError(Problem(message, allowed="(whether it is good enough, the loss as a number)"))
        return is_good, number


def _ranking(recorded: Recorded, similarity: Any, metric: _Metric) -> Mapping[str, float]:
    similarities = LayerSimilarities(recorded.network, similarity)
    graph = tf_graph(recorded.original)
    watch(graph, recorded, similarities.graph, recorded.balanced, similarities.watchers)
    with graph.as_default():
        run_by_owner(similarities, partial(metric.evaluator.calibration, graph, list(metric.outputs)))
    if similarities.failure is not None:  # which the evaluator has caught
        raise similarities.failure
    return similarities.by_layer()


def _final(plan: Plan, in_float: tuple[str, ...]) -> Plan:
    return replace(
        plan,
        layers=tuple(layer for layer in plan.layers if layer.name not in in_float),
        disabled=(*plan.disabled, *(layer for layer in plan.layers if layer.name in in_float)),
    )


def _history(search: Found) -> bytes:
    judged = [(step.quantized, *step.verdict) for step in search.steps]
    return _json(
        [{"roll_back_config": config, "metric_eval": [good, _json_number(lost)]} for config, good, lost in judged]
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=4, allow_nan=False) + "\n").encode()


def _json_number(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _not_good_enough(search: Found, metric: _Metric, model: Path) -> ModelError:
    most = len(search.steps[0].quantized)
    return ModelError(
        Problem(
            f"no network with a quantized layer is good enough: original {metric.original}, "
            f"all {most} layers quantized {metric.of[()]}, best {metric.of[search.in_float]}",
            file=str(model),
            hint=f"ask for less in metric_eval, or try other settings; {FOLDER}/{HISTORY} has what was tried",
        )
    )


def _check_evaluator(evaluator: Any) -> None:
    wanted = ("calibration", "evaluate", "metric_eval")
    missing = [name for name in wanted if not callable(getattr(evaluator, name, None))]
    if missing:
        raise ConfigError(
            Problem(
                f"evaluator is a {type(evaluator).__name__} without {', '.join(missing)}",
                allowed="an object with calibration(graph, outputs), evaluate(graph, outputs) and "
                "metric_eval(original_metric, new_metric)",
                hint="derive it from AutoCalibrationEvaluatorBase",
            )
        )


def _chosen(name: str, value: Any, known: dict[str, Any], methods: tuple[str, ...]) -> Any:
    """One of the known values by its name, or an object that has the methods."""
    if isinstance(value, str) and value in known:
        return known[value]
    if not isinstance(value, str) and all(callable(getattr(value, method, None)) for method in methods):
        return value
    hint = did_you_mean(value, known) if isinstance(value, str) else None
    allowed = f"{', '.join(map(repr, known))}, or an object with {' and '.join(methods)}"
    raise ConfigError(Problem(f"{name} is {value!r}", allowed=allowed, hint=hint))


class _Callable(ModuleType):
    """A module that is called like the function of the same name in it."""

    def __call__(self, *arguments: Any, **options: Any) -> None:
        accuracy_based_auto_calibration(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
