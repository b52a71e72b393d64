"""The class numbers that a model's outputs stand for, whatever form the outputs have."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np


def class_scores(outputs: np.ndarray) -> np.ndarray:
    """Scores as [N, positions, classes]: one position where a sample has one axis that is longer than 1.

    With more such axes the last has the classes, and each of the others' positions is predicted by itself, as in a
    segmentation map.
    """
    count, sample = len(outputs), outputs.shape[1:]
    if len(long_axes(outputs)) < 2 or sample[-1] == 1:
        return outputs.reshape(count, 1, math.prod(sample))
    return outputs.reshape(count, math.prod(sample[:-1]), sample[-1])


def scores_a_position(shape: Sequence[int | None] | None) -> int | None:
    """How many numbers of an output are the scores of one position, as far as its shape [N, ...] tells.

    Returns
    -------
    int | None
        1 where each position has one number, so that nothing is chosen; None where all of a sample are the scores, or
        the shape is not known.
    """
    if shape is None or len(shape) < 3:
        return None
    sizes = [2 if size is None else size for size in shape]  # an open axis may be longer than 1
    example = np.broadcast_to(np.float32(0), (1, *sizes[1:]))
    if one_a_position(example):
        return 1
    return shape[-1] if len(long_axes(example)) > 1 and shape[-1] != 1 else None


def long_axes(array: np.ndarray) -> tuple[int, ...]:
    """The sizes of a sample's axes that are longer than 1."""
    return tuple(length for length in np.shape(array)[1:] if length > 1)


def one_a_position(outputs: np.ndarray) -> bool:
    """Whether a sample has one number at each of several positions: [N, steps, 1], [N, height, width, 1]."""
    sample = np.shape(outputs)[1:]
    return len(sample) > 1 and sample[-1] == 1 and (len(sample) == 2 or len(long_axes(outputs)) > 1)


def predicted(outputs: np.ndarray) -> np.ndarray | None:
    """Class numbers [N, positions] int64; None where a sample has one number.

    Parameters
    ----------
    outputs : np.ndarray
        [N, ...]; integers are class numbers already (a model that ends in ArgMax).
    """
    outputs = np.asarray(outputs)
    if outputs.dtype.kind in "biu":
        return outputs.reshape(len(outputs), math.prod(outputs.shape[1:])).astype(np.int64)
    scores = class_scores(outputs)
    return scores.argmax(axis=2) if scores.shape[2] > 1 else None


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
