"""Model files compute; what else they would do needs the user's word."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.reading.load import load
from calibrant.graph.tensorflow import tensorflow
from calibrant.graph.tf_core import GraphDef, dtypes


def test_python_code_in_a_frozen_graph(tmp_path: Path) -> None:
    """Named, with the switch that allows it."""
    graph_def = GraphDef()
    call = nd.make_node("PyFunc", "call", ["x"], token="pyfunc_0")
    call.attr["Tin"].list.type.append(dtypes.float32.as_datatype_enum)
    call.attr["Tout"].list.type.append(dtypes.float32.as_datatype_enum)
    graph_def.node.extend([nd.make_node("Placeholder", "x", [], dtype=dtypes.float32), call])
    path = tmp_path / "m.pb"
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(ModelError, match=r"call: PyFunc runs Python code[^\n]*\n.*--trust-model"):
        load(path)
    assert load(path, trust_model=True).outputs == ("call:0",)


def test_a_file_is_written_on_the_way(tmp_path: Path) -> None:
    """Also where the output only waits for it."""
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "written"), "text")]):
            tf.nn.relu(x, name="y")
    path = tmp_path / "m.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ModelError, match="WriteFile writes files"):
        load(path)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("trust_model", [False, True])
def test_main_op_that_writes(tmp_path: Path, trust_model: bool) -> None:
    """What a SavedModel runs when it is loaded may set variables and tables, and nothing else."""
    tf = tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        y = tf.nn.relu(x, name="y")
        main = tf.io.write_file(str(tmp_path / "written"), "text")
        builder = v1.saved_model.Builder(str(tmp_path / "m"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main)
        builder.save()
    if trust_model:
        assert load(tmp_path / "m", trust_model=True).output_keys == ("y",)
        return
    with pytest.raises(ModelError, match=r"runs WriteFile when it is loaded[^\n]*\n.*--trust-model"):
        load(tmp_path / "m")
    assert not (tmp_path / "written").exists()
