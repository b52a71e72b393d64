"""Multiply-accumulates of each kind of product, counted by hand."""

from __future__ import annotations

import pytest

from calibrant.graph.multiply_accumulates import ASSUMED, LONG, count_products
from calibrant.graph.reading.load import load
from graphs import graph_def, numbers, placeholder, tf, v1

raw = tf.raw_ops


def constant(*shape):
    return tf.constant(numbers(*shape))


def grouped():
    return tf.nn.conv2d(placeholder([None, 6, 6, 4]), constant(3, 3, 2, 8), 1, "SAME", name="layer")


def depthwise():
    x = placeholder([None, 6, 6, 4])
    weights = constant(3, 3, 4, 2)
    return raw.DepthwiseConv2dNative(input=x, filter=weights, strides=[1] * 4, padding="VALID", name="layer")


def transposed():
    x, weights = placeholder([1, 3, 3, 4]), constant(2, 2, 5, 4)
    return raw.Conv2DBackpropInput(
        input_sizes=[1, 6, 6, 5], filter=weights, out_backprop=x, strides=[1, 2, 2, 1], padding="VALID", name="layer"
    )


CASES = {
    "convolution in groups": (grouped, 6 * 6 * 8 * 3 * 3 * 2),
    "depthwise": (depthwise, 4 * 4 * 8 * 3 * 3),
    "transposed": (transposed, 3 * 3 * 4 * 2 * 2 * 5),
    "product": (lambda: tf.matmul(placeholder([None, 7]), constant(7, 5), name="layer"), 7 * 5),
    "of a transposed tensor": (
        lambda: tf.matmul(placeholder([7, 3]), constant(7, 5), transpose_a=True, name="layer"),
        3 * 7 * 5,
    ),
    "of a tensor without a known shape": (
        lambda: raw.MatMul(a=v1.placeholder(tf.float32, None), b=constant(5, 7), transpose_b=True, name="layer"),
        7 * 5,
    ),
    "of samples with several rows": (
        lambda: tf.matmul(tf.reshape(placeholder([None, 3, 7]), [-1, 7]), constant(7, 5), name="layer"),
        3 * 7 * 5,
    ),
    "of two activations": (
        lambda: raw.BatchMatMulV2(x=placeholder([None, 2, 3, 4]), y=placeholder([None, 2, 4, 5], "y"), name="layer"),
        2 * 3 * 4 * 5,
    ),
    "einsum that is no product": (
        lambda: raw.Einsum(inputs=[placeholder([2, 3, 4]), constant(4, 5)], equation="abc,cd->ab", name="layer"),
        2 * 3 * 4 * 5,
    ),
    "pooling": (lambda: tf.nn.avg_pool2d(placeholder([None, 6, 6, 4]), 2, 2, "SAME", name="layer"), 0),
    "open height and width": (
        lambda: tf.nn.conv2d(placeholder([None, None, None, 3]), constant(1, 1, 3, 2), 1, "SAME", name="layer"),
        ASSUMED * ASSUMED * 3 * 2,
    ),
    "windows of recordings": (
        lambda: tf.matmul(tf.signal.frame(placeholder([None, None]), 400, 160), constant(1, 400, 5), name="layer"),
        ((LONG - 400) // 160 + 1) * 400 * 5,
    ),
    "windows of one recording": (
        lambda: tf.matmul(tf.signal.frame(placeholder([None]), 400, 160), constant(400, 5), name="layer"),
        ((LONG - 400) // 160 + 1) * 400 * 5,
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_counts(what):
    build, count = CASES[what]
    found = count_products(load(graph_def(build), outputs=["layer"]))
    assert (found.counts, found.unknown) == ({"layer": count}, ())


def picture():
    tf.nn.conv2d(placeholder([None, None, None, 3]), constant(1, 1, 3, 2), 1, "SAME", name="layer")


def counted(build, shapes):
    return count_products(load(graph_def(build), outputs=["layer"]), shapes)


def test_open_sizes_are_those_that_are_fed():
    found = counted(picture, {"x": (1, 5, 7, 3)})
    assert (found.counts, found.sizes) == ({"layer": 5 * 7 * 3 * 2}, {"x": (1, 5, 7, 3)})


@pytest.mark.parametrize("shapes", [{}, {"x": (1, 5, 7)}])
def test_shapes_that_do_not_tell_leave_what_is_assumed(shapes):
    found = counted(picture, shapes)
    assert (found.counts, found.sizes) == ({"layer": ASSUMED**2 * 6}, {"x": (1, ASSUMED, ASSUMED, 3)})


def test_an_open_batch_is_no_size_to_tell():
    found = counted(CASES["product"][0], {"x": (1, 7)})
    assert (found.counts, found.sizes) == ({"layer": 7 * 5}, {})


def loop(limit):
    def build():
        x, weights = placeholder([None, 4]), constant(4, 4)
        v1.enable_control_flow_v2()
        options = {"maximum_iterations": limit} if limit else {}
        found = tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: [tf.matmul(y, weights)], [x], **options)
        tf.identity(found[0], name="out")

    return count_products(load(graph_def(build), outputs=["out"]))


def test_a_loop_that_says_how_often_it_runs_counts_so_often():
    found = loop(7)
    assert list(found.counts.values()) == [7 * 16] and found.unknown == ()


def test_a_loop_that_does_not_is_named():
    found = loop(None)
    assert found.counts == {} and len(found.unknown) == 1 and found.unknown[0].endswith("MatMul")


def test_a_loop_within_a_loop_is_named():
    def build():
        x, weights = placeholder([None, 4]), constant(4, 4)
        v1.enable_control_flow_v2()

        def inner(i, y):
            return [i + 1, tf.while_loop(lambda j, z: j < 5, lambda j, z: [j + 1, tf.matmul(z, weights)], [0, y])[1]]

        tf.identity(tf.while_loop(lambda i, y: i < 3, inner, [0, x])[1], name="out")

    found = count_products(load(graph_def(build), outputs=["out"]))
    assert found.counts == {} and len(found.unknown) == 1


def test_a_loop_over_several_rows_of_a_sample_counts_each():
    def build():
        x, weights = placeholder([None, 3, 4]), constant(4, 4)
        v1.enable_control_flow_v2()
        rows = tf.reshape(x, [-1, 4])
        found = tf.while_loop(lambda i, y: i < 5, lambda i, y: [i + 1, tf.matmul(y, weights)], [0, rows])[1]
        tf.identity(tf.matmul(tf.reshape(found, [-1, 12]), constant(12, 2)), name="out")

    found = count_products(load(graph_def(build), outputs=["out"]))
    assert sorted(found.counts.values()) == [24, 5 * 3 * 16] and found.unknown == ()


def convolution_in_a_loop(grows=False):
    def build():
        x, weights = placeholder([None, 6, 6, 3]), constant(3, 3, 3, 6)
        v1.enable_control_flow_v2()

        def body(i, y):
            halves = tf.split(weights, 2, axis=3)
            made = tf.nn.conv2d(y, halves[0] + halves[1], 1, "SAME")
            return [i + 1, tf.concat([y, made], 1) if grows else made]

        shapes = [[], [None, None, 6, 3] if grows else [None, 6, 6, 3]]
        limits = [tf.TensorShape(shape) for shape in shapes]
        tf.identity(tf.while_loop(lambda i, y: i < 5, body, [0, x], shape_invariants=limits)[1], name="out")

    return count_products(load(graph_def(build), outputs=["out"]))


def test_a_convolution_in_a_loop_counts_by_its_sizes():
    found = convolution_in_a_loop()
    assert list(found.counts.values()) == [5 * 36 * 27 * 3] and found.unknown == ()


@pytest.mark.parametrize("length, rows", [(7, 7), (None, None)])
def test_a_product_of_all_steps_of_a_loop_counts_each(length, rows):
    def build():
        x, weights = placeholder([None, 4]), constant(4, 4)
        v1.enable_control_flow_v2()
        found = tf.while_loop(
            lambda i, y: i < 5,
            lambda i, y: [i + 1, y],
            [0, tf.stack([tf.matmul(x, weights)] * 7)],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([length, None, 4])],
        )[1]
        steps = tf.reshape(tf.transpose(found, [1, 0, 2]), [-1, 4])
        tf.identity(tf.matmul(tf.nn.relu(steps), constant(4, 3), name="all"), name="out")

    found = count_products(load(graph_def(build), outputs=["out"]))
    assert found.counts.get("all") == (rows and rows * 4 * 3)
    assert found.unknown == (() if rows else ("all",))


def test_a_convolution_of_what_grows_is_named():
    found = convolution_in_a_loop(grows=True)
    assert found.counts == {} and len(found.unknown) == 1
