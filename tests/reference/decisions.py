"""Measures of yes and no, counted one by one as they are defined."""

from __future__ import annotations


def multi_label(found, wanted, ignore=()):
    """(F1 over all labels, share of samples that are all right, share of labels that are right) of lists of rows."""
    true_positive = wrong = right = exact = samples = 0
    for row, labels in zip(found, wanted, strict=True):
        pairs = [(bool(one), bool(label)) for one, label in zip(row, labels, strict=True) if label not in ignore]
        true_positive += sum(one and label for one, label in pairs)
        wrong += sum(one != label for one, label in pairs)
        right += sum(one == label for one, label in pairs)
        samples += bool(pairs)
        exact += bool(pairs) and all(one == label for one, label in pairs)
    is_defined = any(label == 1 for row in wanted for label in row)
    f1 = 2 * true_positive / (2 * true_positive + wrong) if is_defined else None
    return f1, exact / samples if samples else None, right / (right + wrong) if samples else None


def binary_map(found, wanted, ignore=()):
    """(Share of right positions, mean IoU of the classes that occur) of two lists of 0 and 1."""
    pairs = [(int(one), int(label)) for one, label in zip(found, wanted, strict=True) if label not in ignore]
    ious = []
    for number in (0, 1):
        either = [pair for pair in pairs if number in pair]
        ious += [sum(pair == (number, number) for pair in either) / len(either)] if either else []
    return sum(one == label for one, label in pairs) / len(pairs), sum(ious) / len(ious)
