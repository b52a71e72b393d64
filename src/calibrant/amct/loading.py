"""``tf.import_graph_def`` for the deployable models: the Ascend operators become stock operations on the way in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from calibrant.graph.ascend.lower import has_ascend_operators, lower
from calibrant.graph.tensorflow import tensorflow

_MARK = "lowers_ascend_operators"


def accept_ascend_operators() -> None:
    """Let TensorFlow's public ``import_graph_def`` take graphs with the four operators; other graphs as before."""
    tf = tensorflow()
    modules: tuple[Any, ...] = (tf, tf.graph_util, tf.compat.v1, tf.compat.v1.graph_util)
    for module in modules:
        if not hasattr(module.import_graph_def, _MARK):
            module.import_graph_def = _lowering(module.import_graph_def)


def _lowering(import_graph_def: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(import_graph_def)
    def lowering(graph_def: Any, *arguments: Any, **options: Any) -> Any:
        if has_ascend_operators(getattr(graph_def, "node", ())):
            graph_def = lower(graph_def, "graph_def")
        return import_graph_def(graph_def, *arguments, **options)

    vars(lowering)[_MARK] = True
    return lowering
