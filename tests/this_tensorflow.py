"""What the TensorFlow that runs the tests can do on this processor."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tensorflow.python.util import _pywrap_util_port

import calibrant


@contextmanager
def skipped_without_the_operation() -> Iterator[None]:
    """Skip the test if, and only if, TensorFlow has no such operation here: without oneDNN there are fewer of them."""
    try:
        yield
    except calibrant.ModelError as error:
        (problem,) = error.problems
        if "TF_ENABLE_ONEDNN_OPTS" not in (problem.hint or ""):
            raise
        pytest.skip(f"not in this TensorFlow on this processor: {problem.message}")


def has_onednn() -> bool:
    """Whether TensorFlow computes with oneDNN's kernels, whose last digits are others."""
    return bool(_pywrap_util_port.IsMklEnabled())
