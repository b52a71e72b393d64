"""What was measured on one model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What was measured on one model; None where it could not be.

    ``mse`` to ``agreement`` are None for the reference itself; ``mse`` to ``largest_difference`` also for outputs that
    are class numbers or strings.

    Parameters
    ----------
    name : str
        The model's.
    samples : int
        How many samples were scored.
    top1, top5 : float | None
        Shares in 0...1 of the samples whose label is the largest output, or among the five largest (None with five
        classes or fewer). With labels for positions, top1 is the share of positions.
    mean_iou : float | None
        Mean over the classes of intersection / union of predicted and true positions, for labels of positions.
    mae, rmse, r2 : float | None
        Of outputs that are numbers, to the labels: mean absolute error, root of the mean squared error, and share of
        the labels' variance that is explained.
    mse : float | None
        Mean squared difference to the reference's outputs.
    cosine : float | None
        Cosine of the angle between all outputs and the reference's, -1...1.
    sqnr_db : float | None
        Signal-to-quantization-noise ratio of the outputs, 10·log10(Σ reference² / Σ difference²), in decibels; infinite
        where there is no difference.
    largest_difference : float | None
        Of any single output.
    agreement : float | None
        Share in 0...1 of the predictions that are the same: of samples, of positions, or of decisions on labels where a
        sample may have several.
    output : str | None
        Which of several outputs was scored.
    f1, exact_match, hamming_accuracy : float | None
        Where a sample may have several labels, in 0...1: 2·TP / (2·TP + FP + FN) over all labels (micro), the share of
        samples whose labels are all right, and the share of labels that are right.
    """

    name: str
    samples: int
    top1: float | None = None
    top5: float | None = None
    mean_iou: float | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    mse: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    largest_difference: float | None = None
    agreement: float | None = None
    output: str | None = None
    f1: float | None = None
    exact_match: float | None = None
    hamming_accuracy: float | None = None

    @property
    def judged(self) -> float | None:
        """The measure that losses are given in, 1 at best: R², top-1, or F1, whichever belongs to the labels."""
        return next((score for score in (self.r2, self.top1, self.f1) if score is not None), None)
