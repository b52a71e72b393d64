"""Layers inside loops and branches compute in float, with exactly the integers and scales that are recorded."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import ConfigError, ModelError, quantize
from calibrant.algorithms.arq import quantize_weights
from calibrant.algorithms.median_sqnr import median_sqnr_db
from calibrant.conversion import convert_records
from calibrant.emit.fakequant import fake_quantized
from calibrant.evaluation.verify import verify
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from calibrant.graph.weight_only import weight_only_layers
from graphs import graph_def, numbers, placeholder, tf

BATCH = numbers(4, 3, seed=9)
WEIGHTS = numbers(3, 3, seed=2, scale=0.4)
NO_CORRECTION = {"data": BATCH, "outputs": ["out"], "bias_correction": False}


def loop(product, weights=WEIGHTS, captured=True):
    """Three rounds of tanh(product(state, weights)), the weights a constant outside or inside the loop."""

    def build():
        x = placeholder([None, 3])
        outside = tf.constant(weights, name="weights") if captured else None

        def body(i, h):
            matrix = outside if outside is not None else tf.constant(weights, name="weights")
            h = tf.tanh(product(h, matrix))
            h.set_shape([None, 3])
            return i + 1, h

        tf.identity(tf.while_loop(lambda i, h: i < 3, body, [0, x])[1], name="out")

    return graph_def(build)


def test_the_error_of_the_outputs_is_measured_against_the_float_weights(style, tmp_path):
    result = quantize(loop(plain), **NO_CORRECTION, out=tmp_path / "out")
    (made,) = run_once(result.fakequant, {"x": BATCH})
    assert result.output_sqnr.total_db == pytest.approx(median_sqnr_db(three_rounds(WEIGHTS), made), abs=0.01)


def plain(h, matrix):
    return tf.matmul(h, matrix, name="inside")


def three_rounds(matrix):
    h = BATCH
    for _ in range(3):
        h = np.tanh(h @ matrix)
    return h


@pytest.mark.parametrize("captured", [True, False])
def test_the_result_is_that_of_dequantized_weights(style, captured):
    result = quantize(loop(plain, captured=captured), **NO_CORRECTION)
    (found,) = run_once(result.fakequant, {"x": BATCH})
    expected = quantize_weights(WEIGHTS, channel_axes=(1,))
    np.testing.assert_allclose(found, three_rounds(expected.dequantize()), rtol=0, atol=2e-6)
    (row,) = result.report["weight_only"]
    assert row["weights"]["scales"] == 3 and row["weights"]["largest_scale"] == float(expected.scale.max())
    codes = [node for node in nodes_of(result.fakequant) if node.name.endswith("/codes")]
    assert [tf.make_ndarray(node.attr["value"].tensor).tolist() for node in codes] == [expected.values.tolist()]


def nodes_of(graph):
    return [*graph.nodes.values(), *(node for function in graph.library.function for node in function.node_def)]


def test_files_and_record_give_the_same_network(style, tmp_path):
    definition = loop(plain)
    result = quantize(definition, **NO_CORRECTION, out=tmp_path, name="m", export="ascend")
    assert verify(tmp_path, BATCH).passed
    recorded = convert_records(load(definition, outputs=["out"]), tmp_path / "record.txt")
    (converted,), (found,) = (
        run_once(graph, {"x": BATCH}) for graph in (fake_quantized(recorded.network), result.fakequant)
    )
    np.testing.assert_array_equal(converted, found)
    again = quantize(definition, tmp_path / "config.json", **NO_CORRECTION)
    assert again.plan.weight_only == result.plan.weight_only


def in_half(h, matrix):
    return tf.cast(tf.matmul(tf.cast(h, tf.float16), tf.cast(matrix, tf.float16), name="inside"), tf.float32)


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_products_in_half_precision(style, dtype, captured, tmp_path):
    """Weights of float16, and as mixed precision has them: float32, and made half in the loop."""
    weights = WEIGHTS.astype(dtype)
    definition = loop(in_half, weights, captured)
    result = quantize(definition, **NO_CORRECTION | {"round_weights": True}, out=tmp_path, name="m", export="ascend")
    (row,) = result.report["weight_only"]
    assert row["weights"]["scales"] == 3 and result.report["left_in_float"] == []
    (wanted,), (found,) = (
        run_once(graph, {"x": BATCH}) for graph in (load(definition, outputs=["out"]), result.fakequant)
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.02)
    (recorded,) = run_once(load(tmp_path / "m_fakequant.pb"), {"x": BATCH})
    assert (found != wanted).any() and verify(tmp_path, BATCH).passed
    np.testing.assert_array_equal(recorded, found)


def test_a_matrix_of_whole_numbers_stays_as_it_is(style):
    def product(h, matrix):
        whole = tf.cast(matrix, tf.int32)
        return tf.cast(tf.matmul(tf.cast(h, tf.int32), whole, name="inside"), tf.float32)

    assert weight_only_layers(load(loop(product), outputs=["out"])) == ()


def gates(h, matrix):
    """As a cell does it whose gates have one matrix: half of the columns each."""
    return tf.matmul(h, matrix[:, :3], name="one") * tf.sigmoid(tf.matmul(h, matrix[:, 3:], name="two"))


KEPT = {
    "columns": (plain, (1,)),
    "rows": (lambda h, matrix: tf.matmul(h, matrix, transpose_b=True), (0,)),
    "turned from the left": (lambda h, matrix: tf.transpose(tf.matmul(matrix, h, True, True)), (1,)),
    "from the left": (lambda h, matrix: tf.transpose(tf.matmul(matrix, h, transpose_b=True)), (0,)),
    "a sum": (lambda h, matrix: tf.einsum("bi,oi->bo", h, matrix), (0,)),
    "both": (lambda h, matrix: tf.matmul(h, matrix) + tf.matmul(h, matrix, transpose_b=True), ()),
}


@pytest.mark.parametrize("kind", KEPT)
def test_each_number_that_a_product_keeps_has_a_scale(style, kind):
    product, axes = KEPT[kind]
    (layer, *_) = weight_only_layers(load(loop(product), outputs=["out"]))
    assert layer.channel_axes == axes


def test_one_scale_where_the_configuration_says_so(style):
    whole = "common_config { arq_quantize { channel_wise: false } }"
    (row,) = quantize(loop(plain), whole, **NO_CORRECTION).report["weight_only"]
    assert row["weights"]["scales"] == 1


def test_parts_of_a_matrix_share_its_scales(style):
    result = quantize(loop(gates, numbers(3, 6, seed=3)), **NO_CORRECTION)
    scales = {row["weights"]["largest_scale"] for row in result.report["weight_only"]}
    assert len(result.report["weight_only"]) == 2 and len(scales) == 1
    assert result.report["totals"]["weight_only_weights"] == 18


@pytest.mark.parametrize(
    "product",
    [lambda h, matrix: tf.matmul(h, matrix) + tf.reduce_sum(matrix), lambda h, matrix: tf.matmul(h, matrix + h[:3])],
    ids=["read by a sum too", "computed in the loop"],
)
def test_what_is_more_than_weights_stays_in_float(style, product):
    assert weight_only_layers(load(loop(product), outputs=["out"])) == ()


def test_a_matrix_that_the_loop_changes_stays_in_float(style):
    def build():
        x = placeholder([3, 3])
        start = tf.constant(WEIGHTS)
        body = lambda i, h, w: (i + 1, tf.matmul(h, w), w * 0.5)  # noqa: E731
        tf.identity(tf.while_loop(lambda i, h, w: i < 3, body, [0, x, start])[1], name="out")

    assert weight_only_layers(load(graph_def(build), outputs=["out"])) == ()


def test_readers_outside_keep_the_float_matrix(style):
    def build():
        x = placeholder([None, 3])
        matrix = tf.constant(WEIGHTS, name="weights")
        y = tf.cond(tf.reduce_sum(x) > -1e9, lambda: tf.matmul(x, matrix), lambda: x)
        tf.identity(y + tf.reduce_sum(matrix), name="out")

    result = quantize(graph_def(build), **NO_CORRECTION)
    (found,) = run_once(result.fakequant, {"x": BATCH})
    expected = BATCH @ quantize_weights(WEIGHTS, channel_axes=(1,)).dequantize() + WEIGHTS.sum()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_a_configuration_names_them_like_other_layers(style):
    definition = loop(gates, numbers(3, 6, seed=3))
    names = [layer.name for layer in weight_only_layers(load(definition, outputs=["out"]))]
    with pytest.raises(ConfigError, match="all 2 quantizable layers are skipped"):
        quantize(definition, f'skip_layers: "{names[0]}" skip_layers: "{names[1]}"', **NO_CORRECTION)
    with pytest.raises(ConfigError, match=f"shares its weights with '{names[0]}'|nothing is left"):
        quantize(definition, f'skip_layers: "{names[0]}"', **NO_CORRECTION)


def test_weights_that_are_no_numbers_are_an_error_at_the_layer(style):
    bad = WEIGHTS.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ModelError, match="inside: weights contain NaN"):
        quantize(loop(plain, bad), **NO_CORRECTION)


def test_a_record_that_does_not_fit_is_an_error(tmp_path):
    definition = loop(plain)
    quantize(definition, **NO_CORRECTION, out=tmp_path, name="m")
    record = tmp_path / "record.txt"
    record.write_text(record.read_text().replace("scale_w", "scale_d: 1\n    offset_d: 0\n    scale_w", 1))
    with pytest.raises(ConfigError, match="activations stay in float"):
        convert_records(load(definition, outputs=["out"]), record)


def branches(choose):
    """A function that chooses between products of the same names, with weights in variables, and a product."""

    class Choice(tf.Module):
        def __init__(self):
            super().__init__()
            self.matrices = [tf.Variable(numbers(3, 3, seed=seed, scale=0.4)) for seed in (2, 3)]
            self.last = tf.Variable(numbers(3, 2, seed=4))

        @tf.function(input_signature=[tf.TensorSpec([None, 3], name="x")])
        def __call__(self, x):
            return tf.matmul(choose(tf.reduce_sum(x) > 0, self, x), self.last)

    return Choice()


def by_cond(chosen, model, x):
    first, second = (lambda matrix=matrix: tf.matmul(x, matrix, name="inside") for matrix in model.matrices)
    return tf.cond(chosen, first, second)


def by_case(chosen, model, x):
    return tf.switch_case(
        tf.cast(chosen, tf.int32), [lambda matrix=matrix: tf.matmul(x, matrix) for matrix in model.matrices]
    )


@pytest.mark.parametrize("choose", [by_cond, by_case])
def test_all_branches_are_quantized_whatever_they_are_called(choose, tmp_path):
    model = branches(choose)
    tf.saved_model.save(model, str(tmp_path / "model"))
    result = quantize(tmp_path / "model", data=BATCH, out=tmp_path / "out", export=["ascend", "tflite"])
    rows = [row["layer"] for row in result.report["weight_only"]]
    assert len(set(rows)) == 2 and len(result.report["layers"]) == 1
    assert verify(tmp_path / "out", BATCH).passed
    codes = [node for node in nodes_of(result.fakequant) if node.op == "Const" and node.name.endswith("/codes")]
    expected = [quantize_weights(matrix.numpy(), channel_axes=(1,)).values.tolist() for matrix in model.matrices]
    assert sorted(tf.make_ndarray(node.attr["value"].tensor).tolist() for node in codes) == sorted(expected)
