"""Inputs that calibration data cannot be: text, encoded images and sound; the error says where to cut."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from calibrant.errors import ModelError
from calibrant.graph.reading.cut_proposal import unfeedable
from calibrant.graph.reading.load import load
from calibrant.graph.reading.narrow_places import narrow_places
from command_line import run
from graphs import conv, dense, graph_def, numbers, placeholder, save, tf, v1


def images():
    """JPEG bytes -> decoded -> Scaled [1, 8, 8, 3] -> convolution."""
    pixels = tf.io.decode_jpeg(placeholder([], "bytes", tf.string), channels=3)
    scaled = tf.image.resize(tf.expand_dims(tf.cast(pixels, tf.float32), 0), [8, 8])
    tf.identity(conv(tf.ensure_shape(scaled, [1, 8, 8, 3], name="Scaled")), name="out")


def words():
    """Text -> a table -> embedding -> layer."""
    initializer = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], tf.int64))
    table = tf.lookup.StaticHashTable(initializer, 0)
    ids = tf.identity(table.lookup(placeholder([None, 4], "text", tf.string)), name="ids")
    tf.identity(dense(tf.reduce_mean(tf.gather(tf.constant(numbers(2, 6)), ids), 1)), name="out")


@pytest.mark.parametrize(
    ("build", "cut", "data"),
    [(images, "ExpandDims", np.abs(numbers(3, 20, 20, 3))), (words, "ids", np.arange(32).reshape(8, 4) % 2)],
)
def test_the_error_proposes_a_cut_that_works(build, cut, data, tmp_path):
    path = save(graph_def(build), tmp_path / "m.pb")
    np.save(tmp_path / "x.npy", data)
    words = ("quantize", path, "--data", tmp_path / "x.npy", "--out", tmp_path / "out", "--outputs", "out")
    refused = run(*words)
    assert refused.code == 2
    assert f"--inputs {cut}" in refused.err
    assert run(*words, "--inputs", cut.lower()).code == 0


def _columns(count):
    """Columns of text, each with a table of words and a trained table of its own -> joined -> layer."""
    found = []
    for column in range(count):
        initializer = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], tf.int64))
        table = tf.lookup.StaticHashTable(initializer, 0)
        ids = table.lookup(placeholder([None], f"text{column}", tf.string), name=f"look_up{column}")
        found.append(tf.gather(tf.constant(numbers(2, 6, seed=column)), ids, name=f"row{column}"))
    tf.identity(dense(tf.concat(found, -1, name="joined")), name="out")


def test_trained_tables_stay_in_the_model():
    hint = unfeedable(load(graph_def(lambda: _columns(2))))[0].hint
    assert hint.startswith("feed what is made of it: --inputs look_up0/LookupTableFindV2,look_up1/LookupTableFindV2")
    assert "outside" not in hint


def test_where_that_takes_many_names_the_common_tensor_is_fed_and_the_tables_are_named():
    hint = unfeedable(load(graph_def(lambda: _columns(9))))[0].hint
    assert hint.startswith("feed what is made of it: --inputs joined")
    assert hint.endswith("; the table of 'row0' and its like are then outside of the model")


def test_places_come_first_to_last():
    graph = load(graph_def(images))
    places = [place.partition(":")[0] for place in narrow_places(graph, {"bytes"})]
    assert places[0] == "DecodeJpeg" and "Scaled" in places and places.index("Cast") < places.index("Scaled")
    assert "Scaled" in str(unfeedable(graph)[0]) or "Cast" in str(unfeedable(graph)[0])


def test_what_is_there_to_be_fed_is_proposed_first():
    def build():
        pixels = tf.expand_dims(tf.cast(tf.io.decode_jpeg(placeholder([], "bytes", tf.string), channels=3), "float"), 0)
        fed = v1.placeholder_with_default(tf.image.resize(pixels, [8, 8]), [None, 8, 8, 3], name="pictures")
        tf.identity(conv(fed), name="out")

    assert "--inputs pictures (or ExpandDims" in str(unfeedable(load(graph_def(build), outputs=["out"]))[0])


def test_a_graph_of_numbers_is_left_alone():
    assert unfeedable(load(graph_def(lambda: dense(placeholder([None, 4]))))) == []


def test_strings_are_refused_in_python_too():
    with pytest.raises(ModelError, match="encoded bytes"):
        quantize(graph_def(images), data=np.array([b"x"]), outputs=["out"])


def test_the_command_lists_tensors(tmp_path):
    path = save(graph_def(images), tmp_path / "m.pb")
    listed = run("inspect", path, "--nodes", "scal*", "--outputs", "out")
    assert (
        listed.code == 0 and "Scaled" in listed.out and "[1, 8, 8, 3]" in listed.out and "DecodeJpeg" not in listed.out
    )
    everything = run("inspect", path, "--nodes", "--outputs", "out")
    assert "DecodeJpeg" in everything.out


def test_the_command_lists_tensors_of_a_graph_that_does_not_fit(tmp_path):
    def build():
        tf.nn.dropout(placeholder([None, 3]), 0.5, name="live")

    listed = run("inspect", save(graph_def(build), tmp_path / "m.pb"), "--nodes", "live*", "--outputs", "live/SelectV2")
    assert listed.code == 0 and "RandomUniform" in listed.out and "makes the result random" in listed.err


def test_a_cut_names_every_tensor_and_the_inputs_that_are_left():
    def build():
        pieces = tf.strings.split(placeholder([None], "text", tf.string)).to_tensor()
        codes = [tf.strings.to_number(pieces[:, index], name=f"n{index}") for index in (0, 1)]
        tf.identity(dense(placeholder([None, 2], "more")) + codes[0] * 2 + codes[1], name="out")

    graph = load(graph_def(build), outputs=["out"])
    assert "--inputs n0,n1,more" in str(unfeedable(graph)[0])


def test_a_cut_comes_after_all_that_is_random():
    def build():
        x = placeholder([None, 4])
        first = x + tf.random.uniform([4])
        second = tf.add(first * 2, tf.random.uniform([4]), name="second")
        tf.identity(dense(second), name="out")

    with pytest.raises(ModelError, match="--inputs second"):
        load(graph_def(build), outputs=["out"])
