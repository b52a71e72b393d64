"""Files that say the impossible about themselves are refused before TensorFlow sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.reading.load import load
from calibrant.graph.reading.wire import tag, varint
from calibrant.graph.tf_core import GraphDef, dtypes


def _graph() -> GraphDef:
    """x + weights."""
    graph_def = GraphDef()
    placeholder = nd.make_node("Placeholder", "x", [], dtype=dtypes.float32)
    constant = nd.constant_node("weights", np.arange(6, dtype=np.float32).reshape(2, 3))
    total = nd.make_node("AddV2", "sum", ["x", "weights"], T=dtypes.float32)
    graph_def.node.extend([placeholder, constant, total])
    return graph_def


def _short(graph_def: GraphDef) -> None:
    graph_def.node[1].attr["value"].tensor.tensor_content = bytes(23)


def _reshaped(graph_def: GraphDef) -> None:
    graph_def.node[1].attr["value"].tensor.tensor_shape.dim[0].size = 1 << 40


def _retyped(graph_def: GraphDef) -> None:
    graph_def.node[1].attr["value"].tensor.dtype = dtypes.string.as_datatype_enum


def _untyped(graph_def: GraphDef) -> None:
    graph_def.node[1].attr["value"].tensor.dtype = 99  # type: ignore[assignment] # which is the damage


def _unknown_attribute(graph_def: GraphDef) -> None:
    graph_def.node[2].attr["T"].type = 99  # type: ignore[assignment] # which is the damage


def _splat(graph_def: GraphDef) -> None:
    tensor = graph_def.node[1].attr["value"].tensor
    tensor.tensor_content = b""
    tensor.float_val.append(1)
    tensor.tensor_shape.dim[0].size = 1 << 34


def _too_many_values(graph_def: GraphDef) -> None:
    tensor = graph_def.node[1].attr["value"].tensor
    tensor.tensor_content = b""
    tensor.float_val.extend(range(7))


def _without_shape(graph_def: GraphDef) -> None:
    graph_def.node[1].attr["value"].tensor.tensor_shape.unknown_rank = True


def _without_value(graph_def: GraphDef) -> None:
    del graph_def.node[1].attr["value"]


def _recursive(graph_def: GraphDef) -> None:
    for name, other in (("f", "g"), ("g", "f")):
        function = graph_def.library.function.add()
        function.signature.name = name
        function.node_def.append(nd.make_node(other, "call", []))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_short, "weights: has 23 bytes for float32 of shape [2, 3]"),
        (_reshaped, "weights: has 24 bytes for float32 of shape [1099511627776, 3]"),
        (_retyped, "weights: its value is of type string, its attribute 'dtype' another"),
        (_untyped, "weights: its value is of type 99, which TensorFlow does not have"),
        (_unknown_attribute, "sum: its attribute 'T' is the type 99, which TensorFlow does not have"),
        (_splat, "weights: would take 206 GB"),
        (_too_many_values, "weights: has 7 values for shape [2, 3]"),
        (_without_shape, "weights: is a constant of unknown shape"),
        (_without_value, "weights: is a constant without a value"),
        (_recursive, "the function 'f' calls itself"),
    ],
)
def test_refuses(damage: Callable[[GraphDef], None], message: str) -> None:
    """One error that names the node, in place of the end of the process."""
    graph_def = _graph()
    damage(graph_def)
    with pytest.raises(ModelError) as caught:
        load(graph_def)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("repeated", ["content", "tensor", "value", "attribute"])
def test_a_file_that_says_the_content_of_a_constant_twice(tmp_path: Path, repeated: str) -> None:
    """The last one counts: a right length before a wrong one is no excuse."""
    node = nd.constant_node("weights", np.zeros(6000, np.float32))
    node.attr["value"].tensor.tensor_content = b""
    head = node.attr["value"].tensor.SerializeToString()
    del node.attr["value"]
    parts = [bytes(24000), bytes(23996)]
    for name, number, before in (
        ("content", 4, head),
        ("tensor", 8, b""),
        ("value", 2, _field(1, b"value")),
        ("attribute", 5, node.SerializeToString()),
    ):
        found = [_field(number, part) for part in parts]
        parts = [before + b"".join(found)] if name == repeated else [before + part for part in found]
    path = tmp_path / "net.pb"
    rest = _graph()
    del rest.node[1]
    path.write_bytes(rest.SerializeToString() + _field(1, parts[0]))
    with pytest.raises(ModelError, match="weights: has 23996 bytes for float32"):
        load(path)


def _field(number: int, content: bytes) -> bytes:
    return tag(number) + varint(len(content)) + content


def test_fewer_values_repeat_the_last() -> None:
    """Which is how files keep a constant of one value, and one of zeros has none."""
    graph_def = _graph()
    tensor = graph_def.node[1].attr["value"].tensor
    tensor.tensor_content = b""
    assert not load(graph_def).require_constant("weights").any()
    tensor.float_val.append(2)
    assert (load(graph_def).require_constant("weights") == np.full((2, 3), 2, np.float32)).all()


def test_nested_text(tmp_path) -> None:
    """A text that opens a message in a message, ever deeper."""
    path = tmp_path / "deep.pbtxt"
    path.write_text("node { attr { value { list { func " + "{ attr { value { func " * 20000)
    with pytest.raises(ModelError, match="GraphDef in text form"):
        load(path)
