"""Collects the problems of a file: a readable number is kept, the rest is counted."""

from __future__ import annotations

from collections.abc import Iterable

from calibrant.errors import ConfigError, Problem, first_problems

MOST_SHOWN = 200
"""Problems that one error lists."""
MOST_COUNTED = 2000
"""Problems after which reading stops, because this is no configuration file."""


class TooManyProblemsError(Exception):
    """Signals that reading on is pointless."""


class ProblemList:
    """The problems of one file in the order of reading; beyond ``MOST_SHOWN`` only their number is kept."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether no further problem will be shown, so that none need be worded."""
        return self._count >= MOST_SHOWN

    def add(self, problem: Problem | None) -> None:
        """Keep the problem, or count it (None, allowed when the list is full, is counted too).

        Raises
        ------
        TooManyProblemsError
            The list has reached ``MOST_COUNTED``.
        """
        if problem is not None and not self.full:
            self._kept.append(problem)
        self._count += 1
        if self._count >= MOST_COUNTED:
            raise TooManyProblemsError

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add each of the problems, as long as there is room for them."""
        for problem in problems:
            if len(self) >= MOST_COUNTED:
                return
            self._kept[len(self._kept) :] = [] if self.full else [problem]
            self._count += 1

    def listing(self) -> tuple[Problem, ...]:
        """The kept problems in the order of the file, and one that says how many more there are."""
        ordered = sorted(self._kept, key=lambda problem: (problem.line or 0, problem.column or 0))
        if self._count >= MOST_COUNTED:
            more = self._count - len(ordered)
            ordered.append(Problem(f"and more than {more - 1} more problems", file=ordered[0].file))
            return tuple(ordered)
        return first_problems(ordered, MOST_SHOWN, self._count)

    def raise_if_any(self) -> None:
        """Raise one error with the whole listing.

        Raises
        ------
        ConfigError
            There is at least one problem.
        """
        if self._count:
            raise ConfigError(*self.listing())
