"""Models as Keras 3 traces them: every batch norm is written out."""

from collections import Counter

import numpy as np
import pytest
from sketch import difference

from calibrant.fold import fold
from calibrant.graph.reading.load import load


def with_random_norms(model):
    """The model with norms that do something."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith(("variance", "gamma")):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) == 1:
            variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def test_every_layer_that_can_have_a_norm():
    import keras

    layers = keras.layers
    data = inputs = keras.Input((12, 12, 4))
    for number, layer in enumerate(
        [
            layers.Conv2DTranspose(3, 3, strides=2),
            layers.SeparableConv2D(4, 3, dilation_rate=2),
            layers.Conv2D(4, 3, dilation_rate=2),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.Dense(5),
            layers.Reshape((-1, 5)),
            layers.Conv1D(6, 3, padding="same"),
            layers.Flatten(),
            layers.Dense(7, use_bias=False),
        ]
    ):
        data = layer(data)
        if layer.name.startswith(("reshape", "flatten")):
            continue
        data = layers.BatchNormalization(scale=number % 2 == 0, center=number % 3 != 0)(data)
        data = layers.ReLU()(data)
    graph = load(with_random_norms(keras.Model(inputs, data)))
    folded = fold(graph)
    assert len(folded.fusions) == 7 and folded.left == ()
    assert difference(graph, folded.graph) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name, norms, size", [("MobileNetV2", 52, 96), ("ResNet50", 53, 64)])
def test_all_norms_of_an_application_are_folded(name, norms, size):
    import keras

    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))
    graph = load(with_random_norms(model))
    folded = fold(graph)
    assert Counter(fusion.kind for fusion in folded.fusions) == {"written-out batch norm": norms}
    assert folded.left == ()
    assert difference(graph, folded.graph) < 1e-4
