"""Features of sounds, which LiteRT's default resolver has custom operators for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from graphs import conv, dense, graph_def, placeholder, tf
from tflite_networks import contents

RATE = 4000
FEATURES = ["AudioSpectrogram", "Mfcc"]


def network(lowest=20.0, channels=1, **options):
    def build():
        sound = placeholder([RATE, channels])
        powers = tf.raw_ops.AudioSpectrogram(input=sound, **{"window_size": 100, "stride": 80, **options})
        features = tf.raw_ops.Mfcc(
            spectrogram=powers,
            sample_rate=RATE,
            upper_frequency_limit=1900.0,
            lower_frequency_limit=lowest,
            filterbank_channel_count=12,
            dct_coefficient_count=8,
            name="features",
        )
        y = tf.nn.relu(conv(tf.expand_dims(features, -1), name="one"))
        dense(tf.reduce_mean(y, [1, 2]), name="out")

    return graph_def(build)


def sounds(channels=1):
    time = np.arange(RATE)[:, None] / RATE
    tones = [np.sin(2 * np.pi * (200 + 300 * turn) * time * (1 + time)) for turn in range(3)]
    return [np.tile(tone, (1, channels)).astype(np.float32) for tone in tones]


def exported(folder, channels=1, **options):
    model = network(channels=channels, **options)
    return calibrant.quantize(model, None, sounds(channels), folder, export="tflite", name="kws", outputs=["out"])


@pytest.mark.parametrize("options", [{"magnitude_squared": True}, {"magnitude_squared": False}, {"channels": 2}])
def test_features_of_sounds_are_in_the_file_in_float(tmp_path, options):
    result = exported(tmp_path, **options)
    found = {each["operator"]: each["reason"] for each in result.export_notes["tflite"]["operators_in_float"]}
    assert found == {name: f"LiteRT has no integer kernel for {name}" for name in FEATURES}
    operators = {each.name: each for each in File(contents(result)[0]).operators()}
    assert all(operators[name].is_integer for name in ("CONV_2D", "FULLY_CONNECTED"))
    assert calibrant.verify(tmp_path, sounds(options.get("channels", 1))[:1]).passed


def test_a_checker_runs_the_file_as_it_runs_others(tmp_path):
    exported(tmp_path)
    calibrant.golden(tmp_path, sounds(), out=tmp_path / "golden", samples=1)
    run = subprocess.run([sys.executable, tmp_path / "golden" / "check_golden.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "nothing differs" in run.stdout


def test_a_limit_that_the_kernel_takes_for_another_is_refused(tmp_path):
    """LiteRT's kernel reads frequencies as whole numbers."""
    with pytest.raises(calibrant.ModelError, match="LiteRT's Mfcc computes other numbers"):
        calibrant.quantize(network(lowest=80.9), None, sounds(), export="tflite", outputs=["out"])


def test_an_input_of_sounds_cannot_be_int8():
    with pytest.raises(calibrant.ModelError, match=r"AudioSpectrogram, which reads it, is in float"):
        calibrant.quantize(network(), None, sounds(), export="tflite", outputs=["out"], tflite_io="int8")
