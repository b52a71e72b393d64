"""One label a sample, no more and no fewer, in the order of the samples."""

from __future__ import annotations

from collections.abc import Collection

from calibrant.errors import DataError, Problem
from calibrant.evaluation.given_labels import GivenLabels
from calibrant.progress import LOG


def check_number(truth: GivenLabels, samples: int, fixed: int | None) -> None:
    """Refuse another number of labels than samples; those of a last part of a fixed batch are left out with it.

    Parameters
    ----------
    truth : GivenLabels
        The labels.
    samples : int
        How many the models run.
    fixed : int | None
        The batch that a model asks for.

    Raises
    ------
    DataError
        The numbers differ.
    """
    if not samples <= len(truth) < samples + (fixed or 1):
        problem = f"{len(truth)} labels for {samples} samples"
        raise DataError(Problem(problem, file=truth.file, allowed="one label a sample"))


def refuse_shuffled(shuffle: int | None) -> None:
    """Refuse a random order of samples whose labels are given beside them.

    Parameters
    ----------
    shuffle : int | None
        Seed of the order; None: there is none.

    Raises
    ------
    DataError
        There is one.
    """
    if shuffle is not None:
        problem = "shuffle changes the order of the samples, and the labels that are given beside them would not follow"
        hint = "leave out --shuffle (shuffle=), which is for calibration data, or the labels"
        raise DataError(Problem(problem, hint=hint))


def labels_of_batch(truth: GivenLabels, done: int, count: int) -> GivenLabels:
    """The labels of the next samples.

    Parameters
    ----------
    truth : GivenLabels
        The labels.
    done, count : int
        How many samples came before, and how many there are in the batch.

    Raises
    ------
    DataError
        There are too few.
    """
    if done + count > len(truth):
        problem = f"{len(truth)} labels, but there are more samples"
        raise DataError(Problem(problem, file=truth.file, allowed="one label a sample"))
    return truth[done : done + count]


def warn_of_unused(ignore: Collection[int], offset: int) -> None:
    """Say that what reads labels has nothing to read, where it was given.

    Parameters
    ----------
    ignore : Collection[int]
        Labels that do not count.
    offset : int
        What is taken from all of them.
    """
    given = ["--ignore-label (ignore_labels=)"] * bool(ignore) + ["--label-offset (label_offset=)"] * bool(offset)
    if given:
        LOG.warning("%s: there are no labels, so nothing of it is used", " and ".join(given))


def require_any(samples: int, ignore: Collection[int]) -> None:
    """Some labels count.

    Parameters
    ----------
    samples : int
        How many have labels that count.
    ignore : Collection[int]
        Labels that do not.

    Raises
    ------
    DataError
        All of them are ignored.
    """
    if not samples:
        hint = f"{', '.join(map(str, ignore))} do not count: --ignore-label (ignore_labels=)"
        raise DataError(Problem("every sample has a label that does not count", hint=hint))
