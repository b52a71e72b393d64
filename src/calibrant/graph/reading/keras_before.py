"""Keras files of before: what their settings and arrays meant to the Keras that wrote them, where that has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_FLIPPED = frozenset({"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D"})
"""Classes whose kernels Theano read from their ends; Keras wrote its separable ones for it as for TensorFlow."""


@contextmanager
def read_as_then(keras: Any) -> Iterator[None]:
    """Meanwhile, Keras reads what an earlier one wrote as that one meant it.

    A GRU without ``reset_after``, a setting since Keras 2.1.3, is one that resets before; ``hard_sigmoid`` is that of
    Keras 1 and 2, clip(0.2 x + 0.5) instead of clip(x / 6 + 0.5).

    Parameters
    ----------
    keras : Any
        The module of Keras, 2 or 3, that reads the file.
    """
    with _gru_as_then(keras), _hard_sigmoid_as_then(keras):
        yield


def flip_kernels(model: Any) -> None:
    """Turn the kernels of convolutions that were trained with Theano as TensorFlow reads them."""
    for layer in model._flatten_layers():
        if type(layer).__name__ not in _FLIPPED:
            continue
        cell = getattr(layer, "cell", layer)
        for kernel in (cell.kernel, getattr(cell, "recurrent_kernel", None)):
            if kernel is not None:
                value = kernel.numpy()
                spatial = value.ndim - 2
                kernel.assign(value[(slice(None, None, -1),) * spatial])


@contextmanager
def _gru_as_then(keras: Any) -> Iterator[None]:
    kinds = (keras.layers.GRU, keras.layers.GRUCell)
    own = [kind.__dict__.get("from_config") for kind in kinds]

    def then(kind: Any, before: Any) -> Any:
        def from_config(cls: Any, config: Mapping[str, Any]) -> Any:
            read = super(kind, cls).from_config if before is None else before.__get__(None, cls)
            return read({"reset_after": False, **config})

        return classmethod(from_config)

    try:
        for kind, before in zip(kinds, own, strict=True):
            kind.from_config = then(kind, before)
        yield
    finally:
        for kind, before in zip(kinds, own, strict=True):
            if before is None:
                del kind.from_config
            else:
                kind.from_config = before


@contextmanager
def _hard_sigmoid_as_then(keras: Any) -> Iterator[None]:
    """Keras 2 has its own."""
    if keras.__version__.startswith("2"):
        yield
        return
    known = import_module("keras.src.activations").ALL_OBJECTS_DICT
    now = known["hard_sigmoid"]

    def hard_sigmoid(x: Any) -> Any:
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    known["hard_sigmoid"] = hard_sigmoid
    try:
        with keras.saving.custom_object_scope({"hard_sigmoid": hard_sigmoid}):
            yield
    finally:
        known["hard_sigmoid"] = now
