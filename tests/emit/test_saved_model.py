"""The fake-quantized model as a SavedModel: it serves, keeps its signature, and is the same bytes every time."""

import numpy as np
import pytest
from ascend_networks import chain, convolution, quantized, samples, tf

import calibrant
from calibrant.emit.saved_model import saved_model_writer
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once


@pytest.fixture
def written(tmp_path):
    result = quantized(chain)
    saved_model_writer(result.fakequant)(tmp_path / "model")
    return result, tmp_path / "model"


def test_serves_what_the_fake_quantized_model_gives(written):
    result, folder = written
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    batch = samples(result.original)
    found = serve(**{key: tf.constant(value) for key, value in batch.items()})
    assert list(found) == ["out"]
    [expected] = run_once(result.fakequant, batch)
    np.testing.assert_allclose(found["out"].numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_shapes_stay_open(written):
    _, folder = written
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    [spec] = serve.structured_input_signature[1].values()
    assert spec.shape.as_list() == [None, 8, 8, 3]
    assert serve(x=tf.zeros([7, 8, 8, 3]))["out"].shape == (7, 5)


def test_calibrant_reads_it(written):
    result, folder = written
    batch = samples(result.original)
    np.testing.assert_array_equal(run_once(load(folder), batch)[0], run_once(result.fakequant, batch)[0])


def test_the_same_bytes_every_time(written, tmp_path):
    result, folder = written
    saved_model_writer(result.fakequant)(tmp_path / "again")
    files = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in (folder, tmp_path / "again")]
    assert files[0] == files[1]
    assert (folder / "saved_model.pb").read_bytes() == (tmp_path / "again" / "saved_model.pb").read_bytes()


def test_keys_of_a_saved_model_that_was_read_stay(tmp_path):
    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 12], tf.float32, name="features")])
        def serve(self, features):
            return {"logits": features @ tf.constant(np.ones((12, 3), np.float32))}

    model = Model()
    tf.saved_model.save(model, str(tmp_path / "source"), signatures=model.serve)
    data = [{"features": np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)}]
    calibrant.quantize(tmp_path / "source", data=data, out=tmp_path / "out", export="saved_model")
    serve = tf.saved_model.load(str(tmp_path / "out" / "source_saved_model")).signatures["serving_default"]
    assert list(serve.structured_input_signature[1]) == ["features"]
    assert list(serve.structured_outputs) == ["logits"]
    assert serve(features=tf.constant(data[0]["features"]))["logits"].shape == (4, 3)


def test_a_second_run_replaces_the_folder(tmp_path):
    result = quantized(convolution)
    batch = samples(result.original, seed=31)
    for _ in range(2):
        calibrant.quantize(
            result.original, data=[batch], out=tmp_path / "out", name="net", export=("saved_model", "ascend")
        )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"net_saved_model", "net_quantized.pb", "net_quant.json", "net_fakequant.pb"} <= names
    assert load(tmp_path / "out" / "net_saved_model").outputs
