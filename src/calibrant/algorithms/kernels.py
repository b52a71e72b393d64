"""The loops over raw values and over candidates, in the best form of this installation.

Two forms have one interface and bit-identical results: ``kernels_native`` (in C, without the GIL) and
``kernels_numpy``, twenty times as slow, for installations that were built without a compiler.
"""

from __future__ import annotations

import functools
from types import ModuleType


@functools.cache
def kernels() -> ModuleType:
    """``kernels_native`` if it was built, else ``kernels_numpy``."""
    try:
        from calibrant.algorithms import kernels_native
    except ImportError:
        from calibrant.algorithms import kernels_numpy

        return kernels_numpy
    return kernels_native
