"""Keras models in memory, of Keras 3 and of ``tf_keras``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from calibrant.errors import ModelError, Problem
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Graph
from calibrant.graph.reading import frozen
from calibrant.graph.reading.concrete_function import frozen_function
from calibrant.graph.reading.keras_backend import keras_on_tensorflow
from calibrant.graph.tensorflow import cause_of, tensorflow

_NOT_IN_A_SCOPE = re.compile(r"[^A-Za-z0-9_.\\/>-]")


def from_keras(
    model: Any,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    source: str = "Keras model",
    constants: Mapping[str, Any] | None = None,
) -> Graph:
    """A Keras model run for inference (``training=False``), batch size left open.

    All outputs are there, in the model's order; of those with one name (a layer that is called several times) the
    second is called ``NAME_1``.

    Raises
    ------
    ModelError
        The model has not been built, or cannot be run.
    DependencyError
        It is one of Keras 3, which does not run on TensorFlow here.
    """
    tf = tensorflow()
    if any(kind.__module__.partition(".")[0] == "keras" for kind in type(model).__mro__):
        keras_on_tensorflow(source)
    specifications, pack = _signature(model, source)
    keys: list[str] = []

    def infer(*tensors: Any) -> Any:
        result = model(pack(tensors), training=False)
        results = [tensor for tensor in tf.nest.flatten(result) if tensor is not None]
        names = list(getattr(model, "output_names", None) or ())
        if isinstance(result, dict):
            named = [pair for key, value in result.items() for pair in _named(key, value)]
            names, results = [name for name, _ in named], [tensor for _, tensor in named]
        elif len(names) != len(results):
            names = [f"output_{index}" for index in range(len(results))]
        keys[:] = unique(str(name) for name in names)
        return [tf.identity(tensor, name=graph_name(key)) for key, tensor in zip(keys, results, strict=True)]

    try:
        with _acceptable_layer_names(model):
            function = tf.function(infer, autograph=False).get_concrete_function(*specifications)
    except tf.errors.OperatorNotAllowedInGraphError as error:
        raise ModelError(_decides_in_python(error, specifications, source)) from None
    except Exception as error:  # whatever the layers of a user raise
        raise ModelError(
            Problem(f"the Keras model cannot be run for inference: {cause_of(error)}", file=source)
        ) from None
    graph_def, feeds, fetches = frozen_function(function, source)
    return frozen.select_by_key(
        graph_def,
        source,
        {nd.node_name(feed): feed for feed in feeds},
        dict(zip(keys, fetches, strict=True)),
        inputs,
        outputs,
        constants,
        is_plausible=True,
    )


def _decides_in_python(error: Exception, specifications: Sequence[Any], source: str) -> Problem:
    """What to do about a layer whose code asks, in Python, what a tensor holds."""
    layer = re.search(r"encountered when calling (\S+)\.call", str(error))
    message = f"the Keras model cannot be exported: {layer.group(1) if layer else 'a layer'} decides in Python"
    shapes = [tuple(each.shape)[1:] for each in specifications if each.shape.rank]
    if not any(None in shape for shape in shapes):
        return Problem(f"{message} by what a tensor holds", file=source, hint="let it use tf.where or tf.cond")
    sizes = ", ".join(str(shape) for shape in shapes)
    hint = "build the model with fixed sizes and load its weights, model.export would fail, too"
    return Problem(f"{message} by sizes that are open: inputs of {sizes}", file=source, hint=hint)


def _named(key: str, value: Any) -> list[tuple[str, Any]]:
    """What an entry of a dictionary holds: (key, tensor), or with the number of each tensor in a nested structure."""
    nest = tensorflow().nest
    tensors = [tensor for tensor in nest.flatten(value) if tensor is not None]
    return [(f"{key}_{place}" if nest.is_nested(value) else key, tensor) for place, tensor in enumerate(tensors)]


def _signature(model: Any, source: str) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """What the model takes, batch size left open; and what makes of such tensors the model's first argument."""
    tf = tensorflow()
    legacy = hasattr(model, "save_spec")  # tf_keras
    nest: Any = tf.nest
    if not legacy:
        from keras import tree

        nest = tree
    structure = None
    if getattr(model, "built", True) and getattr(model, "inputs", None):
        flat = model.inputs
        structure = getattr(model, "_nested_inputs" if legacy else "_inputs_struct", None)
        if structure is None:
            structure = list(flat) if len(flat) > 1 else flat[0]
    else:
        structure = _recorded_inputs(model, legacy)
        flat = None if structure is None else nest.flatten(structure)
    if not flat:
        raise ModelError(
            Problem(
                "the Keras model has not been built, so it does not say what its inputs are",
                file=source,
                hint="call it once on a batch of data before it is given here",
            )
        )
    if any(type(getattr(tensor, "type_spec", None)).__name__ == "RaggedTensorSpec" for tensor in flat):
        raise ModelError(
            Problem(
                "the Keras model has a ragged input, whose parts have no axis of samples",
                file=source,
                hint="build it with a dense, padded input",
            )
        )
    # states, and statistics, belong to as many samples as the model was made for
    own_samples = any(getattr(layer, "stateful", False) or _is_in_training(layer) for layer in _layers(model))
    keys = dict(_keys(structure))
    specifications = [
        tf.TensorSpec(
            [tensor.shape[0] if own_samples else None, *tuple(tensor.shape)[1:]],
            tensor.dtype,
            name=_input_name(tensor, keys.get(id(tensor), f"input_{position}")),
        )
        for position, tensor in enumerate(flat)
    ]
    return specifications, lambda tensors: nest.pack_sequence_as(structure, list(tensors))


