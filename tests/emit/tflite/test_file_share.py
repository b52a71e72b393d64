"""Which share of a network is on integers in its LiteRT file, where that is not what the layers say."""

from __future__ import annotations

import pytest

import calibrant
from calibrant.cli.show_result import show_tables
from calibrant.report.integer_share import file_share_line
from graphs import conv, dense, graph_def, numbers, placeholder, tf
from tflite_networks import image, model_of, one_of_two_equal_layers, open_volume


def quantized(build, *shape, config="batch_num: 1", **options):
    return calibrant.quantize(
        model_of(build), config, [numbers(8, *shape)], export="tflite", outputs=["out"], **options
    )


def share_of(result):
    return result.report["exports"]["tflite"]["on_integers"]


def volumes():
    """A layer that is in float in the file, and one that is on integers."""
    return dense(tf.reshape(tf.nn.relu(open_volume()), [-1, 4 * 6 * 6 * 3]))


def test_layers_without_an_integer_kernel(capsys):
    result = quantized(volumes, 4, 6, 6, 2)
    share, totals = share_of(result), result.report["totals"]
    last = 4 * 6 * 6 * 3 * 3
    assert totals["quantized_multiply_accumulates"] == totals["multiply_accumulates"] == share["multiply_accumulates"]
    assert share["quantized_weights"] == last
    assert share["quantized_multiply_accumulates"] == last
    assert share["weights"] == totals["weights"] and share["layers_in_float"] == ["c3"]
    [found] = [row for row in result.report["exports"]["tflite"]["operators_in_float"] if row["operator"] == "CONV_3D"]
    assert found["layers"] == ["c3"]
    show_tables(result, "out")
    shown = capsys.readouterr().out.splitlines()
    [at] = [at for at, line in enumerate(shown) if line.startswith("on integers: 100.0 %")]
    assert shown[at + 1].startswith("in model_int8.tflite: 92.3 % of 1,404 weights")
    assert shown[at + 1].endswith("1 of 2 quantized layers in float")
    assert any(line.split()[:2] == ["CONV_3D", "1"] and line.split()[-1] == "c3" for line in shown)


def test_a_file_that_has_all_layers_on_integers():
    result = quantized(lambda: dense(tf.reshape(conv(image()), [-1, 256])), 8, 8, 4)
    share, totals = share_of(result), result.report["totals"]
    assert share["layers"] == 2 and not share["layers_in_float"] and not share["products_beside_layers"]
    assert share["quantized_weights"] == share["weights"] == totals["weights"]
    assert share["quantized_multiply_accumulates"] == totals["multiply_accumulates"]
    assert file_share_line(result.report["exports"]["tflite"]) is None


def chain():
    """The last layer reads what the second makes."""
    y = tf.nn.relu(conv(image(), 8, "first", seed=1))
    y = tf.nn.relu(conv(y, 8, "second", seed=2))
    return dense(tf.reshape(y, [-1, 512]), name="last")


def test_a_layer_that_makes_16_bits_is_told(caplog):
    second, last = 64 * 9 * 8 * 8, 512 * 3
    result = quantized(chain, 8, 8, 4, refine=False, budget=0.06)
    share, totals = share_of(result), result.report["totals"]
    assert (totals["wide_layers"], totals["wide_multiply_accumulates"]) == (1, last)
    assert share["widened_layers"] == ["second"] and share["wide_multiply_accumulates"] == second + last
    line = file_share_line(result.report["exports"]["tflite"])
    whole = share["multiply_accumulates"]
    assert line is not None and line.endswith(f", {100 * (second + last) / whole:.1f} % with activations of 16 bits")
    [warning] = [record.getMessage() for record in caplog.records if "the budget is" in record.getMessage()]
    assert warning.startswith(f"model_int8.tflite: {100 * (second + last) / whole:.1f} % of the multiply-accumulates")
    assert "the budget is 6.0 %" in warning


@pytest.mark.parametrize("budget", [None, 0.0, 1.0])
def test_no_more_16_bits_than_the_budget(budget, caplog):
    quantized(chain, 8, 8, 4, refine=False, budget=budget)
    assert not any("the budget is" in record.getMessage() for record in caplog.records)


