"""Keras models, in memory and in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import frozen
from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import quiet, tensorflow


def from_file(path: Path, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Graph:
    """A ``.keras`` or ``.h5`` file, Keras 3 or Keras 2 format.

    Raises
    ------
    ModelError : Keras cannot load it, for example because it needs custom objects.
    """
    tensorflow()
    import keras

    try:
        model = keras.models.load_model(str(path), compile=False)
    except Exception as error:  # Keras raises many kinds for files it cannot read
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            Problem(
                f"Keras {keras.__version__} cannot load it: {reason}",
                file=str(path),
                hint="load a model with custom objects in Python, or export it as a SavedModel",
            )
        ) from None
    return from_keras(model, inputs, outputs, source=str(path))


def from_keras(
    model: Any, inputs: Sequence[str] | None, outputs: Sequence[str] | None, source: str = "Keras model"
) -> Graph:
    """A Keras model run for inference (``training=False``), batch size left open."""
    tf = tensorflow()
    import keras
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if not getattr(model, "inputs", None):
        raise ModelError(
            Problem(
                "the Keras model does not say what its inputs are",
                file=source,
                hint="call it once if it is a Sequential one; export a subclassed one with model.export(FOLDER)",
            )
        )
    structure = getattr(model, "_inputs_struct", None)
    specifications = [
        tf.TensorSpec([None, *tuple(tensor.shape)[1:]], tensor.dtype, name=_input_name(tensor, position))
        for position, tensor in enumerate(model.inputs)
    ]

    def infer(*tensors: Any) -> Any:
        if structure is not None:
            arguments = keras.tree.pack_sequence_as(structure, list(tensors))
        else:
            arguments = list(tensors) if len(tensors) > 1 else tensors[0]
        result = model(arguments, training=False)
        if isinstance(result, dict):
            return {str(name): tf.identity(tensor, name=str(name)) for name, tensor in result.items()}
        results = tf.nest.flatten(result)
        names = list(getattr(model, "output_names", [])) or [f"output_{index}" for index in range(len(results))]
        return {name: tf.identity(tensor, name=name) for name, tensor in zip(names, results, strict=True)}

    try:
        function = tf.function(infer, autograph=False).get_concrete_function(*specifications)
    except Exception as error:  # whatever the layers of a user raise
        lines = [line.strip() for line in (str(error).strip() or type(error).__name__).splitlines() if line.strip()]
        reason = " ".join(lines[:2])
        raise ModelError(Problem(f"the Keras model cannot be run for inference: {reason}", file=source)) from None
    with quiet():
        constant = convert_variables_to_constants_v2(function, lower_control_flow=False)
    graph_def = constant.graph.as_graph_def()
    feeds = [tensor.name for tensor in constant.inputs if tensor.dtype != tf.resource]
    fetches = [tensor.name for tensor in constant.outputs]
    if inputs or outputs:
        return frozen.select(graph_def, source, inputs or feeds, outputs or fetches)
    return frozen.select(graph_def, source, feeds, fetches, output_keys=sorted(function.structured_outputs))


def _input_name(tensor: Any, position: int) -> str:
    name = str(getattr(tensor, "name", "") or f"input_{position}")
    return name.split(":")[0].replace("/", "_")
