"""Which operators have to go back to float where a file that runs them on integers does not run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from calibrant.emit.tflite.file_parts import Operator
from calibrant.emit.tflite.planning.kernels import KERNELS, Result
from calibrant.emit.tflite.planning.plan import FilePlan

HALVINGS = 5


def offenders(
    plan: FilePlan, operators: Sequence[Operator], runs: Callable[[Collection[int]], bool]
) -> tuple[int, ...]:
    """Few operators with which in float the file runs.

    Operators that compute are suspected first, then those that only move values, layers at last. Suspects are halved a
    few times, those of one kind side by side; what is left runs.

    Parameters
    ----------
    plan : FilePlan
        With which the file does not run.
    operators : Sequence[Operator]
        Of the float file.
    runs : Callable[[Collection[int]], bool]
        Whether the file runs with these operators, by position, in float.

    Returns
    -------
    tuple[int, ...]
        Positions; none where the file does not run in float either.
    """

    def kind(at: int) -> tuple[bool, bool, str, int]:
        moves = at not in plan.layers and KERNELS[operators[at].name].result is Result.SAME
        return at in plan.layers, moves and KERNELS[operators[at].name].between_layers, operators[at].name, at

    order = sorted(plan.integer, key=kind)
    computing = [at for at in order if not any(kind(at)[:2])]
    beside_layers = [at for at in order if at not in plan.layers]
    tried: list[list[int]] = [[]]
    for suspects in (computing, beside_layers, order):
        if suspects not in tried and runs(suspects):
            new = [at for at in suspects if at not in tried[-1]]
            return _narrowed(new, runs) if len(new) == len(suspects) or runs(new) else tuple(suspects)
        tried.append(suspects)
    return ()


def _narrowed(suspects: Sequence[int], runs: Callable[[Collection[int]], bool]) -> tuple[int, ...]:
    """A part of the suspects that suffices, found by halving."""
    for _ in range(HALVINGS):
        if len(suspects) == 1:
            break
        middle = len(suspects) // 2
        half = next((part for part in (suspects[:middle], suspects[middle:]) if runs(part)), None)
        if half is None:
            break
        suspects = half
    return tuple(suspects)
