"""Products of two activations with two axes, which Einsums of a tensor without batch become, in LiteRT files."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.evaluation.verify import verify
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf
from tflite_networks import contents

DATA = {"x": numbers(64, 20, 6, seed=1), "query": numbers(4, 6, seed=2)}


def queries(x, query):
    return tf.einsum("qd,btd->bqt", query, x)


def attending_queries(x, query):
    rows = tf.matmul(query, tf.constant(numbers(6, 6, seed=3, scale=0.4)))
    return tf.matmul(tf.nn.softmax(queries(x, rows)), x)


def activated_queries(x, query):
    return tf.nn.relu(tf.einsum("btd,qd->btq", x, tf.tanh(query)))


def network(build):
    made = build(placeholder([None, 20, 6]), placeholder([4, 6], "query"))
    size = int(np.prod(made.shape[1:]))
    tf.matmul(tf.reshape(made, [-1, size]), tf.constant(numbers(size, 3, seed=5)), name="out")


@pytest.mark.parametrize("ops", ["all", "layers"])
@pytest.mark.parametrize("build", [queries, attending_queries, activated_queries])
def test_they_run_on_integers(build, ops, tmp_path):
    """The converter would make dense layers with computed weights of them."""
    model = graph_def(lambda: network(build))
    result = calibrant.quantize(
        model, data=DATA, out=tmp_path / "out", samples="all", export="tflite", tflite_ops=ops, name="demo"
    )
    assert verify(tmp_path / "out", DATA, model=model).passed
    content, _ = contents(result)
    products = [each for each in File(content).operators() if each.name == "BATCH_MATMUL"]
    assert len(products) == (2 if build is attending_queries else 1)
    assert {each.outputs[0].dtype for each in products} == {np.dtype(np.int8)}
    runner = TfliteRunner(content)
    keys = [tensor.name for tensor in runner.file.inputs()]
    runner.run({at: DATA[key] for at, key in enumerate(keys)})
    made = runner.real(runner.file.outputs()[0])
    [wanted] = run_once(result.original, DATA)
    assert np.square(made - wanted).sum() < 2e-3 * np.square(wanted).sum()
