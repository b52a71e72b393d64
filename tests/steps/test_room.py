"""Where a sample has one number, ranges between layers reach farther than the numbers of the samples."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant import quantize
from graphs import graph_def, numbers, placeholder, tf

WEIGHTS, COLUMN = numbers(6, 8, seed=2), numbers(8, 1, seed=3)


def network(last=lambda x: x):
    def build():
        x = placeholder([None, 6])
        hidden = tf.nn.relu(tf.matmul(x, tf.constant(WEIGHTS)), name="hidden")
        tf.identity(last(tf.matmul(hidden, tf.constant(COLUMN), name="score")), name="out")

    return graph_def(build)


def ranges(definition, data, **options):
    result = quantize(definition, data=data, outputs=["out"], export="tflite", bias_correction=False, **options)
    return {tensor: (search.low, search.high) for tensor, search in result.network.intermediate.items()}


def scores(data):
    return np.maximum(data @ WEIGHTS, 0) @ COLUMN


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize(("samples", "share"), [(32, 0.5), (64, 0.5), (256, 0.25)])
def test_half_of_the_spread_is_left_at_each_end_and_less_for_many_samples(samples, share, refine):
    data = numbers(samples, 6, seed=samples)
    seen = scores(data)
    (found,) = (
        value
        for tensor, value in ranges(network(), data, refine=refine, samples="all").items()
        if "hidden" not in tensor
    )
    room = share * float(seen.max() - seen.min())
    np.testing.assert_allclose(found, (seen.min() - room, seen.max() + room), rtol=0.02)


def test_numbers_of_one_sign_still_end_at_zero():
    data = numbers(64, 6, seed=5)
    found = ranges(network(lambda x: tf.square(x, name="power") + 1.0), data)
    low, high = found["power:0"]
    assert low == 0 and high > 1.4 * float(np.square(scores(data)).max())


def test_several_numbers_a_sample_have_no_room():
    data, two = numbers(64, 6, seed=5), numbers(1, 2, seed=4)
    found = ranges(network(lambda x: tf.nn.relu(tf.matmul(x, tf.constant(two)), name="both")), data)
    assert found["both:0"][1] <= 1.01 * float((scores(data) @ two).max())


def test_a_switch_of_two_numbers_keeps_its_exact_scale():
    def switched(x):
        return x * tf.cast(x > 0, tf.float32)

    found = ranges(network(switched), numbers(64, 6, seed=5))
    assert any(high == pytest.approx(1, abs=0.01) for _, high in found.values())


def test_other_samples_lose_less():
    """The network's own numbers, normally distributed: beyond the range every 64th is cut without room."""
    data, others = numbers(64, 6, seed=7), numbers(2000, 6, seed=8)
    low, high = next(value for tensor, value in ranges(network(), data).items() if "hidden" not in tensor)
    seen, expected = scores(data), scores(others)
    assert ((expected < seen.min()) | (expected > seen.max())).any()
    step = (high - low) / 255
    rounded = np.clip(np.rint(expected / step) * step, low, high)
    plain_step = (seen.max() - seen.min()) / 255
    plain = np.clip(np.rint(expected / plain_step) * plain_step, seen.min(), seen.max())
    assert np.square(rounded - expected).mean() < 0.2 * np.square(plain - expected).mean()
