"""``calibrant.quantize`` from Python: every kind of data and model, and the same bytes every time."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import calibrant
from calibrant.exports import EXPORTS
from calibrant.graph.running.run import run_once
from calibrant.publish.write import write_folder
from calibrant.result import result_files, result_names
from command_line import tree
from graphs import conv, dense, graph_def, numbers, placeholder, save, small_network, tf
from reports import reproducible

DATA = numbers(32, 6, 6, 2)
CONFIG = "batch_num : 2"


def scales(result):
    return [float(entry.quantizer.scale) for entry in result.network.every_input()]


@pytest.fixture(scope="module")
def expected():
    return scales(calibrant.quantize(graph_def(small_network), CONFIG, DATA))


@pytest.mark.parametrize(
    "data",
    [
        {"x": DATA},
        {"x:0": DATA},
        [DATA[:16], DATA[16:]],
        [{"x": DATA[:16]}, {"x": DATA[16:]}],
        [(DATA[:16],), (DATA[16:],)],
        (batch for batch in np.split(DATA, 2)),
        lambda: iter(np.split(DATA, 2)),
        tf.data.Dataset.from_tensor_slices(DATA).batch(16),
        tf.data.Dataset.from_tensor_slices({"x": DATA}).batch(16),
        tf.constant(DATA),
        DATA.astype(np.float64),
    ],
    ids=lambda data: type(data).__name__,
)
def test_kinds_of_data(data, expected):
    assert scales(calibrant.quantize(graph_def(small_network), CONFIG, data)) == expected


@pytest.mark.parametrize("kind", ["path", "string", "GraphDef", "tf.Graph", "loaded"])
def test_kinds_of_models(kind, expected, tmp_path):
    definition = graph_def(small_network)
    path = save(definition, tmp_path / "my.model.pb")
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
    model = {
        "path": path,
        "string": str(path),
        "GraphDef": definition,
        "tf.Graph": graph,
        "loaded": calibrant.quantize(path, CONFIG, DATA).original,
    }[kind]
    result = calibrant.quantize(model, CONFIG, DATA)
    assert scales(result) == expected
    assert result.name == ("my.model" if kind in ("path", "string") else "model")


@pytest.mark.parametrize("model", [None, 3, b"bytes", [], {}])
def test_what_is_no_model(model):
    with pytest.raises(calibrant.ModelError, match="a model cannot be a"):
        calibrant.quantize(model, data=DATA)


@pytest.mark.parametrize("data", [None, 3, "", [], iter([])])
def test_what_are_no_data(data):
    with pytest.raises(calibrant.DataError):
        calibrant.quantize(graph_def(small_network), data=data)


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = calibrant.quantize(graph_def(small_network), CONFIG, DATA)
    assert result.files == () and tree(tmp_path) == {}


def test_the_names_of_all_files_are_known_before(tmp_path):
    """So that none of them replaces a file that is read."""
    chosen = {"export": tuple(EXPORTS), "equalize": True, "budget": 1.0, "name": "net"}
    calibrant.quantize(graph_def(small_network), None, DATA, tmp_path / "out", **chosen)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    known = set(result_names("net", EXPORTS, budget=True))
    assert written <= known
    assert known - written <= {"net_fakequant", "net_equalized", "net_nuq_record.txt"}


def test_what_an_earlier_run_has_left_under_the_same_name_is_said(tmp_path, caplog):
    """It is kept, as it may have been written on purpose, and nobody takes it for a part of this result."""
    call = {"model": graph_def(small_network), "config": CONFIG, "data": DATA, "out": tmp_path, "name": "net"}
    calibrant.quantize(**call, export=("ascend", "saved_model"))
    (tmp_path / "other.txt").write_text("mine")
    assert "not of this run" not in caplog.text
    calibrant.quantize(**call, export="ascend")
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == f"not of this run, but of an earlier one: net_saved_model in {tmp_path}"
    assert (tmp_path / "net_saved_model").is_dir()


def test_the_result_can_be_used(tmp_path):
    result = calibrant.quantize(graph_def(small_network), CONFIG, DATA, tmp_path / "out", name="mine")
    assert [path.name for path in result.files] == [
        "mine_fakequant.pb",
        "config.json",
        "record.txt",
        "mine_quant.json",
        "report.json",
        "report.html",
    ]
    assert all(path.is_file() for path in result.files)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written.pop("run")["version"] == calibrant.__version__
    assert written == {key: value for key, value in result.report.items() if key != "run"}
    assert result.report["run"]["configuration_sha256"] == result.run["configuration_sha256"]
    (found,) = run_once(result.fakequant, {"x": DATA})
    again = calibrant.quantize(tmp_path / "out" / "mine_fakequant.pb", CONFIG, DATA)
    assert run_once(again.original, {"x": DATA})[0].tobytes() == found.tobytes()
    assert sum(result.seconds.values()) > 0
    records = (tmp_path / "out" / "record.txt").read_text()
    for layer in result.network.layers:
        assert f'key: "{layer.layer.name}"' in records


@pytest.mark.parametrize("data", [DATA, lambda: iter(np.split(DATA, 2))], ids=["array", "function"])
def test_a_result_can_be_pickled(tmp_path, data):
    options = {"export": tuple(EXPORTS), "refine": True, "sensitivity": True}
    result = calibrant.quantize(graph_def(small_network), CONFIG, data, tmp_path / "first", **options)
    again = pickle.loads(pickle.dumps(result))
    assert again.batches is None and again.files == result.files and again.summary == result.summary
    for name, each in {"before": result, "again": again}.items():
        write_folder(tmp_path / name, result_files(each))
    assert tree(tmp_path / "again") == tree(tmp_path / "before")
    batch = {"x": DATA[:4]}
    np.testing.assert_array_equal(run_once(again.fakequant, batch)[0], run_once(result.fakequant, batch)[0])


def test_several_inputs():
    def build():
        a, b = placeholder([None, 3], "a"), placeholder([None, 5], "b")
        tf.identity(dense(a, name="one") + dense(b, name="two"), name="out")

    data = {"a": numbers(32, 3), "b": numbers(32, 5, seed=4)}
    whole = calibrant.quantize(graph_def(build), CONFIG, data)
    batches = [{key: value[start : start + 16] for key, value in data.items()} for start in (0, 16)]
    tuples = [(batch["a"], batch["b"]) for batch in batches]
    for other in (batches, tuples, tf.data.Dataset.from_tensor_slices(data).batch(16)):
        assert scales(calibrant.quantize(graph_def(build), CONFIG, other)) == scales(whole)
    with pytest.raises(calibrant.DataError, match="'b'"):
        calibrant.quantize(graph_def(build), CONFIG, {"a": data["a"]})
    with pytest.raises(calibrant.DataError, match="2 inputs"):
        calibrant.quantize(graph_def(build), CONFIG, data["a"])


def test_progress_is_reported_batch_by_batch():
    seen = []

    def track(items, description, total):
        for item in items:
            yield item
            seen.append((description, total))

    calibrant.quantize(graph_def(small_network), CONFIG, DATA, track=track)
    assert seen == [("calibrating", 2)] * 2


def test_the_batch_size_of_a_model_with_a_fixed_one():
    def build():
        tf.identity(conv(placeholder([4, 6, 6, 2])), name="out")

    result = calibrant.quantize(graph_def(build), "batch_num : 8", DATA)
    assert result.fakequant.shape("out:0") == (4, 6, 6, 4)
    with pytest.raises(calibrant.DataError, match="5"):
        calibrant.quantize(graph_def(build), CONFIG, DATA, batch_size=5)


def test_the_data_are_not_changed():
    data = DATA.copy()
    data.flags.writeable = False
    calibrant.quantize(graph_def(small_network), CONFIG, data)
    assert data.tobytes() == DATA.tobytes()


def test_nan_inside_names_layer_tensor_and_batch():
    def build():
        x = placeholder([None, 6, 6, 2])
        tf.identity(conv(tf.sqrt(x, name="root"), name="reader"), name="out")

    data = np.abs(DATA)
    data[20] = -1
    with pytest.raises(calibrant.DataError, match="NaN") as caught:
        calibrant.quantize(graph_def(build), CONFIG, data)
    assert "'root'" in str(caught.value) and "reader" in str(caught.value) and "batch 1" in str(caught.value)


def everything():
    """Many kinds of nodes at once, with a norm, a shared constant, two outputs and a loop."""
    x = placeholder([None, 6, 6, 2])
    y = tf.nn.relu(conv(x, name="first"))
    y = tf.compat.v1.nn.fused_batch_norm(
        y, *(tf.constant(np.abs(numbers(4, seed=n)) + 0.1) for n in range(4)), is_training=False
    )[0]
    weights = tf.constant(numbers(3, 3, 4, 4, seed=8))
    y = tf.add(tf.nn.conv2d(y, weights, 1, "SAME", name="a"), tf.nn.conv2d(y, weights, 1, "SAME", name="b"), name="add")
    flat = tf.reshape(tf.nn.avg_pool2d(y, 2, 2, "SAME"), [-1, 36])
    flat = tf.while_loop(
        lambda i, h: i < 2, lambda i, h: (i + 1, tf.matmul(h, tf.constant(numbers(36, 36)))), [0, flat]
    )[1]
    tf.identity(dense(flat), name="out")


SCRIPT = """
import sys
import calibrant
calibrant.quantize(sys.argv[1], sys.argv[3], sys.argv[2], sys.argv[4], outputs=["out", "add"])
"""


def test_the_same_bytes_in_every_process(tmp_path, repository):
    """Whatever the order in which Python keeps its sets."""
    model = save(graph_def(everything), tmp_path / "model.pb")
    np.save(tmp_path / "data.npy", DATA)
    config = tmp_path / "quant.cfg"
    config.write_text(
        'batch_num : 2 joint_quant : true skip_layers : "first" tensor_quantize { layer_name : "add" input_index : 0 }'
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(model), str(tmp_path / "data.npy"), str(config), str(tmp_path / seed)],
            env={**os.environ, "PYTHONPATH": str(repository / "src"), "PYTHONHASHSEED": seed},
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    first, second = reproducible(tmp_path / "1"), reproducible(tmp_path / "2")
    assert first == second and len(first) >= 5
    here = calibrant.quantize(model, config, tmp_path / "data.npy", outputs=["out", "add"])
    assert reproducible(result_files(here), page=False) == reproducible(tmp_path / "1", page=False)


def test_the_same_bytes_for_a_keras_model():
    keras = tf.keras
    x = keras.Input([6, 6, 2])
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(y)))
    first, second = (reproducible(result_files(calibrant.quantize(model, CONFIG, DATA))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("options", [{}, {"equalize": True}, {"config": "common_config { dmq_balancer { } }"}])
@pytest.mark.parametrize(("place", "said"), [("weights", "l2: weights contain NaN"), ("bias", "the bias contains NaN")])
def test_constants_that_are_no_numbers_are_named(options, place, said):
    """A bias that is NaN became a number in the fake-quantized model; balancing ended in a traceback."""
    constants = {"weights": numbers(3, 2, seed=3), "bias": numbers(2, seed=4)}
    constants[place][..., 0] = np.nan

    def build():
        first = tf.nn.relu(dense(placeholder([None, 4]), 3, "l1"))
        product = tf.matmul(first, tf.constant(constants["weights"]), name="l2")
        tf.identity(tf.nn.bias_add(product, tf.constant(constants["bias"])), name="out")

    with pytest.raises(calibrant.ModelError, match=said):
        calibrant.quantize(graph_def(build), data=numbers(32, 4), **options)


def test_a_bias_of_minus_infinity_stays():
    """It masks a class."""

    def build():
        tf.identity(dense(placeholder([None, 4]), 3) + tf.constant([0, 0, -np.inf], tf.float32), name="out")

    result = calibrant.quantize(graph_def(build), data=numbers(32, 4))
    [found] = run_once(result.fakequant, {"x": numbers(2, 4, seed=9)})
    assert np.isneginf(found[:, 2]).all() and np.isfinite(found[:, :2]).all()


def test_balancing_does_not_make_weights_infinite():
    def build():
        first = tf.nn.relu(dense(placeholder([None, 4]), 3, "l1"))
        weights = tf.constant(np.float32(3e38) * np.sign(numbers(3, 2, seed=3)))
        tf.identity(tf.matmul(first * 1e-38, weights, name="l2"), name="out")

    result = calibrant.quantize(graph_def(build), "common_config { dmq_balancer { } }", numbers(32, 4))
    assert np.isfinite(run_once(result.fakequant, {"x": numbers(2, 4, seed=9)})[0]).all()
