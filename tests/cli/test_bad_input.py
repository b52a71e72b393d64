"""Bad input at the command line: one clear error, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from command_line import run, tree
from graphs import conv, graph_def, numbers, placeholder, save, small_network, tf, v1

OUT = "out"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a model, a configuration and data that are right."""
    folder = tmp_path_factory.mktemp("good")
    save(graph_def(small_network), folder / "model.pb")
    (folder / "quant.cfg").write_text("batch_num : 1\n")
    np.save(folder / "data.npy", numbers(16, 6, 6, 2))
    return folder


class Case:
    """Everything that one bad input changes; paths are made on the way."""

    def __init__(self, folder, good):
        self.folder = folder
        self.model, self.data, self.config = good / "model.pb", good / "data.npy", good / "quant.cfg"
        self.out = folder / OUT
        self.options = []

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def graph(self, build, name="model.pb"):
        return save(graph_def(build), self.folder / name)

    def array(self, name, array):
        np.save(self.folder / name, array)
        return self.folder / name

    def arguments(self):
        arguments = ["quantize", self.model, "--data", self.data, "--out", self.out, *self.options]
        return arguments if self.config is None else [*arguments, "--config", self.config]


def config(text):
    """The configuration file holds this text."""

    def change(case):
        case.config = case.file("bad.cfg", text)

    return change


def model_file(name, content):
    """The model is a file of this name and content."""

    def change(case):
        case.model = case.file(name, content)

    return change


def graph(build, *options):
    """The model is this graph."""

    def change(case):
        case.model = case.graph(build)
        case.options += options

    return change


def options(*given):
    """Options of the command line."""

    def change(case):
        case.options += given

    return change


def data(array, *given):
    """The data are this array."""

    def change(case):
        case.data = case.array("bad.npy", array)
        case.options += given

    return change


def missing(part):
    """The model, configuration or data do not exist."""

    def change(case):
        setattr(case, part, case.folder / "absent" / f"absent.{'npy' if part == 'data' else 'pb'}")

    return change


def out(make):
    """The output folder is what a function returns."""

    def change(case):
        case.out = make(case)

    return change


