"""SavedModels whose inputs are no dense tensors, or whose operations TensorFlow does not have or cannot show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.foreign_parts import require_visible_layers, unknown_operations
from calibrant.graph.reading.load import load


class Products(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.ones((4, 3), np.float32))

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])
    def of_ragged(self, x):
        return {"y": tf.matmul(x.to_tensor(shape=[None, 4]), self.weights, name="product")}

    @tf.function(input_signature=[tf.SparseTensorSpec([None, 4], tf.float32)])
    def of_sparse(self, x):
        return {"y": tf.matmul(tf.sparse.to_dense(x), self.weights, name="product")}


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_inputs_of_several_tensors(kind: str, tmp_path: Path) -> None:
    model = Products()
    tf.saved_model.save(model, str(tmp_path), signatures=getattr(model, f"of_{kind}"))
    with pytest.raises(ModelError, match=rf"has a {kind} input \(fed as x, x_1") as raised:
        load(tmp_path)
    names = [node.name for node in raised.value.unfit.node if node.op in ("RaggedTensorToTensor", "SparseToDense")]
    assert len(names) == 1
    graph = load(tmp_path, inputs=names)  # the dense tensor, as the error says
    layers, others = find_layers(graph)
    assert [layer.type for layer in layers] == ["MatMul"] and others == ()


def graph_of(*operations: str) -> tf.compat.v1.GraphDef:
    nodes = [tf.compat.v1.NodeDef(name=f"n{index}", op=operation) for index, operation in enumerate(operations)]
    return tf.compat.v1.GraphDef(node=nodes)


@pytest.mark.parametrize(
    ("operation", "message"), [("TRTEngineOp", "converted by TensorRT"), ("Whisk", "does not have: Whisk")]
)
def test_operations_that_tensorflow_does_not_have(operation: str, message: str) -> None:
    problem = unknown_operations(SimpleNamespace(graph_def=graph_of("NoOp", operation)), "m")
    assert problem is not None and message in problem.message
    assert unknown_operations(SimpleNamespace(graph_def=graph_of("NoOp")), "m") is None


def test_compiled_code_hides_the_layers() -> None:
    shape = tf.TensorShape([None, 3]).as_proto()
    with tf.Graph().as_default() as built:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        attributes = tf.compat.v1.NodeDef(name="call", op="XlaCallModule", input=["x"]).attr
        attributes["version"].i = 9
        attributes["module"].s = b""
        attributes["Tin"].list.type.append(x.dtype.as_datatype_enum)
        attributes["Tout"].list.type.append(tf.float32.as_datatype_enum)
        attributes["Sout"].list.shape.add().CopyFrom(shape)
        attributes["platforms"].list.s.append(b"CPU")
    graph_def = built.as_graph_def()
    graph_def.node.add(name="call", op="XlaCallModule", input=["x"], attr=attributes)
    graph = load(graph_def)
    with pytest.raises(ModelError, match="compiled by JAX"):
        require_visible_layers(graph)
    _, others = find_layers(graph)
    assert [(item.type, item.reason) for item in others] == [
        ("XlaCallModule", "is compiled code, whose products cannot be seen")
    ]
