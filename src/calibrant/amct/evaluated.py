"""Calibration by an evaluator: it runs the network, as often as the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from calibrant.calibration.in_place_run import InPlaceRun
from calibrant.config.plan import Plan
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow
from calibrant.in_place import InPlaceBalancing, InPlaceCalibration
from calibrant.options import ModelOptions
from calibrant.progress import Stopwatch
from calibrant.steps.planned import plan_model


def calibrated(
    original: Graph,
    config: Any,
    record: Path,
    evaluator: Any,
    outputs: Sequence[str],
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Plan:
    """Let an evaluator calibrate a network; where layers are balanced, it runs twice.

    Parameters
    ----------
    original : Graph
        The float network.
    config : Any
        As for :func:`calibrant.quantize`.
    record : Path
        The record file to write.
    evaluator : Any
        Has ``calibration(graph, outputs)``.
    outputs : Sequence[str]
        What it is given as outputs.
    around : Callable[[], AbstractContextManager[None]]
        The context in which the evaluator is called; the graph is the default one there.

    Raises
    ------
    DataError
        The evaluator ran fewer batches than ``batch_num``, or a tensor became NaN or infinite.
    """
    plan = plan_model(original, config, ModelOptions(), Stopwatch()).plan
    kinds: list[type[InPlaceBalancing | InPlaceCalibration]] = [InPlaceCalibration]
    if any(layer.migration_strength is not None for layer in plan.layers):
        kinds.insert(0, InPlaceBalancing)
    for kind in kinds:
        graph = tf_graph(original)
        run = kind(graph, config, record, original.outputs).run
        with around(), graph.as_default():
            run_by_owner(run, partial(evaluator.calibration, graph, list(outputs)))
        _check_enough(run, evaluator)
    return plan


class Watcher(Protocol):
    """What watches a graph while somebody runs it."""

    failure: Any
    """The first exception that watching has raised."""


def run_by_owner(watcher: Watcher, run: Callable[[], object]) -> None:
    """Let somebody run a watched graph; an exception of the watcher comes as it was raised, not as TensorFlow's."""
    try:
        run()
    except Exception:
        if watcher.failure is not None:
            raise watcher.failure from None
        raise


def _check_enough(run: InPlaceRun, evaluator: Any) -> None:
    if run.missing:
        raise DataError(
            Problem(
                f"calibration of {type(evaluator).__name__} ran {run.batch_num - run.missing} batches, "
                f"batch_num is {run.batch_num}",
                hint="run the outputs once per batch, or lower batch_num in the configuration",
            )
        )


def tf_graph(graph: Graph) -> Any:
    """A network as a ``tf.Graph`` of its own."""
    tf = tensorflow()
    with tf.Graph().as_default() as result:
        tf.graph_util.import_graph_def(graph.graph_def(), name="")
    return result
