"""Large constants in pieces: the same numbers and the same bytes as in one."""

import gc
import weakref

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

import calibrant
from calibrant.errors import ModelError
from calibrant.graph import constants, pieces
from calibrant.graph.nodes import constant_value
from calibrant.graph.pieces import is_in_pieces, read_graph_def, whole
from calibrant.graph.reading.load import load
from calibrant.graph.running import session
from calibrant.graph.running.run import run_once
from calibrant.graph.running.session import close_session, open_session
from calibrant.graph.tf_core import GraphDef
from graphs import graph_def, numbers, placeholder, tf

SHAPE = (500, 24)  # of float32: 48,000 bytes


def embedding() -> None:
    """Two tables, one of them half precision, and a dense layer."""
    ids = placeholder([None, 3], dtype=tf.int32, name="ids")
    first = tf.gather(tf.constant(numbers(*SHAPE), name="first"), ids)
    second = tf.gather(tf.constant(numbers(*SHAPE, seed=2).astype(np.float16), name="second"), ids)
    mean = tf.reduce_mean(first + tf.cast(second, tf.float32), 1)
    tf.matmul(tf.nn.relu(mean), tf.constant(numbers(24, 4), name="weights"), name="out")


@pytest.fixture
def small_pieces(monkeypatch) -> pytest.MonkeyPatch:
    """Pieces of 1,000 bytes, which end inside a number's row."""
    monkeypatch.setattr(pieces, "PIECE", 1000)
    monkeypatch.setattr(constants, "LARGE_BYTES", 10000)
    monkeypatch.setattr(session, "FEW_BYTES", 0)
    return monkeypatch


def test_a_file_is_read_in_pieces_and_written_as_it_was(tmp_path, small_pieces):
    plain = graph_def(embedding)
    plain.node[0].device = "/cpu:0"
    content = plain.SerializeToString(deterministic=True)
    path = tmp_path / "net.pb"
    path.write_bytes(content)
    read, sizes = read_graph_def(path)
    assert sizes == {"first": 48000, "second": 24000}
    large = {node.name: node for node in read.node if node.op == "Const" and is_in_pieces(node.attr["value"].tensor)}
    assert set(large) == {"first", "second"}
    np.testing.assert_array_equal(constant_value(large["first"]), numbers(*SHAPE))
    np.testing.assert_array_equal(constant_value(large["second"]), numbers(*SHAPE, seed=2).astype(np.float16))
    for node in read.node:
        node.CopyFrom(whole(node))
    assert read == plain
    graph = load(path)
    assert graph.serialized() == graph.graph_def().SerializeToString(deterministic=True)


def test_a_session_holds_the_same_numbers(tmp_path, small_pieces):
    path = tmp_path / "net.pb"
    path.write_bytes(graph_def(embedding).SerializeToString())
    batch = {"ids": np.array([[0, 499, 7], [3, 2, 1]], np.int32)}
    in_pieces = run_once(load(path), batch)[0]
    graph = load(path)
    with open_session(graph) as session:
        assert {"PyFunc"} <= {operation.type for operation in session.graph.get_operations()}
        close_session(session)
    np.testing.assert_array_equal(graph.constant("first:0"), numbers(*SHAPE))
    small_pieces.undo()
    assert run_once(load(path), batch)[0].tobytes() == in_pieces.tobytes()


def test_results_are_the_same_files(tmp_path, small_pieces):
    path = tmp_path / "net.pb"
    path.write_bytes(graph_def(embedding).SerializeToString())
    data = {"ids": np.random.default_rng(0).integers(0, 500, (8, 3)).astype(np.int32)}
    first = calibrant.quantize(path, data=data, out=tmp_path / "first", export="ascend")
    small_pieces.undo()
    second = calibrant.quantize(path, data=data, out=tmp_path / "second", export="ascend")
    names = [file.name for file in first.files if file.suffix == ".pb" or file.name == "record.txt"]
    assert len(names) == 3
    assert [file.name for file in second.files] == [file.name for file in first.files]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_file_that_is_cut_short_is_refused(tmp_path, small_pieces):
    content = graph_def(embedding).SerializeToString()
    path = tmp_path / "net.pb"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cut short"):
        load(path)


def test_content_of_the_wrong_size_is_refused(tmp_path, small_pieces):
    damaged = graph_def(embedding)
    node = next(node for node in damaged.node if node.name == "first")
    node.attr["value"].tensor.tensor_content = node.attr["value"].tensor.tensor_content[:-4]
    path = tmp_path / "net.pb"
    path.write_bytes(damaged.SerializeToString())
    with pytest.raises(ModelError, match="has 47996 bytes for float32"):
        load(path)


@settings(max_examples=150, deadline=None)
@example(place=98, byte=34, short=0)  # an entry without a key
@given(place=st.integers(0, 1 << 20), byte=st.integers(0, 255), short=st.integers(0, 3000))
def test_any_bytes_are_read_as_protobuf_reads_them(tmp_path_factory, place, byte, short):
    content = bytearray(CONTENT)
    content[place % len(content)] = byte
    content = bytes(content[: len(content) - short])
    path = tmp_path_factory.mktemp("files") / "net.pb"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", 1000)
        try:
            expected = GraphDef.FromString(content)
        except DecodeError:
            with pytest.raises(DecodeError):
                read_graph_def(path)
            return
        found, sizes = read_graph_def(path)
    for node in found.node:
        node.CopyFrom(whole(node))
    constants_found = [node for node in found.node if "value" in node.attr]
    contents = {node.name: len(node.attr["value"].tensor.tensor_content) for node in constants_found}
    assert sizes.items() <= contents.items()
    for graph in (found, expected):
        graph.DiscardUnknownFields()
    assert found == expected


CONTENT = graph_def(embedding).SerializeToString()


def test_large_arrays_are_kept_only_while_somebody_holds_them(tmp_path, small_pieces):
    graph = load(graph_def(embedding))
    first = graph.constant("first:0")
    assert graph.constant("first:0") is first
    assert graph.edit().finish().constant("first:0") is first
    assert graph.constant("weights:0") is graph.constant("weights:0")
    released = weakref.ref(first)
    del first
    gc.collect()
    assert released() is None
    np.testing.assert_array_equal(graph.constant("first:0"), numbers(*SHAPE))
