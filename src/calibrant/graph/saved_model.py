"""SavedModel folders: one signature, variables frozen into constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem, did_you_mean
from calibrant.graph import frozen
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow


def from_saved_model(path: Path, signature: str | None, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Graph:
    """The graph of one signature.

    Raises
    ------
    ModelError : damaged folder, no such signature, or several and none is the default.
    """
    tf = tensorflow()
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds for damaged folders
        raise ModelError(Problem(f"cannot be loaded as a SavedModel: {str(error).splitlines()[0]}", file=str(path))) from None
    names = sorted(loaded.signatures)
    chosen = signature or ("serving_default" if "serving_default" in names else names[0] if len(names) == 1 else None)
    if chosen not in names:
        raise ModelError(
            Problem(
                f"has no signature {chosen!r}" if chosen else f"has {len(names)} signatures and none is the default",
                file=str(path),
                allowed=", ".join(names) or "a SavedModel with at least one signature",
                hint=(did_you_mean(chosen, names) if chosen else None) or "choose one with --signature",
            )
        )
    return freeze(loaded.signatures[chosen], str(path), inputs, outputs)


def freeze(function: Any, source: str, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Graph:
    """A concrete function as a Graph: variables become constants, calls are inlined, keys of inputs and outputs are kept."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    constant = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph_def = constant.graph.as_graph_def()
    if inputs or outputs:
        default_inputs = [tensor.name for tensor in constant.inputs if tensor.dtype != "resource"]
        default_outputs = [tensor.name for tensor in constant.outputs]
        return frozen.select(graph_def, source, inputs or default_inputs, outputs or default_outputs)
    feeds = [tensor for tensor in constant.inputs if tensor.dtype != "resource"]
    # a keyed signature returns its outputs in the order of the sorted keys
    structured = function.structured_outputs
    keys = sorted(structured) if isinstance(structured, dict) and len(structured) == len(constant.outputs) else ()
    return frozen.select(
        graph_def,
        source,
        [tensor.name for tensor in feeds],
        [tensor.name for tensor in constant.outputs],
        [tensor.op.name.removeprefix("serving_default_") for tensor in feeds],
        keys,
    )
