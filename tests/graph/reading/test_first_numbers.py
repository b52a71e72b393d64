"""Cuts in front of which nothing of the text is left: parsed examples, words of sentences, names of classes."""

from __future__ import annotations

import pytest

from calibrant.emit.tflite.strings import string_makers
from calibrant.graph.reading.cut_proposal import unfeedable
from calibrant.graph.reading.load import load
from graphs import dense, graph_def, numbers, placeholder, tf, v1


def _embedded(words, name):
    """Sparse text → one row per sample."""
    ids = tf.SparseTensor(words.indices, tf.strings.to_hash_bucket_fast(words.values, 9), words.dense_shape)
    return v1.nn.embedding_lookup_sparse(tf.constant(numbers(9, 6)), ids, None, combiner="mean", name=name)


def examples():
    """Examples → numbers, a word, and words without a fixed number → two outputs, of which one has text."""
    features = {
        "age": v1.io.FixedLenFeature([1], tf.float32),
        "job": v1.io.FixedLenFeature([1], tf.string),
        "words": v1.io.VarLenFeature(tf.string),
    }
    parsed = v1.io.parse_example(placeholder([None], "examples", tf.string), features, name="parsed")
    job = tf.cast(tf.strings.to_hash_bucket_fast(parsed["job"], 9, name="hashed"), tf.float32)
    made = dense(tf.concat([parsed["age"], job, _embedded(parsed["words"], "embedded")], -1))
    tf.add(made, parsed["age"], name="out")


def sentences():
    """Sentences beside numbers, which are needed in two places."""
    words = v1.string_split(placeholder([None], "text", tf.string))
    more = placeholder([None, 6], "more")
    tf.add(dense(_embedded(words, "embedded") + more), tf.reduce_sum(more, -1, keepdims=True), name="out")


@pytest.mark.parametrize(
    ("build", "cut"), [(examples, "parsed/parsed:3,hashed,embedded"), (sentences, "embedded,more")]
)
def test_sparse_text_is_cut_where_rows_are_samples_and_its_input_is_not_named(build, cut):
    graph = graph_def(build)
    [problem] = unfeedable(load(graph, outputs=["out"]))
    assert problem.hint.split()[7].rstrip(";") == cut
    assert "outside of the model" in problem.hint
    assert not unfeedable(load(graph, inputs=cut.split(","), outputs=["out"]))


def test_rows_that_become_samples_in_layers_only_are_said_to_be_none():
    def build():
        words = v1.string_split(placeholder([None], "text", tf.string))
        rows = dense(tf.gather(tf.constant(numbers(9, 6)), tf.strings.to_hash_bucket_fast(words.values, 9, name="ids")))
        tf.identity(tf.math.unsorted_segment_sum(rows, words.indices[:, 0], 4), name="out")

    [problem] = unfeedable(load(graph_def(build), outputs=["out"]))
    assert problem.hint.endswith("; rows of StringSplit/StringSplit are not samples: give batches from Python")


def labels():
    """Text → codes → layer → logits, and the name of the largest."""
    names = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1, 2], tf.int64), ["a", "b", "c"])
    codes = tf.strings.to_number(placeholder([None, 4], "text", tf.string), name="codes")
    logits = tf.identity(dense(codes), name="logits")
    tf.identity(tf.lookup.StaticHashTable(names, "?").lookup(tf.argmax(logits, 1)), name="label")


def test_an_output_that_a_table_of_text_makes_is_left_out():
    hint = unfeedable(load(graph_def(labels), outputs=["label", "logits"]))[-1].hint
    assert hint == "feed what is made of it: --inputs codes --outputs logits; label is left out"


def test_a_table_that_such_an_output_alone_needs_leaves_the_inputs():
    [problem] = unfeedable(load(graph_def(labels), inputs=["codes"], outputs=["label", "logits"]))
    assert problem.hint == "leave out label, which alone needs it: --outputs logits"


def test_for_litert_numbers_that_are_written_as_text_are_cut_off_at_once():
    def build():
        city = tf.strings.to_hash_bucket_fast(placeholder([None, 3], "city", tf.string), 9, name="hashed")
        code = tf.strings.as_string(placeholder([None, 3], "code", tf.int64), name="written")
        codes = tf.strings.to_hash_bucket_fast(code, 9, name="hashed_code")
        both = dense(tf.cast(city, tf.float32)) + dense(tf.cast(codes, tf.float32))
        tf.add(both, placeholder([None, 1], "age"), name="out")

    graph = load(graph_def(build), outputs=["out"])
    assert string_makers(graph) == ["written"]
    assert "--inputs hashed,hashed_code,age" in unfeedable(graph, string_makers(graph))[0].hint
    assert "--inputs Cast,age,code" in unfeedable(graph)[0].hint
