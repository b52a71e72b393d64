"""Steps: from a model, a configuration and data to a network that is ready to be observed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from calibrant.calibration.runner import CalibrationRunner
from calibrant.data.batches import TooFewBatches
from calibrant.data.open_data import Batches
from calibrant.emit.tflite.conversion.open_sizes import check_shapes
from calibrant.emit.tflite.strings import string_makers
from calibrant.errors import ConfigError, DataError, Problem
from calibrant.graph.reading.cut_proposal import check_feedable
from calibrant.options import Options
from calibrant.progress import ProgressFn, Stopwatch
from calibrant.steps.balancing.balance import Balanced, balance
from calibrant.steps.balancing.channels import Channels
from calibrant.steps.balancing.equalize import equalize
from calibrant.steps.calibration_data import open_planned, say_use
from calibrant.steps.data_shapes import with_data_shapes
from calibrant.steps.options_of_one_run import refuse_options_of_one_run
from calibrant.steps.plain.functions import with_plain_functions
from calibrant.steps.plain.log_sums import with_plain_log_sums
from calibrant.steps.plain.norms import with_plain_norms
from calibrant.steps.plain.quotients import with_plain_quotients
from calibrant.steps.plain.sample_norms import with_plain_sample_norms
from calibrant.steps.plain.softmax import with_plain_softmax
from calibrant.steps.plain.sums import with_plain_sums
from calibrant.steps.planned import Planned, plan_graph, plan_model
from calibrant.steps.prepared import Prepared, prepare_balanced

WRITING_OUT = (
    with_plain_sums,
    with_plain_softmax,
    with_plain_log_sums,
    with_plain_norms,
    with_plain_sample_norms,
    with_plain_functions,
    with_plain_quotients,
)
"""Steps before a LiteRT export, in this order: what has no integer kernel, or inner tensors, as other operations."""


def plan_with_data(model: Any, config: Any, data: Any, options: Options, watch: Stopwatch) -> tuple[Planned, Batches]:
    """Load, fold, plan, open the data.

    Raises
    ------
    CalibrantError
        With every problem of the model, the configuration or the data.
    """
    planned, batches = open_planned(_plan_feedable(model, config, options, watch), data, options, config is not None)
    say_use(batches)
    original = with_data_shapes(planned.original, batches.inputs)
    if original is not planned.original:
        replanned = plan_graph(original, planned.configuration, watch)
        planned = replace(replanned, plan=replace(replanned.plan, batch_num=planned.plan.batch_num))
    return planned, batches


def prepare(
    channels: Channels,
    batches: Batches,
    options: Options,
    watch: Stopwatch,
    track: ProgressFn,
    runner: CalibrationRunner,
) -> Prepared:
    """Equalize or balance the channels, and quantize the weights."""
    planned = channels.planned
    if channels.equalized:
        with watch.step("equalize"):
            planned = equalize(planned, batches, track, runner)
    with watch.step("balance"):
        balanced = balance(planned.folded.graph, planned.layers, planned.plan, batches, track, runner)
    return replace(_prepared(planned, balanced, options, watch), equalized=channels.equalized)


def channels_are_open(planned: Planned, options: Options) -> bool:
    """Whether neither the options nor the configuration say what is done to the channels."""
    return options.calibration.equalize is None and not _balanced_layers(planned)


def is_configured(planned: Planned) -> bool:
    """Whether the configuration says something about a layer."""
    return any(entry.entry != "default" for entry in planned.plan.layers)


def prepare_part(model: Any, config: Any, data: Any, options: Options, watch: Stopwatch) -> tuple[Prepared, Batches]:
    """As :func:`prepare`, where other processes observe other parts of the data."""
    refuse_options_of_one_run(options)
    planned = _plan_feedable(model, config, options, watch)
    try:
        planned, batches = open_planned(planned, data, options, config is not None)
    except TooFewBatches as error:
        hint = "are there more in another place? observe each with --samples all (samples='all'), then merge"
        raise DataError(*(replace(problem, hint=f"{problem.hint}; {hint}") for problem in error.problems)) from None
    return _prepared(planned, _unbalanced(planned), options, watch), batches


def prepare_merge(model: Any, config: Any, options: Options, watch: Stopwatch) -> Prepared:
    """As :func:`prepare_part`, for parts that have been observed."""
    refuse_options_of_one_run(options)
    planned = _plan_feedable(model, config, options, watch)
    return _prepared(planned, _unbalanced(planned), options, watch)


def _prepared(planned: Planned, balanced: Balanced, options: Options, watch: Stopwatch) -> Prepared:
    if options.export.writes_tflite:
        graph = balanced.graph
        for write_out in WRITING_OUT:
            graph = write_out(graph)
        balanced = replace(balanced, graph=graph)
    return prepare_balanced(planned, balanced, options, watch)


def _plan_feedable(model: Any, config: Any, options: Options, watch: Stopwatch) -> Planned:
    """As :func:`calibrant.steps.planned.plan_model`, for a model that data can be fed to."""
    planned = plan_model(model, config, options.model, watch)
    check_feedable(planned.original, string_makers(planned.original) if options.export.writes_tflite else ())
    check_shapes(planned.original, options.export.tflite)
    return planned


def _balanced_layers(planned: Planned) -> list[str]:
    return [entry.name for entry in planned.plan.layers if entry.migration_strength is not None]


def _unbalanced(planned: Planned) -> Balanced:
    if balanced := _balanced_layers(planned):
        raise ConfigError(
            Problem(
                "dmq_balancer needs a pass over all data before the one that is split into parts",
                path=balanced[0],
                allowed="a configuration without dmq_balancer, or all data at once",
                hint="quantize --workers spreads both passes over processes",
            )
        )
    return Balanced(planned.folded.graph, planned.layers)
