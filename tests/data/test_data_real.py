"""Real data sets open for the inputs of the models they belong to, with their labels."""

from __future__ import annotations

import numpy as np
import pytest

from calibrant.data.open_data import ImageOptions, InputSpec, open_data
from calibrant.errors import DataError
from calibrant.evaluation.labels import load_labels

pytestmark = pytest.mark.real

CASES = [
    ("resnet8_cifar10/cifar10_part.npz:x_test", "resnet8_cifar10/cifar10_part.npz:y_test", (None, 32, 32, 3), 761),
    ("ds_cnn_kws/mfcc.npz", "ds_cnn_kws/mfcc.npz", (None, 49, 10, 1), 1000),
    ("arm_kws/mfcc_w640_s320_d10.npz", "arm_kws/mfcc_w640_s320_d10.npz", (1, 49, 10), 1000),
    ("kwt1/features_98x40.npz", "kwt1/features_98x40.npz:y", (None, 98, 40), 1000),
    ("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", (None, 784), 10000),
    ("wake_word/calibration_samples.npz", "wake_word/calibration_samples.npz", (None, 30, 1, 40), 45),
]


@pytest.mark.parametrize("data, labels, shape, samples", CASES, ids=[case[0].partition("/")[0] for case in CASES])
def test_data_and_labels_belong_together(shared, data, labels, shape, samples):
    spec = InputSpec("input", shape, np.float32)
    batches = open_data(f"{shared}/real/{data}", [spec], image_options=ImageOptions(scale=0.5))
    read = [batch["input"] for batch in batches]
    assert sum(map(len, read)) == samples == batches.samples == len(load_labels(f"{shared}/real/{labels}"))
    assert {part.shape[1:] for part in read} == {shape[1:]} and {part.dtype for part in read} == {np.dtype(np.float32)}
    assert {len(part) for part in read[:-1]} == {shape[0] or 16}


def test_two_sets_in_one_file_have_to_be_told_apart(shared):
    path = shared / "real" / "resnet8_cifar10" / "cifar10_part.npz"
    with pytest.raises(DataError, match="several arrays fit: x_test, x_calibration"):
        open_data(path, [InputSpec("input", (None, 32, 32, 3), np.float32)])
    with pytest.raises(DataError, match="several arrays can be labels: y_test, y_calibration"):
        load_labels(path)
