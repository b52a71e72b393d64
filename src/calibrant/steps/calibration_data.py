"""Step: open the data that calibrate a planned network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from calibrant.data.amount import sample_limit, used_sentence
from calibrant.data.input_spec import inputs_of
from calibrant.data.one_run_a_row import ONE_A_RUN, first_axis_sentence, one_sample_sentence
from calibrant.data.open_data import Batches, open_data
from calibrant.data.options import DataOptions
from calibrant.graph.graph import Graph
from calibrant.options import Options
from calibrant.progress import LOG
from calibrant.steps.planned import Planned


def open_planned(planned: Planned, data: Any, options: Options, is_configured: bool) -> tuple[Planned, Batches]:
    """The batches that calibrate, and the plan with their number.

    Parameters
    ----------
    planned : Planned
        The network.
    data : Any
        As for :func:`calibrant.quantize`.
    options : Options
        How much of the data calibrates, and how they are read.
    is_configured : bool
        Whether there is a configuration, whose ``batch_num`` then holds.

    Raises
    ------
    DataError
        The data do not fit the model.
    """
    batch_num = planned.plan.batch_num if is_configured else None
    batches = open_calibration(data, planned.original, options.data, options.calibration.samples, batch_num)
    LOG.debug("data %s", batches.describe())
    by_run = ONE_A_RUN if batches.one_a_run else first_axis_sentence(batches.inputs)
    taken = one_sample_sentence(batches.inputs) or by_run
    if taken is not None:
        LOG.info(taken)
    if batches.count is None:
        return planned, batches
    return replace(planned, plan=replace(planned.plan, batch_num=batches.count)), batches


def say_use(batches: Batches) -> None:
    """Say how much of the data calibrates, where that is known before they are read."""
    if batches.samples is not None:
        LOG.info(used_sentence(batches.samples, batches.available, batches.place))


def open_calibration(
    data: Any, original: Graph, options: DataOptions, samples: int | str | None, batch_num: int | None
) -> Batches:
    """The batches that calibrate: as many as hold the samples asked for, else ``batch_num``, else the default."""
    by_samples = samples is not None or batch_num is None
    return open_data(
        data,
        inputs_of(original),
        batch_num=None if by_samples else batch_num,
        sample_limit=sample_limit(samples) if by_samples else None,
        spread=True,
        **options.keywords(),
    )
