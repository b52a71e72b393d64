"""Time of one run of LiteRT files, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

ROUNDS = 9
SECONDS = 0.1


def milliseconds(contents: Sequence[bytes], fed: Sequence[np.ndarray], threads: int = 1) -> list[float]:
    """The fastest round of each file, on an interpreter of its own; the files take turns.

    Parameters
    ----------
    contents : files that take the same floating-point or whole inputs.
    fed : inputs by position.
    """
    import tensorflow as tf

    interpreters = []
    for content in contents:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        details = interpreter.get_input_details()
        for detail, values in zip(details, fed, strict=True):
            interpreter.resize_tensor_input(detail["index"], values.shape)
        interpreter.allocate_tensors()
        for detail, values in zip(details, fed, strict=True):
            interpreter.set_tensor(detail["index"], values)
        interpreter.invoke()
        interpreters.append(interpreter)
    times: list[list[float]] = [[] for _ in contents]
    for _ in range(ROUNDS):
        for interpreter, measured in zip(interpreters, times, strict=True):
            repeats, start = 0, time.perf_counter()
            while time.perf_counter() - start < SECONDS:
                interpreter.invoke()
                repeats += 1
            measured.append((time.perf_counter() - start) / repeats * 1000)
    return [min(measured) for measured in times]
