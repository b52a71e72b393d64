"""Whether the data are enough: the ranges of the first half against those of all."""

import numpy as np
import pytest

import calibrant
from graphs import graph_def, numbers, small_network


def check(data, out, **options):
    return calibrant.quantize(graph_def(small_network), data=data, out=out, batch_size=8, samples="all", **options)


def rows(result):
    return {row["layer"]: row for row in result.report["data_check"]["rows"]}


def test_halves_that_are_alike_move_nothing(tmp_path):
    half = numbers(32, 6, 6, 2)
    found = check(np.concatenate([half, half]), tmp_path).report["data_check"]
    assert found["enough"] and max(row["loss_db"] for row in found["rows"]) < 0.01


def test_a_second_half_that_is_larger_moves_every_range(tmp_path):
    half = numbers(32, 6, 6, 2)
    result = check(np.concatenate([half, 8 * half]), tmp_path)
    found = result.report["data_check"]
    assert not found["enough"] and "More data would help" in found["sentence"]
    assert rows(result)["conv"]["moved"] == pytest.approx(7 / 16, abs=0.1)
    assert found["sentence"] in [finding["what"] for finding in result.report["findings"]]
    quantizer = result.network.layers[0].inputs[0].quantizer
    alone = calibrant.quantize(graph_def(small_network), data=half, batch_size=8, samples="all")
    data = np.concatenate([half, 8 * half])

    def noise(chosen):
        return np.square(data - chosen.fake_quantize(data), dtype=np.float64).sum()

    expected = 10 * np.log10(noise(alone.network.layers[0].inputs[0].quantizer) / noise(quantizer))
    assert rows(result)["conv"]["loss_db"] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("options", [{"batch_size": 64}, {"workers": 2}], ids=str)
def test_where_it_cannot_be_measured_nothing_is_said(tmp_path, options):
    data = numbers(64, 6, 6, 2)
    result = calibrant.quantize(graph_def(small_network), data=data, out=tmp_path, **{"samples": "all", **options})
    assert result.report["data_check"] is None


def test_the_ranges_are_those_without_it(tmp_path):
    data = numbers(64, 6, 6, 2)
    with_check, without = check(data, tmp_path / "a"), check(data, tmp_path / "b", page=False)
    assert (tmp_path / "a" / "record.txt").read_bytes() == (tmp_path / "b" / "record.txt").read_bytes()
    assert with_check.report["data_check"] is not None and "data_check" not in without.report