def _is_in_training(layer: Any) -> bool:
    """Whether Keras 2's batch norm is called as in training, on purpose: its statistics are those of the samples."""
    nodes = getattr(layer, "_inbound_nodes", ()) if type(layer).__name__ == "BatchNormalization" else ()
    return any(getattr(node, "call_kwargs", {}).get("training") is True for node in nodes)


def _recorded_inputs(model: Any, legacy: bool) -> Any:
    """The inputs of the first call of a model that is not made of layers alone; None where there was none."""
    try:
        if legacy:
            recorded = model.save_spec()
            return recorded[0][0] if recorded else None
        from keras.src.export.export_utils import get_input_signature

        recorded = get_input_signature(model)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    return recorded[0] if len(recorded) == 1 else None


def _keys(structure: Any, key: str = "") -> Iterator[tuple[int, str]]:
    """Identity of each tensor that keys of dictionaries lead to, and these keys in one word."""
    if isinstance(structure, Mapping):
        for each, value in structure.items():
            yield from _keys(value, f"{key}_{each}" if key else str(each))
    elif isinstance(structure, (list, tuple)):
        for place, value in enumerate(structure):
            yield from _keys(value, f"{key}_{place}" if key else "")
    elif key:
        yield id(structure), key


def _input_name(tensor: Any, otherwise: str) -> str:
    name = str(getattr(tensor, "name", "") or otherwise)
    return graph_name(name.split(":")[0].replace("/", "_"))


def graph_name(name: str) -> str:
    """The nearest name that TensorFlow accepts for a node."""
    accepted = _NOT_IN_A_SCOPE.sub("_", name)
    return accepted if accepted[:1].isalnum() or accepted[:1] == "." else f"n{accepted}"


def unique(names: Iterable[str]) -> list[str]:
    """The names, a number appended to those that have come before."""
    taken: dict[str, None] = {}
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken[candidate] = None
    return list(taken)


def _layers(model: Any) -> Iterable[Any]:
    """Those of a model, and of models in it."""
    return model._flatten_layers() if hasattr(model, "_flatten_layers") else ()


@contextmanager
def _acceptable_layer_names(model: Any) -> Iterator[None]:
    """Meanwhile, layers whose names TensorFlow rejects have other ones."""
    rejected = [(layer, layer.name) for layer in _layers(model) if graph_name(layer.name) != layer.name]
    attribute = "_name" if rejected and hasattr(rejected[0][0], "_name") else "name"
    try:
        for layer, name in rejected:
            setattr(layer, attribute, graph_name(name))
        yield
    finally:
        for layer, name in rejected:
            setattr(layer, attribute, name)
