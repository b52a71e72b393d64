"""What data are read again for, once a network is calibrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from calibrant.calibration.runner import CalibrationRunner
from calibrant.data.open_data import Batches
from calibrant.errors import CalibrantError, DataError, Problem
from calibrant.progress import LOG


@dataclass(frozen=True)
class SecondPass:
    """Data to read again, and what for; as of :func:`calibrant.quantize`.

    Parameters
    ----------
    batches : Batches
        The data.
    refine, sensitivity : bool
        Whether ranges are refined, and layers ranked.
    budget : float | None
        Share of the multiply-accumulates that may have activations of 16 bits.
    by_default : bool
        Whether nobody asked for refining.
    round_weights : bool
        Whether refining rounds weights, layer after layer.
    runner : CalibrationRunner
        Observes what a budget makes necessary.

    Raises
    ------
    DataError
        Data that cannot be read again.
    """

    batches: Batches
    refine: bool = False
    sensitivity: bool = False
    budget: float | None = None
    by_default: bool = False
    round_weights: bool = False
    runner: CalibrationRunner = CalibrationRunner()

    @property
    def compares_outputs(self) -> bool:
        """Whether what the data are for is judged by the outputs."""
        return self.refine or self.sensitivity or self.budget is not None

    def __post_init__(self) -> None:
        check_readable_again(self.batches.restartable, self.refine, self.sensitivity, self.budget)


@contextmanager
def left_out_if(by_default: bool) -> Iterator[None]:
    """Go on without what nobody asked for where it ends in an error."""
    try:
        yield
    except CalibrantError as error:
        if not by_default:
            raise
        LOG.debug("refine: left out: %s", error)


def check_readable_again(restartable: bool, refine: bool, sensitivity: bool, budget: float | None) -> None:
    """Raise an error where data that can be read only once are wanted again.

    Parameters
    ----------
    restartable : bool
        Whether the data can be read again.
    refine, sensitivity : bool
        Whether ranges are refined, and layers ranked.
    budget : float | None
        Share of the multiply-accumulates that may have activations of 16 bits.

    Raises
    ------
    DataError
        They cannot be read again, and one of these needs them.
    """
    wanted = (
        "refining" if refine else "the sensitivity" if sensitivity else "the budget" if budget is not None else None
    )
    if wanted and not restartable:
        message = f"the data can be read only once, but {wanted} needs them again"
        raise DataError(Problem(message, hint="give files or arrays"))
