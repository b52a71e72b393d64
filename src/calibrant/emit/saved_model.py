"""A model as a SavedModel: the constants in the graph, one signature, no variables; the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from calibrant.graph.graph import Graph
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import GraphDef, MetaGraphDef, SavedModel, SignatureDef, TensorInfo

SCHEMA_VERSION = 1
TAG = "serve"
SIGNATURE = "serving_default"
METHOD = "tensorflow/serving/predict"


def saved_model_writer(graph: Graph) -> Callable[[Path], None]:
    """A function that writes the SavedModel as a folder at a path.

    Its one signature, ``serving_default``, has the input and output keys of the model that was read. The folder holds
    ``saved_model.pb`` and an empty ``variables``; there is no fingerprint, so the bytes depend on the graph alone (and
    on TensorFlow's version, which they name).
    """
    return partial(_write, saved_model(graph).SerializeToString(deterministic=True))


def _write(content: bytes, path: Path) -> None:
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(content)


def saved_model(graph: Graph) -> SavedModel:
    """The message in ``saved_model.pb``."""
    return described(graph, graph.graph_def())


def described(graph: Graph, definition: GraphDef) -> SavedModel:
    """The message for a GraphDef with the inputs and outputs of a graph."""
    meta = MetaGraphDef(graph_def=definition)
    meta.meta_info_def.tags.append(TAG)
    meta.meta_info_def.tensorflow_version = tensorflow().__version__
    signature = SignatureDef(method_name=METHOD)
    _describe(graph, signature.inputs, graph.input_keys, graph.inputs)
    _describe(graph, signature.outputs, graph.output_keys, graph.outputs)
    meta.signature_def[SIGNATURE].CopyFrom(signature)
    return SavedModel(saved_model_schema_version=SCHEMA_VERSION, meta_graphs=[meta])


def _describe(graph: Graph, into: dict[str, TensorInfo], keys: Sequence[str], tensors: Sequence[str]) -> None:
    for key, tensor in zip(keys, tensors, strict=True):
        info = into[key]
        info.name = tensor
        info.dtype = graph.dtype(tensor).as_datatype_enum
        shape = graph.shape(tensor)
        if shape is None:
            info.tensor_shape.unknown_rank = True
        for size in shape or ():
            info.tensor_shape.dim.add().size = -1 if size is None else size
