"""What a Keras file of HDF5 or of Keras 2 would run when it is loaded: the safe mode of Keras does not look there."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Mapping
from typing import Any

LAMBDA = "has a Lambda layer, whose code would be run on loading"

_COMPUTE = frozenset(
    {
        *("__operators__", "audio", "bitwise", "debugging", "dtypes", "image", "keras.activations", "keras.backend"),
        *("keras.losses", "keras.metrics", "linalg", "linalg.experimental", "losses", "manip", "math", "math.special"),
        *("nn", "nn.experimental", "quantization", "ragged", "random", "random.experimental", "sets", "signal"),
        *("sparse", "spectral", "strings"),
    }
)
"""The parts of TensorFlow whose functions do nothing but compute."""

_BEYOND = re.compile(
    r"write|save|restore|load|func|file|(^|_)tpu|_mesh|enable|disable|^init|^print$"
    r"|^set_(?!diag|size|intersection|difference|union)",
    re.IGNORECASE,
)
"""In the names of functions that do more, of these parts or of none."""

_CODES = re.compile(r"io\.(decode|encode|extract|parse|serialize|deserialize)_\w+")
_CALLED = ("method_name", "attr_name")
_TENSORS = frozenset({"RaggedTensor", "SparseTensor", "sparse.SparseTensor", "Tensor", "IndexedSlices"})
_OF_KERAS = re.compile(r"(tf_)?keras(\.src)?\.(activations|constraints|initializers|losses|metrics|regularizers)")


def what_runs(description: Any, registered: Collection[str]) -> str | None:
    """What a model would run on loading beside computing, in words that follow a file's name; None where nothing.

    Parameters
    ----------
    description : Any
        The value of its ``model_config`` or ``config.json``, of bounded depth.
    registered : Collection[str]
        Names of functions that the process has given to Keras.
    """
    left = [description]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if (found := _of_entry(value, registered)) is not None:
                return found
            left += value.values()
        elif isinstance(value, list):
            left += value
    return None


def _of_entry(entry: Mapping[str, Any], registered: Collection[str]) -> str | None:
    kind, config = entry.get("class_name"), entry.get("config")
    if kind in ("Lambda", "__lambda__") or any(
        value == "lambda" and str(key).endswith("_type") for key, value in entry.items()
    ):
        return LAMBDA
    named = config if isinstance(config, dict) else {}
    called = None
    if kind in ("TFOpLambda", "SlicingOpLambda") and not _computes(str(named.get("function"))):
        called = f"tf.{named.get('function')}"
    elif kind in ("ClassMethod", "InstanceMethod", "InstanceProperty") and not _is_of_tensors(named):
        called = ".".join(str(named[key]) for key in ("cls_symbol", *_CALLED) if key in named)
    elif isinstance(kind, str) and entry.get("module") is not None and not _is_known(entry, kind, registered):
        called = f"{entry['module']}.{config if kind == 'function' else kind}"
    return None if called is None else f"calls {called} on loading, which may do more than compute"


def _computes(symbol: str) -> bool:
    """Whether a function of TensorFlow does nothing but compute."""
    symbol = symbol.removeprefix("compat.v1.")
    part, _, name = symbol.rpartition(".")
    is_known = part in _COMPUTE or not part
    return (is_known and not _BEYOND.search(name)) or _CODES.fullmatch(symbol) is not None


def _is_of_tensors(config: Mapping[str, Any]) -> bool:
    """Whether a method or property is a public one of tensors."""
    owner = str(config.get("cls_symbol", "Tensor")).removeprefix("compat.v1.")
    return owner in _TENSORS and not any(str(config.get(key)).startswith("_") for key in _CALLED)


def _is_known(entry: Mapping[str, Any], kind: str, registered: Collection[str]) -> bool:
    """Whether what an entry names is a class, which Keras makes from its settings, or a known function."""
    module = str(entry["module"])
    if kind == "function":
        name = str(entry.get("config"))
        is_of_keras = _OF_KERAS.fullmatch(module) or (module == "builtins" and not hasattr(builtins, name))
        return bool(is_of_keras) or name in registered
    if kind.startswith("__"):
        return True
    names = (kind, entry.get("registered_name"))
    last = [str(name).rpartition(">")[2] for name in names if name is not None]
    return all(name[:1].isupper() and "." not in name for name in last)
