"""The class numbers that a model's outputs stand for, whatever form the outputs have."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np


def class_scores(outputs: np.ndarray) -> np.ndarray:
    """Scores as [N, positions, classes]: one position where a sample has one axis that is longer than 1.

    With more such axes the last has the classes, and each of the others' positions is predicted by itself, as in a
    segmentation map.
    """
    count, sample = len(outputs), outputs.shape[1:]
    if sum(length > 1 for length in sample) < 2 or sample[-1] == 1:
        return outputs.reshape(count, 1, math.prod(sample))
    return outputs.reshape(count, math.prod(sample[:-1]), sample[-1])


def predicted(outputs: np.ndarray, binary: bool = False) -> np.ndarray | None:
    """Class numbers [N, positions] int64; None where a sample has one number that is no class.

    Parameters
    ----------
    outputs : np.ndarray
        [N, ...]; integers are class numbers already (a model that ends in ArgMax).
    binary : bool
        One number a sample is the probability of class 1; a number outside 0...1 is taken as its logit.
    """
    outputs = np.asarray(outputs)
    if outputs.dtype.kind in "biu":
        return outputs.reshape(len(outputs), math.prod(outputs.shape[1:])).astype(np.int64)
    scores = class_scores(outputs)
    if scores.shape[2] > 1:
        return scores.argmax(axis=2)
    if not binary:
        return None
    is_probability = bool(np.all((scores >= 0) & (scores <= 1)))
    return (scores[:, :, 0] > (0.5 if is_probability else 0.0)).astype(np.int64)


def per_sample(outputs: np.ndarray) -> np.ndarray:
    """[N, values] from [N, ...]; a scalar becomes [1, 1]."""
    outputs = np.asarray(outputs)
    return outputs.reshape(len(outputs), math.prod(outputs.shape[1:])) if outputs.ndim else outputs.reshape(1, 1)


def are_targets(outputs: np.ndarray, labels: np.ndarray, is_probability: bool, ignore: Collection[int] = ()) -> bool:
    """Whether labels are numbers that the outputs are to be, not class numbers.

    They are where some are not whole, and where the model gives one number a sample that is no probability while the
    labels are not just 0 and 1.

    Parameters
    ----------
    outputs : np.ndarray
        [N, ...] of the model, some of them.
    labels : np.ndarray
        Integers, or floats where some are not whole.
    is_probability : bool
        Whether the output comes from a Sigmoid.
    ignore : Collection[int]
        Labels that do not count.
    """
    if labels.dtype.kind == "f":
        return True
    one_number = outputs.dtype.kind == "f" and math.prod(outputs.shape[1:]) == 1
    return one_number and not is_probability and not bool(np.isin(labels, (0, 1, *ignore)).all())
