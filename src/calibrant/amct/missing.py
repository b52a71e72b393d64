"""Names that ``calibrant.amct`` does not have: one error with exit code 2, and still none for ``hasattr``."""

from __future__ import annotations

from collections.abc import Collection

from calibrant.errors import CalibrantError, Problem


class MissingCallError(CalibrantError, AttributeError):
    """A call of another tool or version."""


def missing_call(name: str, known: Collection[str]) -> AttributeError:
    """The error for a name that is looked up in vain.

    Parameters
    ----------
    name : str
        The name.
    known : Collection[str]
        The names that there are.
    """
    if name.startswith("_"):
        return AttributeError(f"module 'calibrant.amct' has no attribute {name!r}")
    hint = f"outside of it are training, pruning, distillation and mixed precision; here are {', '.join(sorted(known))}"
    return MissingCallError(Problem(f"amct_tensorflow.{name} is not here", hint=hint))