def gram():
    """What features have to do with each other: no layer, but a product with an integer kernel."""
    y = conv(image(), name="one")
    rows = tf.reshape(y, [-1, 64, 4])
    return dense(tf.reshape(tf.matmul(rows, rows, transpose_a=True, name="gram"), [-1, 16]))


def test_a_product_that_only_the_file_has_on_integers():
    result = quantized(gram, 8, 8, 4)
    share, totals = share_of(result), result.report["totals"]
    assert totals["layers_left_in_float"] == 1 and share["products_beside_layers"] == ["gram"]
    assert share["quantized_multiply_accumulates"] == share["multiply_accumulates"] == totals["multiply_accumulates"]
    line = file_share_line(result.report["exports"]["tflite"])
    assert line is not None and line.endswith("1 product on integers that other files have in float")


def as_complex(x):
    return tf.complex(x, tf.zeros_like(x))


def fourier():
    """What mixes rows and columns in FNet: a Fourier transform, for which LiteRT has no operator."""
    y = tf.reshape(dense(tf.reshape(placeholder([None, 8, 4]), [-1, 4]), 4, "into"), [-1, 8, 4])
    mixed = tf.math.real(tf.signal.fft2d(as_complex(y)), name="mixed")
    return dense(tf.reshape(mixed, [-1, 4]), 3, "last")


def test_products_that_a_transform_is_written_as():
    result = quantized(fourier, 8, 4, refine=False)
    share, totals = share_of(result), result.report["totals"]
    layers, columns, rows = 8 * 4 * (4 + 3), 2 * 8 * 4 * 4, 2 * 8 * 8 * 4
    assert totals["quantized_multiply_accumulates"] == totals["multiply_accumulates"] == layers
    assert share["quantized_multiply_accumulates"] == layers
    assert share["multiply_accumulates"] == layers + columns + rows
    floats = result.report["exports"]["tflite"]["operators_in_float"]
    assert len(share["products_written_out"]) == [row["operator"] for row in floats].count("FULLY_CONNECTED") == 4
    line = file_share_line(result.report["exports"]["tflite"])
    assert line is not None and line.endswith(
        f"{100 * layers / (layers + columns + rows):.1f} % of {layers + columns + rows} multiply-accumulates, "
        "4 products in float that other operations are written as"
    )


def complex_gram():
    """The same as gram, in complex numbers."""
    y = as_complex(tf.reshape(conv(image(), name="one"), [-1, 64, 4]))
    product = tf.math.real(tf.matmul(y, y, transpose_a=True), name="gram")
    return dense(tf.reshape(product, [-1, 16]))


def test_a_product_of_complex_numbers_counts_as_it_is_written():
    result = quantized(complex_gram, 8, 8, 4, refine=False)
    share, totals = share_of(result), result.report["totals"]
    assert share["quantized_multiply_accumulates"] == share["multiply_accumulates"] == totals["multiply_accumulates"]
    assert len(share["products_beside_layers"]) == 1 and not share["products_written_out"]


def test_a_layer_that_is_skipped_is_in_float():
    result = quantized(gram, 8, 8, 4, config='batch_num: 1 skip_layers: "one"')
    share = share_of(result)
    assert share["layers_in_float"] == [] and share["layers"] == 1
    assert share["multiply_accumulates"] - share["quantized_multiply_accumulates"] == 64 * 9 * 4 * 4


def test_equal_layers_that_the_converter_merges():
    share = share_of(quantized(one_of_two_equal_layers, 8, 8, 4))
    assert share["layers"] == 3 and not share["layers_in_float"]


def test_a_layer_whose_result_is_known_beforehand():
    """With one sample the state that a recurrence begins with is constant."""

    def build():
        x = placeholder([None, 4])
        start = tf.zeros([tf.shape(x)[0], 4])
        return dense(tf.tanh(dense(x, 4, "into") + dense(start, 4, "again", seed=6)), 3, "last")

    definition = graph_def(lambda: tf.identity(build(), name="out"))
    result = calibrant.quantize(
        definition, "batch_num: 1", [numbers(1, 4)], export="tflite", outputs=["out"], tflite_batch=1
    )
    share = share_of(result)
    assert share["layers"] == 2 and share["layers_in_float"] == []
    assert share["multiply_accumulates"] == share["quantized_multiply_accumulates"] == 16 + 12
