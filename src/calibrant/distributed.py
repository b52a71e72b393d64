"""Calibration in parts: observe some of the batches here and some there, and merge what was seen.

What is merged is the very state that one run over all batches would have had. So any scheduler can spread the work
over processes and machines, repeat what was lost, and nothing shows in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any

from calibrant.calibration.runner import CalibrationRunner
from calibrant.calibration.state import State, fingerprint
from calibrant.config import load_config
from calibrant.data.amount import part_sentence
from calibrant.destination import Destination
from calibrant.errors import DataError, Problem
from calibrant.options import TO_QUANTIZE, OptionGroup, Options, takes_keywords
from calibrant.progress import LOG, ProgressFn, Stopwatch, no_progress
from calibrant.publish.writable import check_writable_file, path_to_write
from calibrant.quantization import build_result
from calibrant.report.given_options import run_options
from calibrant.result import Result
from calibrant.steps.calibration_data import say_use
from calibrant.steps.files_read import files_read
from calibrant.steps.observed import search_parameters
from calibrant.steps.prepare import prepare_merge, prepare_part

MOST_BATCHES = 8
"""That a message names."""


@takes_keywords(*TO_QUANTIZE)
def observe(
    model: Any,
    config: Any = None,
    data: Any = None,
    state: str | Path = "calibration_state.npz",
    batches: tuple[int, int] | None = None,
    *options: OptionGroup,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> Path:
    """Observe calibration batches and write their statistics to a file.

    If the file exists, observation continues: batches that are in it are not observed again.

    Parameters
    ----------
    model, config, data : Any
        As for :func:`calibrant.quantize`.
    state : str | Path
        File to write, periodically and at the end; always a complete one.
    batches : tuple[int, int] | None
        (first, last + 1) of the batches to take; all of them by default. Numbers count from 0.
    *options : OptionGroup
        As for :func:`calibrant.quantize`, without ``equalize`` and ``budget``; the same for all parts. ``export`` is
        needed because some formats need more tensors. ``name``, ``page`` and ``tflite_io`` matter only for
        :func:`merge`.
    track : ProgressFn
        As for :func:`calibrant.quantize`.
    **keywords : Any
        As for :func:`calibrant.quantize`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CalibrantError
        With every problem that was found.

    Examples
    --------
    >>> observe("digits.pb", "quant.cfg", "calibration.npz", "part1.npz", (0, 2))  # doctest: +SKIP
    >>> observe("digits.pb", "quant.cfg", "calibration.npz", "part2.npz", (2, 4))  # doctest: +SKIP
    >>> merge(["part1.npz", "part2.npz"], "digits.pb", "quant.cfg", out="out")  # doctest: +SKIP
    """
    file = path_to_write(state, "state file")
    check_writable_file(file, files_read(model, config, data))
    chosen = Options.of(TO_QUANTIZE, options, keywords)
    runner = CalibrationRunner(chosen.calibration.workers, chosen.calibration.threads)
    prepared, source = prepare_part(model, config, data, chosen, Stopwatch())
    numbers = None if batches is None else _range(batches, source.count)
    if numbers is None:
        say_use(source)
    else:
        LOG.info(part_sentence(numbers, source.count, source.samples))
    runner.observe(prepared.observed, prepared.with_outputs, source, track, state=file, chosen=numbers)
    return file


@takes_keywords(*TO_QUANTIZE)
def merge(
    states: Sequence[str | Path],
    model: Any,
    config: Any = None,
    out: str | Path | None = None,
    *options: OptionGroup,
    **keywords: Any,
) -> Result:
    """Quantize a model with the statistics of several files.

    Parameters
    ----------
    states : Sequence[str | Path]
        Files of :func:`observe`, in any order, of the same model and configuration.
    model, config : Any
        As for :func:`calibrant.quantize`.
    out : str | Path | None
        As for :func:`calibrant.quantize`.
    *options : OptionGroup
        As for :func:`observe`; what only concerns the reading of data is ignored.
    **keywords : Any
        As for :func:`observe`.

    Returns
    -------
    Result
        The result that :func:`calibrant.quantize` would have given with all batches at once, bit for bit.

    Raises
    ------
    DataError
        No files; files that do not belong to this model and configuration, or hold a batch twice; batches are missing.
    CalibrantError
        With every other problem that was found.
    """
    if len(states) == 0:
        raise DataError(Problem("no state is named", allowed="at least one file that observe wrote"))
    watch = Stopwatch()
    chosen = Options.of(TO_QUANTIZE, options, keywords)
    output = Destination.of(out, chosen.export, model, files_read(model, config, list(states)))
    prepared = prepare_merge(model, config, chosen, watch)
    with watch.step("merge"):
        state = State(fingerprint(prepared.observed, prepared.with_outputs), prepared.with_outputs)
        for path in states:
            state.merge_from(Path(path))
    _check_complete(state, load_config(config).batch_num, ", ".join(map(str, states)))
    prepared = replace(prepared, plan=replace(prepared.plan, batch_num=len(state.batches)))
    used = run_options(chosen, refine=False)
    return build_result(search_parameters(prepared, watch), chosen.export, output, watch, options=used)


def _check_complete(state: State, batch_num: int | None, files: str) -> None:
    """As many batches as the configuration says, or, where it says nothing, as the data had."""
    observed = len(state.batches)
    count, first = state.missing(MOST_BATCHES)
    if batch_num is None and count:
        numbers = ", ".join(map(str, first)) + (" …" if count > MOST_BATCHES else "")
        raise DataError(
            Problem(
                f"batch {numbers} of {observed + count} is in none of the files",
                file=files,
                hint=f"observe them too; or say batch_num : {observed} in the configuration, to go without them",
            )
        )
    if batch_num is not None and observed < batch_num:
        hint = "observe the others too, or lower batch_num"
        raise DataError(Problem(f"{observed} batches were observed, batch_num is {batch_num}", file=files, hint=hint))
    if batch_num is not None and observed > batch_num:
        LOG.warning("%d batches were observed, batch_num is %d: all of them count", observed, batch_num)


def _range(batches: tuple[int, int], count: int | None) -> range:
    first, end = map(index, batches)
    if not 0 <= first < end or (count is not None and end > count):
        raise DataError(
            Problem(
                f"batches are {first}:{end}",
                allowed=f"a range within 0:{count}" if count is not None else "first:end, with first < end",
                hint="counted from 0, and the end is not one of them; batch_num or --samples says how many there are",
            )
        )
    return range(first, end)
