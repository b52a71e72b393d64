"""The committed demonstration network and its data are what the demo says they are."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def digits(repository):
    return repository / "examples" / "digits"


@pytest.fixture(scope="module")
def arrays(digits):
    with np.load(digits / "calibration.npz") as calibration, np.load(digits / "test.npz") as test:
        return calibration["image"], test["x"], test["y"]


def test_arrays_are_float_images_in_the_unit_range(arrays):
    calibration, x, y = arrays
    assert calibration.shape == (64, 8, 8, 1) and x.shape == (500, 8, 8, 1) and y.shape == (500,)
    assert calibration.dtype == x.dtype == np.float32
    assert min(calibration.min(), x.min()) == 0.0 and max(calibration.max(), x.max()) == 1.0


def test_no_calibration_image_is_among_the_held_out_ones(arrays):
    calibration, x, _ = arrays
    held_out = {image.tobytes() for image in x}
    assert not held_out & {image.tobytes() for image in calibration}


def test_files_stay_small(digits):
    assert sum(path.stat().st_size for path in digits.iterdir() if path.is_file()) < 2_000_000


def test_configuration_is_accepted_and_names_a_layer_of_the_network(digits):
    from calibrant.config.load import load_config

    configuration = load_config(digits / "quant.cfg")
    assert configuration.batch_num == 4
    assert all(
        layer.layer_name.encode() in (digits / "digits.pb").read_bytes()
        for layer in configuration.override_layer_configs
    )


def test_frozen_network_recognises_the_held_out_digits(digits, arrays):
    tf = pytest.importorskip("tensorflow")
    _, x, y = arrays
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString((digits / "digits.pb").read_bytes())
    assert {"Conv2D", "DepthwiseConv2dNative", "AddV2", "MaxPool", "AvgPool", "MatMul", "Rsqrt", "Softmax"} <= {
        node.op for node in definition.node
    }
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            outputs = session.run("Identity:0", {"image:0": x})
    assert np.mean(np.argmax(outputs, axis=1) == y) > 0.97
