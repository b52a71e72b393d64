"""Which share of the weights and of the multiply-accumulates is on integers."""

from __future__ import annotations

import calibrant
from calibrant.report.integer_share import share_line
from graphs import conv, graph_def, numbers, small_network, tf, two_layers_in_float


def test_all_of_a_network():
    result = calibrant.quantize(graph_def(small_network), data=numbers(16, 6, 6, 2))
    totals = result.report["totals"]
    weights, products = 3 * 3 * 2 * 4 + 36 * 3, 36 * 3 * 3 * 2 * 4 + 36 * 3
    assert (totals["quantized_weights"], totals["weights"]) == (weights, weights)
    assert totals["quantized_multiply_accumulates"] == totals["multiply_accumulates"] == products
    assert share_line(totals) == (
        f"on integers: 100.0 % of {weights} weights, 100.0 % of {products:,} multiply-accumulates a sample"
    )


def test_what_stays_in_float_counts():
    result = calibrant.quantize(graph_def(small_network), 'skip_layers : "dense"', numbers(16, 6, 6, 2))
    totals = result.report["totals"]
    assert (totals["quantized_weights"], totals["weights"]) == (72, 180)
    assert (totals["quantized_multiply_accumulates"], totals["multiply_accumulates"]) == (2592, 2700)
    assert share_line(totals).startswith("on integers: 40.0 % of 180 weights, 96.0 % of 2,700")


def test_open_sizes_are_those_of_the_first_batch():
    def build():
        conv(tf.compat.v1.placeholder(tf.float32, [None, None, None, 3], "x"), 4)

    totals = calibrant.quantize(graph_def(build), data=[numbers(4, 5, 7, 3), numbers(4, 6, 6, 3)]).report["totals"]
    assert totals["multiply_accumulates"] == 5 * 7 * 27 * 4 and totals["counted_sizes"] == {"x": [1, 5, 7, 3]}
    assert share_line(totals).endswith(" 3,780 multiply-accumulates a sample, counted with x [1, 5, 7, 3]")
    several = {"a": [1, 5], "b": [1, 5], "c": [1, 5]}
    assert share_line({**totals, "counted_sizes": several}).endswith("with a [1, 5], b [1, 5] and 1 more")


def test_products_without_sizes_are_said():
    assert tf is not None
    result = calibrant.quantize(graph_def(two_layers_in_float), data=numbers(16, 4))
    totals = result.report["totals"]
    line = share_line({**totals, "products_not_counted": ["one", "two"]})
    counted = f"{totals['multiply_accumulates']:,} multiply-accumulates a sample that are counted"
    assert line.endswith(f", 16 of {counted}; 2 products could not be counted")


def test_weights_that_are_only_stored_as_integers_are_a_part_of_their_own():
    def build():
        x, weights = tf.compat.v1.placeholder(tf.float32, [None, 4]), tf.constant(numbers(4, 4))
        tf.compat.v1.enable_control_flow_v2()
        found = tf.while_loop(lambda i, y: i < 3, lambda i, y: [i + 1, tf.tanh(tf.matmul(y, weights))], [0, x])[1]
        tf.matmul(found, tf.constant(numbers(4, 1, seed=2)), name="out")

    totals = calibrant.quantize(graph_def(build), data=numbers(16, 4), outputs=["out"]).report["totals"]
    assert share_line(totals) == (
        "on integers: 20.0 % of 20 weights (80.0 % more stored as integers and multiplied in float), "
        "7.7 % of 52 multiply-accumulates a sample"
    )


def test_a_shared_constant_counts_once():
    def build():
        x, value = tf.compat.v1.placeholder(tf.float32, [None, 4]), tf.constant(numbers(4, 4))
        tf.matmul(tf.nn.relu(tf.matmul(x, value)), value, name="out")

    totals = calibrant.quantize(graph_def(build), data=numbers(8, 4)).report["totals"]
    assert totals["quantized_weights"] == totals["weights"] == 16 and totals["multiply_accumulates"] == 32


def test_what_is_only_added_or_multiplied_is_named():
    """A grid or the positions of tokens count, but no layer is in float because of them."""

    def build():
        x = tf.compat.v1.placeholder(tf.float32, [None, 4, 6]) + tf.constant(numbers(4, 6, seed=2))
        joined = tf.concat([x, tf.tile(tf.constant(numbers(1, 4, 2, seed=3)), [tf.shape(x)[0], 1, 1])], -1)
        tf.identity(tf.matmul(tf.reshape(joined, [-1, 32]), tf.constant(numbers(32, 5))), name="out")

    totals = calibrant.quantize(graph_def(build), data=numbers(8, 4, 6), outputs=["out"]).report["totals"]
    assert (totals["quantized_weights"], totals["weights"], totals["weights_in_no_layer"]) == (160, 192, 24)
    assert share_line(totals).startswith(
        "on integers: 83.3 % of 192 weights (24 in no layer, such as positions and masks)"
    )


def test_a_constant_operand_counts_as_weights():
    """It is quantized like an activation: experts that are stacked, or what capsules are multiplied with."""

    def build(transpose=False):
        x = tf.compat.v1.placeholder(tf.float32, [None, 2, 3, 4])
        values = tf.constant(numbers(2, 5, 4) if transpose else numbers(2, 4, 5), name="experts")
        tf.matmul(x, tf.transpose(values, [0, 2, 1]) if transpose else values, name="out")

    for transpose in (False, True):
        definition = graph_def(lambda: build(transpose))  # noqa: B023
        totals = calibrant.quantize(definition, data=numbers(8, 2, 3, 4)).report["totals"]
        assert (totals["quantized_weights"], totals["weights"]) == (40, 40), transpose
