"""Loops over sequences: the converter has to know the shapes of their lists, so that the file takes one sample a run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from graphs import numbers


def network(cell):
    inputs = keras.Input((6, 4))
    x = layers.Dense(8, activation="relu")(inputs)
    x = layers.Bidirectional(cell(4, return_sequences=True))(x)
    return keras.Model(inputs, layers.Dense(3)(x))


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
def test_a_loop_stays_in_float_and_its_file_takes_one_sample(cell, tmp_path):
    keras.utils.set_random_seed(0)
    x = numbers(4, 6, 4, seed=3)
    result = calibrant.quantize(network(cell), "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model")
    assert not result.refused
    file = File((tmp_path / "out" / "model_int8.tflite").read_bytes())
    assert file.inputs()[0].signature == (1, 6, 4)
    assert [each.name for each in file.operators()].count("WHILE") == 2
    assert calibrant.verify(tmp_path / "out", x).passed


def test_the_batch_of_a_loop_may_be_chosen(tmp_path):
    keras.utils.set_random_seed(0)
    x = numbers(4, 6, 4, seed=3)
    calibrant.quantize(
        network(layers.SimpleRNN), "batch_num: 1", [x], tmp_path / "out", export="tflite", name="model", tflite_batch=2
    )
    assert File((tmp_path / "out" / "model_int8.tflite").read_bytes()).inputs()[0].signature == (2, 6, 4)
    assert calibrant.verify(tmp_path / "out", np.concatenate([x, x])).passed
