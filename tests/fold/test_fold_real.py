"""Folded against original on real trained models, with the data that they were made for."""

import gzip
from collections import Counter

import numpy as np
import pytest

from calibrant.fold import fold
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once

WRITTEN, FUSED, BIAS = "written-out batch norm", "batch norm", "bias"
MODELS = {
    "resnet8_cifar10/resnet8.pb": {FUSED: 7},
    "resnet8_cifar10/resnet8.h5": {WRITTEN: 7},
    "ds_cnn_kws/saved_model": {FUSED: 9},
    "ds_cnn_kws/ds_cnn.pb": {FUSED: 9},
    "arm_kws/DS_CNN_S.pb": {FUSED: 9},
    "arm_kws/CNN_S.pb": {FUSED: 2, WRITTEN: 1, BIAS: 5},
    "arm_kws/DNN_S.pb": {BIAS: 4},
    "arm_kws/LSTM_S.pb": {BIAS: 1},
    "kwt1/kwt1.pb": {},
    "mnist/fc_layers.pb": {},
    "autoencoder/ad01.pb": {WRITTEN: 9},
    "autoencoder/ad01.h5": {WRITTEN: 9},
    "wake_word/wake_word.pb": {FUSED: 4},
}


def samples(folder, graph):
    """A few batches of real data of the shape that the graph is fed with."""
    shape = graph.shape(graph.inputs[0])
    if folder.name == "mnist":
        pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
        data = np.frombuffer(pixels, np.uint8).reshape(-1, 784)[:64] / 255
    elif folder.name == "resnet8_cifar10":
        data = np.load(folder / "cifar10_part.npz")["x_test"][:32]
    elif folder.name == "wake_word":
        data = np.load(folder / "calibration_samples.npz")["specs"]
    elif folder.name == "autoencoder":
        data = np.random.default_rng(0).normal(0, 10, (64, 640))
    else:
        stored = [np.load(path) for path in sorted(folder.glob("*.npz"))]
        data = next(data["x"] for data in stored if data["x"].shape[1:] == shape[1:])[:64]
    data = data.astype(np.float32)
    return [data[index : index + 1] for index in range(16)] if shape[0] == 1 else [data]


@pytest.mark.real
@pytest.mark.parametrize("name", MODELS)
def test_folded_models_give_the_same_outputs(shared, name):
    path = shared / "real" / name
    graph = load(path, inputs=["Mfcc"] if name.startswith("arm_kws") else None)
    folded = fold(graph)
    kinds = Counter(fusion.kind for fusion in folded.fusions)
    if name.endswith(".h5"):  # Keras 2, where it is installed, has a fused norm where Keras 3 writes it out
        kinds = Counter(WRITTEN if fusion.kind == FUSED else fusion.kind for fusion in folded.fusions)
    assert kinds == MODELS[name]
    assert folded.left == ()
    before, after = (
        np.concatenate([run_once(each, {each.input_keys[0]: batch})[0] for batch in samples(path.parent, each)])
        for each in (graph, folded.graph)
    )
    difference = np.abs(before - after).max() / np.abs(before).max()
    print(f"{name}: {difference:.1e}")
    assert difference <= 1e-4
