"""Exact GELU in the orders in which people write its product: one operator, where nothing else reads its parts."""

from __future__ import annotations

import numpy as np
import pytest

from graphs import conv, graph_def, tf
from tflite_networks import computed, exported, image, steps_apart

ROOT = np.float32(np.sqrt(2))


def share(x):
    return 1.0 + tf.math.erf(x / ROOT)


GELUS = {
    "as in textbooks": lambda x: 0.5 * x * share(x),
    "of TensorFlow": lambda x: tf.nn.gelu(x, approximate=False),
    "as in BERT": lambda x: x * (0.5 * (1.0 + tf.math.erf(x / tf.sqrt(2.0)))),
    "with halves at the end": lambda x: x * share(x) / 2.0,
    "with a factor at the end": lambda x: 0.5 * (share(x) * x),
    "with half the share": lambda x: (share(x) / 2.0) * x,
    "with factors of erf": lambda x: x * (0.5 * (tf.math.erf(x * (1 / ROOT)) + 1.0)),
    "with erfc": lambda x: x * (tf.math.erfc(-x * (1 / ROOT)) * 0.5),
}
OTHERS = {
    "the share is read as well": lambda x: x * (0.5 * share(x)) + conv(0.5 * share(x), name="beside", seed=9),
    "the share of another": lambda x: tf.reverse(x, [1]) * (0.5 * share(x)),
    "the share alone": lambda x: 0.5 * share(x),
    "twice": lambda x: x * share(x),
}


def network(write):
    return graph_def(lambda: tf.identity(conv(write(conv(image(), name="one")), name="two", seed=4), name="out"))


@pytest.mark.parametrize("write", GELUS.values(), ids=GELUS)
def test_it_is_one_operator(write):
    result, x = exported(network(write))
    apart, file = steps_apart(result, x)
    assert apart.max() <= 1.001
    names = [each.name for each in file.operators()]
    assert "GELU" in names and names.count("CONV_2D") == 2
    assert result.export_notes["tflite"]["operators_in_float"] == []


@pytest.mark.parametrize("write", OTHERS.values(), ids=OTHERS)
def test_others_have_a_file_without_one(write):
    result, x = exported(network(write))
    [made], [simulated], names = computed(result, x)
    assert "GELU" not in names
    np.testing.assert_allclose(made, simulated, atol=1.001 * result.network.every_input()[0].quantizer.scale)