def truncated(case):
    content = case.model.read_bytes()
    case.model = case.file("short.pb", content[: len(content) // 2])


def archive(case):
    path = case.folder / "bad.npz"
    np.savez(path, images=numbers(16, 6, 6, 2), others=numbers(16, 6, 6, 2))
    case.data = path


def archive_with_labels(case):
    path = case.folder / "two.npz"
    np.savez(path, a=numbers(16, 6, 6, 2), b=numbers(16))
    case.data = f"{path}:c"


def damaged_keras(case):
    path = case.folder / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", "{}")
    case.model = path


def no_saved_model(case):
    folder = case.folder / "saved"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing")
    case.model = folder


def damaged_saved_model(case):
    folder = case.folder / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01garbage")
    case.model = folder


def saved_model_without(signature):
    def change(case):
        module = tf.Module()
        module.f = tf.function(lambda x: tf.nn.relu(x), input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        tf.saved_model.save(module, str(case.folder / "saved"), signatures={"first": module.f, "second": module.f})
        case.model = case.folder / "saved"
        if signature:
            case.options += ["--signature", signature]

    return change


def training_norm():
    y = conv(placeholder([None, 6, 6, 2]))
    one, zero = tf.ones(4), tf.zeros(4)
    tf.identity(v1.nn.fused_batch_norm(y, one, zero, is_training=True)[0], name="out")


def live_dropout():
    tf.nn.dropout(conv(placeholder([None, 6, 6, 2])), 0.5, name="drop")


def variables():
    x = placeholder([None, 6, 6, 2])
    weights = v1.get_variable("weights", [3, 3, 2, 4], use_resource=False)
    tf.nn.conv2d(x, weights, 1, "SAME", name="out")


def two_sinks():
    y = conv(placeholder([None, 6, 6, 2]))
    tf.nn.relu(y, name="first")
    tf.nn.sigmoid(y, name="second")


def unknown_op(case):
    definition = graph_def(small_network)
    next(node for node in definition.node if node.name == "relu").op = "MyOwnRelu"
    case.model = save(definition, case.folder / "custom.pb")


def cycle(case):
    definition = graph_def(small_network)
    next(node for node in definition.node if node.name == "conv").input[0] = "relu"
    case.model = save(definition, case.folder / "cycle.pb")


def dangling(case):
    definition = graph_def(small_network)
    next(node for node in definition.node if node.name == "relu").input[0] = "conv/biass"
    case.model = save(definition, case.folder / "dangling.pb")


def wrong_rank(case):
    definition = graph_def(small_network)
    next(node for node in definition.node if node.name == "relu").input[0] = "conv/weights"
    case.model = save(definition, case.folder / "rank.pb")


def nothing_to_quantize():
    tf.nn.relu(placeholder([None, 6, 6, 2]), name="out")


def makes_nan():
    x = placeholder([None, 6, 6, 2])
    tf.nn.relu(conv(tf.math.log(x - 100.0, name="log"), name="behind_log"), name="out")


def fixed_batch():
    tf.nn.relu(conv(placeholder([4, 6, 6, 2])), name="out")


def bin_folder(case):
    folder = case.folder / "bins"
    folder.mkdir()
    (folder / "0.bin").write_bytes(bytes(4 * 6 * 6 * 2 * 4))
    (folder / "1.bin").write_bytes(bytes(4 * 6 * 6 * 2 * 4 - 3))
    case.data = folder
    case.options += ["--input_shape", "x:4,6,6,2"]
    config("batch_num : 2")(case)


def nan_weights():
    x = placeholder([None, 6, 6, 2])
    weights = numbers(3, 3, 2, 4)
    weights[0, 0, 0, 0] = np.nan
    tf.nn.conv2d(x, tf.constant(weights), 1, "SAME", name="poisoned")


def shared_with_other_settings(case):
    def build():
        x = placeholder([None, 6, 6, 2])
        weights = tf.constant(numbers(3, 3, 2, 2))
        y = tf.nn.conv2d(x, weights, 1, "SAME", name="one")
        tf.nn.conv2d(y, weights, 1, "SAME", name="two")

    case.model = case.graph(build)
    override = 'override_layer_configs { layer_name : "two" calibration_config { arq_quantize { quant_bits : 6 } } }'
    config(override)(case)


def nested_file(case):
    case.file("in_the_way", "a file")
    return case.folder / "in_the_way" / "deeper" / "out"


def file_as_out(case):
    return case.file(OUT, "my thesis")


# what is wrong -> (what is changed, texts that the error holds)
CASES = {
    "misspelt field": (config("batch_nun : 1"), ["bad.cfg:1:1", "batch_nun", "did you mean", "batch_num"]),
    "unknown layer": (config('skip_layers : "convv"'), ["bad.cfg:1", "convv", "did you mean", "'conv'"]),
    "unknown layer type": (config('skip_layer_types : "Conv2"'), ["bad.cfg:1", "Conv2", "Conv2D"]),
    "wrong type": (config('batch_num : "many"'), ["bad.cfg:1:13", "batch_num", "allowed"]),
    "value out of range": (config("batch_num : 0"), ["bad.cfg:1:13", "batch_num", "allowed: a whole number above 0"]),
    "several at once": (config("batch_num : 0\nfoo : 1\njoint_quant : 7"), ["3 problems", ":1:13", ":2:1", ":3:"]),
    "binary configuration": (config(bytes(range(256)) * 4), ["bad.cfg"]),
    "configuration is a folder": (lambda case: setattr(case, "config", case.folder), ["directory"]),
    "everything skipped": (config('skip_layers : "conv" skip_layers : "pool" skip_layers : "dense"'), ["bad.cfg"]),
    "missing configuration": (missing("config"), ["absent"]),
    "missing model": (missing("model"), ["absent.pb", "no such"]),
    "missing data": (missing("data"), ["absent.npy"]),
    "empty model": (model_file("empty.pb", b""), ["empty.pb", "is an empty file", "allowed"]),
    "not a model": (model_file("text.pb", "dear reader, " * 50), ["text.pb", "allowed"]),
    "binary nonsense as model": (model_file("random.pb", bytes(range(256)) * 9), ["random.pb", "allowed"]),
    "truncated model": (truncated, ["short.pb", "cut short"]),
    "damaged text graph": (model_file("m.pbtxt", "node { nam : 3 }"), ["m.pbtxt", "1:"]),
    "damaged keras file": (damaged_keras, ["model.keras", "Keras"]),
    "damaged h5 file": (model_file("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(90)), ["m.h5", "Keras"]),
    "folder that is no SavedModel": (no_saved_model, ["saved", "not a SavedModel", "allowed"]),
    "damaged SavedModel": (damaged_saved_model, ["saved", "SavedModel"]),
    "several signatures": (saved_model_without(None), ["first, second", "--signature"]),
    "wrong signature": (saved_model_without("frist"), ["frist", "first, second", "did you mean"]),
    "signature of a frozen graph": (options("--signature", "x"), ["model.pb", "--signature"]),
    "wrong output name": (options("--outputs", "oot"), ["model.pb", "oot", "'out'"]),
    "wrong output index": (options("--outputs", "conv:1"), ["model.pb", "conv", "1 output"]),
    "wrong input name": (options("--inputs", "y"), ["model.pb", "'y'", "for example x"]),
    "wrong input index": (options("--inputs", "relu:3"), ["model.pb", "relu", "1 output"]),
    "input is a control edge": (options("--inputs", "^relu"), ["model.pb", "relu"]),
    "input behind the output": (
        options("--inputs", "out", "--outputs", "relu"),
        ["model.pb", "x: is needed", "which are out"],
    ),
    "input behind another of one node": (
        graph(
            lambda: tf.add(tf.split(placeholder([None, 4]), 2, 1, name="s")[0], placeholder([None, 2], "y"), "out"),
            "--inputs",
            "s:1,s:0",
        ),
        ["y: is needed", "which are s:1, s:0"],
    ),
    "needed input not fed": (
        graph(lambda: tf.add(conv(placeholder([None, 6, 6, 2])), placeholder([], "y"), "out"), "--inputs", "x"),
        ["y", "--inputs"],
    ),
    "training-mode norm": (graph(training_norm), ["training", "inference"]),
    "live dropout": (graph(live_dropout), ["random", "inference"]),
    "unfrozen variables": (graph(variables), ["weights", "variable", "freeze"]),
    "several sinks": (graph(two_sinks), ["first, second", "--outputs"]),
    "unknown op": (unknown_op, ["custom.pb", "relu", "MyOwnRelu"]),
    "cycle": (cycle, ["cycle.pb", "cycle"]),
    "dangling input": (dangling, ["dangling.pb", "conv/biass", "did you mean"]),
    "edge that TensorFlow refuses": (wrong_rank, ["rank.pb"]),
    "nothing to quantize": (graph(nothing_to_quantize), ["quantiz"]),
    "NaN in the weights": (graph(nan_weights), ["model.pb", "poisoned", "NaN"]),
    "shared weights, other settings": (shared_with_other_settings, ["two", "one", "same weight settings"]),
    "wrong bin size": (bin_folder, ["1.bin", "byte"]),
    "too few batches": (config("batch_num : 9"), ["data.npy", "9", "lower batch_num"]),
    "NaN in the data": (
        data(np.where(np.arange(16)[:, None, None, None] == 5, np.nan, numbers(16, 6, 6, 2))),
        ["bad.npy", "NaN", "sample 5"],
    ),
    "NaN inside the network": (graph(makes_nan), ["NaN", "batch", "behind_log", "log"]),
    "wrong npz key": (archive, ["bad.npz", "images", "x"]),
    "npz key that is not there": (archive_with_labels, ["two.npz", "'c'", "a"]),
    "wrong shape": (data(numbers(16, 5, 6, 2)), ["bad.npy", "[?, 6, 6, 2]", "5"]),
    "wrong dtype": (data(np.full((16, 6, 6, 2), "a")), ["bad.npy", "float32"]),
    "pickled array": (data(np.array([{}, {}], dtype=object)), ["bad.npy"]),
    "damaged npy": (lambda case: setattr(case, "data", case.file("d.npy", b"\x93NUMPY\x01")), ["d.npy"]),
    "empty array": (data(np.zeros((0, 6, 6, 2), np.float32)), ["bad.npy"]),
    "wrong batch size": (graph(fixed_batch, "--batch-size", "5"), ["4", "5"]),
    "batch size of zero": (options("--batch-size", "0"), ["--batch-size", "0"]),
    "bad input shape": (options("--input_shape", "x:a,b"), ["--input_shape", "x:a,b"]),
    "scale without its denominator": (options("--scale", "1/"), ["--scale", "'1/'"]),
    "image option of a wrong form": (options("--image-size", "1,2,3"), ["--image-size", "1,2,3"]),
    "name with a folder in it": (options("--name", "../model"), ["../model", "--name"]),
    "empty name": (options("--name", ""), ["--name"]),
    "output folder below a file": (out(nested_file), ["in_the_way", "not a folder"]),
    "output path is a file": (out(file_as_out), ["out", "not a folder"]),
    "output folder in /proc": (out(lambda case: "/proc/calibrant/out"), ["/proc", "--out"]),
    "output path too long": (out(lambda case: case.folder / ("x" * 300)), ["x" * 50]),
    "output is a URL": (out(lambda case: "gs://bucket/out"), ["gs://bucket/out", "URLs are not written to"]),
    "unknown option": (options("--outs", "x"), ["--outs"]),
}


@pytest.mark.parametrize("what", CASES)
def test_one_clear_error_and_nothing_left_behind(what, good, tmp_path):
    change, texts = CASES[what]
    case = Case(tmp_path, good)
    change(case)
    before = tree(tmp_path)
    outcome = run(*case.arguments())
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    for text in texts:
        assert text in outcome.err
    assert len(outcome.err) < 4000
    assert tree(tmp_path) == before


def test_a_shape_that_is_given_twice(good, tmp_path):
    shapes = ["--tflite-shape", "x=1,6,6,2", "--tflite-shape", "x:0=2,6,6,2"]
    paths = [good / "model.pb", "--data", good / "data.npy", "--out", tmp_path / OUT]
    outcome = run("quantize", *paths, "--export", "tflite", *shapes)
    assert outcome.code == 2
    assert "x is given twice" in outcome.err
    assert not (tmp_path / OUT).exists()


NOT_SET = {
    "quantize": (["MODEL", "--data", "DATA", "--out"], "the output folder is empty"),
    "quantize --resume": (["MODEL", "--data", "DATA", "--out", "out", "--resume"], "the state file to resume is empty"),
    "quantize --config": (["MODEL", "--data", "DATA", "--out", "out", "--config"], "the configuration file is empty"),
    "check": ([], "the configuration file is empty"),
    "observe": (["MODEL", "--data", "DATA", "--state"], "the state file is empty"),
    "merge": (["state.npz", "--model", "MODEL", "--out"], "the output folder is empty"),
    "lower": (["MODEL", "--out"], "the model to write is empty"),
    "init": (["MODEL", "--out"], "the configuration file to write is empty"),
    "compare": (["one", "two", "--page"], "the page is empty"),
    "tune": (["MODEL", "--data", "DATA", "--out"], "the configuration file to write is empty"),
    "golden": (["folder", "--data", "DATA", "--out"], "the output folder is empty"),
    "convert": (["--model", "MODEL", "--outputs", "out", "--save_path"], "save_path is ''"),
}


@pytest.mark.parametrize("called", NOT_SET)
def test_nothing_is_written_to_an_empty_path(called, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, text = NOT_SET[called]
    paths = {"MODEL": good / "model.pb", "DATA": good / "data.npy"}
    outcome = run(called.split()[0], *(paths.get(word, word) for word in arguments), "")
    assert outcome.code == 2 and text in outcome.err and "Traceback" not in outcome.err
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("called, option", [("quantize", "--calib"), ("tune", "--calibration-data")])
def test_an_option_of_another_tool(called, option, good):
    outcome = run(called, good / "model.pb", option, good / "data.npy", "--out", "out")
    assert outcome.code == 2 and f"No such option '{option}'. Did you mean '--data'?" in outcome.err
