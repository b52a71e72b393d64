"""What a comparison of models shows, and how much they may differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibrant.data.option_types import check_types
from calibrant.errors import DataError, Problem
from calibrant.evaluation.layer_divergence import LayerDivergence
from calibrant.report.output_sqnr import NOISE_DB

FAKE_QUANTIZED, LITE_FILE = "fake-quantized", "TFLite"
"""What these models are called."""


@dataclass(frozen=True)
class Limits:
    """How much two models may differ.

    Parameters
    ----------
    share_within : float
        Least share of outputs of the LiteRT file within one step of its simulation; of whole numbers and
        strings, such as those of classes, equal to it.
    agreement : float
        Least share of samples with the same largest output in both, or one that is as large up to a step; of whole
        numbers and strings, of equal ones.
    relative : float
        Largest difference of the lowered model to the fake-quantized one, over the largest output.
    file_relative : float
        The same of the LiteRT file to its simulation; a difference of two steps is always allowed.

    Raises
    ------
    DataError
        A value that is no number, a share that is not 0...1, or a difference that is negative or infinite.
    """

    share_within: float = 0.99
    agreement: float = 0.99
    relative: float = 1e-5
    file_relative: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        shares = {name: getattr(self, name) for name in ("share_within", "agreement")}
        differences = {name: getattr(self, name) for name in ("relative", "file_relative")}
        wrong = [(name, value, "a share, 0...1") for name, value in shares.items() if not 0 <= value <= 1]
        wrong += [(name, value, "0 or more") for name, value in differences.items() if not 0 <= value < math.inf]
        if wrong:
            raise DataError(*(Problem(f"{name} is {value}", allowed=allowed) for name, value, allowed in wrong))


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
    first, second : str
        Their names.
    step : float | None
        One step of the first output that has codes, in real units; None where none has. Others have their own.
    share_within, share_equal, largest_steps : float | None
        Of the outputs that have codes, in steps; None without steps. Each of them has to keep to the limit.
    relative : float
        Largest difference over the largest output.
    agreement : float | None
        Share of the samples, or of positions in maps, with the same largest output, as for
        :class:`calibrant.evaluation.score.Score`; of whole numbers, of equal ones. None where outputs are no scores to
        choose from.
    passed : bool | None
        Whether they are within the limits; None for pairs that are only shown.
    sqnr_db : float | None
        Signal-to-noise ratio of the second, the lowest of the outputs of real numbers; infinite where they are equal.
    divergence : LayerDivergence | None
        The first layer where they differ by more than a step; None if there is none or it was not looked for.
    lost : int
        Outputs that are numbers in the first, and infinite or no numbers in the second.
    grown : bool
        Whether it passes beyond the limits: every operator of the file computes what it should of what it reads, and
        the steps by which kernels differ change the outputs no more than rounding between layers does.
    """

    first: str
    second: str
    step: float | None
    share_within: float | None
    share_equal: float | None
    largest_steps: float | None
    relative: float
    agreement: float | None
    passed: bool | None
    sqnr_db: float | None = None
    divergence: LayerDivergence | None = None
    lost: int = 0
    grown: bool = False


@dataclass(frozen=True)
class Verification:
    """What a comparison of models shows.

    Parameters
    ----------
    models : tuple[ModelScore, ...]
        Name, samples and accuracy of each model.
    pairs : tuple[PairScore, ...]
        How far two models differ.
    """

    models: tuple[ModelScore, ...]
    pairs: tuple[PairScore, ...]

    @property
    def noisy(self) -> tuple[PairScore, ...]:
        """The files that compute as they should, but far from the fake-quantized model: below NOISE_DB."""
        pairs = (pair for pair in self.pairs if (pair.first, pair.second) == (FAKE_QUANTIZED, LITE_FILE))
        return tuple(pair for pair in pairs if pair.sqnr_db is not None and pair.sqnr_db < NOISE_DB)

    @property
    def passed(self) -> bool:
        """Whether all pairs that have limits keep to them."""
        return all(pair.passed is not False for pair in self.pairs)
