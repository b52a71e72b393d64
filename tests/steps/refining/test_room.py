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


@pytest.mark.parametrize("is_root", [True, False])
def test_reciprocals_of_norms_reach_four_times_as_far(is_root):
    """Pictures of less contrast than those that calibrated are standardized with larger ones."""

    def build():
        x = placeholder([None, 8, 8, 3])
        if is_root:
            centred = x - tf.reduce_mean(x, [1, 2, 3], keepdims=True)
            found = centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), [1, 2, 3], keepdims=True) + 1e-4)
        else:
            found = tf.image.per_image_standardization(x)
        kernel = tf.constant(numbers(3, 3, 3, 4, seed=2, scale=0.3))
        tf.identity(tf.reduce_mean(tf.nn.conv2d(found, kernel, 1, "SAME"), [1, 2]), name="out")

    data = numbers(64, 8, 8, 3, seed=3) * np.linspace(0.5, 1, 64, dtype=np.float32)[:, None, None, None]
    result = quantize(graph_def(build), data=data, outputs=["out"], export="tflite", bias_correction=False)
    deviation = float(data.reshape(64, -1).std(axis=1).min())
    wanted = {"Rsqrt": 4 / deviation} if is_root else {"Rsqrt": 2 / np.sqrt(deviation), "Mul": 4 / deviation}
    found = {
        result.network.graph.producer(tensor).op: search.high
        for tensor, search in result.network.intermediate.items()
        if result.network.graph.shape(tensor) == (None, 1, 1, 1)
    }
    for operation, high in wanted.items():
        assert found[operation] == pytest.approx(high, rel=0.05)
