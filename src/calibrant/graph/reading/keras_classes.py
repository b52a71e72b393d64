"""The classes that a Keras file names: operations of Keras itself, and what only its author has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

_OPERATIONS = ("core", "image", "linalg", "math", "nn", "numpy")
_LAYERS = frozenset({"layer", "layers", "cell", "cells", "forward_layer", "backward_layer"})
_MODELS = frozenset({"Functional", "Model", "Sequential"})
_OF_KERAS = ("keras", "tf_keras", "builtins")
GONE = frozenset(
    {
        *("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"),
        *("ThresholdedReLU", "LocallyConnected1D", "LocallyConnected2D"),
    }
)
"""Layers of Keras 2 that Keras 3 has not."""


def operations(keras: Any, description: Mapping[str, Any]) -> dict[str, Any]:
    """By class name, what Keras 3 itself would not find: the operations (``keras.ops``) of a model in HDF5.

    Such a file names them without their module. Where a layer has the same name, as Add, the settings tell which is
    meant.

    Parameters
    ----------
    keras : Any
        The module of Keras 3.
    description : Mapping[str, Any]
        The value of ``model_config``.
    """
    known = _operations()
    return {
        str(entry["class_name"]): _either(known[entry["class_name"]], getattr(keras.layers, entry["class_name"], None))
        for entry in _layers(description)
        if entry["class_name"] in known and _is_operation(known[entry["class_name"]], entry["config"])
    }


def of_others(keras: Any, description: Mapping[str, Any]) -> list[str]:
    """The classes of layers that Keras does not have, each once, as ``custom_objects`` must name them.

    Parameters
    ----------
    keras : Any
        The module of Keras that reads the file.
    description : Mapping[str, Any]
        The value of ``model_config`` or ``config.json``.
    """
    registered = keras.utils.get_custom_objects()
    found = []
    for entry in _layers(description):
        kind = str(entry["class_name"])
        name = str(entry.get("registered_name") or kind)
        module = entry.get("module")
        if module is not None or entry.get("registered_name") is not None:
            is_own = _says_keras(entry)
        else:
            is_own = hasattr(keras.layers, kind) or kind in _MODELS | GONE | _operations().keys()
        if not is_own and name not in registered:
            found.append(name)
    return list(dict.fromkeys(found))


def is_of_keras_2(name: str, description: Mapping[str, Any]) -> bool:
    """Whether a class that Keras 3 does not find is Keras 2's own."""
    return name in GONE or any(
        entry.get("class_name") == name and _says_keras(entry) for entry in (description, *_layers(description))
    )


def _says_keras(entry: Mapping[str, Any]) -> bool:
    """Whether an entry says that its class is of a module of Keras."""
    is_registered = ">" in str(entry.get("registered_name"))
    return str(entry.get("module")).partition(".")[0] in _OF_KERAS and not is_registered


def _layers(description: Any) -> Iterator[dict[str, Any]]:
    """The entries of layers and cells, at any depth, in their order."""
    left = [("", description)]
    while left:
        key, value = left.pop()
        if isinstance(value, list):
            left += [(key, part) for part in reversed(value)]
        elif isinstance(value, dict):
            if key in _LAYERS and isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict):
                yield value
            left += reversed(value.items())


def _operations() -> dict[str, Any]:
    """The classes behind ``keras.ops``, by name; none in Keras 2."""
    try:
        kind = import_module("keras.src.ops.operation").Operation
        modules = [import_module(f"keras.src.ops.{name}") for name in _OPERATIONS]
    except ImportError:
        return {}
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, kind) and value.__module__ == module.__name__
    }


def _is_operation(operation: Any, config: Mapping[str, Any]) -> bool:
    """Whether settings are those of an operation; all layers have some that it lacks."""
    return "name" in config and set(config) <= set(inspect.signature(operation.__init__).parameters)


def _either(operation: Any, layer: Any) -> Any:
    """An operation, or a class that makes the layer of this name where the settings are the layer's."""
    if layer is None:
        return operation

    class Either:
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return (operation if _is_operation(operation, config) else layer).from_config(config)

    return Either
