"""Keras 3 runs on TensorFlow, JAX or PyTorch; what it builds is a TensorFlow graph only on the first."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from calibrant.errors import DependencyError, Problem

_HINT = "KERAS_BACKEND=tensorflow in the environment before Python starts; it goes before ~/.keras/keras.json"


def keras_on_tensorflow(source: str) -> Any:
    """The module ``keras``.

    Parameters
    ----------
    source : str
        What it is wanted for, for messages.

    Raises
    ------
    DependencyError
        It runs on another backend, or cannot be imported, as it is where that backend is not installed.
    """
    try:
        keras: Any = import_module("keras")
    except ImportError as error:
        hint = "pip install keras" if error.name == "keras" else _HINT
        raise DependencyError(Problem(f"Keras cannot be imported: {error}", file=source, hint=hint)) from None
    backend = keras.backend.backend()
    if backend != "tensorflow":
        message = f"Keras runs on {backend}, where models are no TensorFlow graphs"
        raise DependencyError(Problem(message, file=source, allowed="tensorflow", hint=_HINT))
    return keras
