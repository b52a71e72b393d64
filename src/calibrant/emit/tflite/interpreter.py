"""LiteRT's own interpreter where it is installed, else the one that TensorFlow still brings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from calibrant.graph.tensorflow import tensorflow
from calibrant.process_wide import alone


def new_interpreter(content: bytes, delegate: bool = True, keep: bool = True) -> Any:
    """An interpreter of a file.

    Parameters
    ----------
    delegate : bool
        Run with XNNPACK's kernels, as applications do by default, or with the built-in ones.
    keep : bool
        Keep all tensors; applications do not, and XNNPACK then joins operators.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        tf = tensorflow()
        Interpreter, OpResolverType = tf.lite.Interpreter, tf.lite.experimental.OpResolverType  # noqa: N806
    kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=keep,
            experimental_op_resolver_type=kind,
        )


def empty_tensors(interpreter: Any) -> dict[int, np.ndarray]:
    """The tensors without elements by index, which an interpreter does not hand out."""
    details = (detail for detail in interpreter.get_tensor_details() if 0 in detail["shape"])
    return {detail["index"]: np.empty(detail["shape"], detail["dtype"]) for detail in details}
