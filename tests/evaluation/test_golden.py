"""``golden``: what is written, and that the checker names the tensor that differs."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import calibrant
from calibrant.emit.tflite.flatbuffer import File
from calibrant.errors import DataError
from calibrant.evaluation import check_golden
from calibrant.graph.running import run as run_module
from command_line import run
from graphs import conv, dense, graph_def, numbers, placeholder, tf

LAYERS = ("one", "two", "last")
DATA = numbers(8, 8, 8, 3)


def network():
    y = tf.nn.relu(conv(placeholder([None, 8, 8, 3]), name="one"))
    y = tf.nn.relu(conv(y, name="two", seed=4))
    tf.nn.softmax(dense(tf.reshape(y, [-1, 256]), name="last"), name="shares")


def divided():
    """Second parts that layers read, beside a node whose name is theirs with another sign."""
    y = conv(placeholder([None, 8, 8, 3]), 6, name="one")
    first, second = tf.split(tf.nn.relu(y), 2, -1, name="part")
    third, _ = tf.split(conv(second, 8, name="two", seed=4), [6, 2], -1, name="part")
    tf.add(conv(third, name="three"), conv(first, name="four"), name="last")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden") / "out"
    calibrant.quantize(graph_def(network), "batch_num: 1", [DATA], folder, export="tflite", name="small")
    return folder


@pytest.fixture(scope="module")
def written(result):
    calibrant.golden(result, DATA, samples=3)
    return result / "golden"


@pytest.fixture
def check(monkeypatch):
    """Runs the checker of a folder as on a device that has LiteRT."""
    litert = types.ModuleType("ai_edge_litert")
    litert.interpreter = types.SimpleNamespace(
        Interpreter=tf.lite.Interpreter, OpResolverType=tf.lite.experimental.OpResolverType
    )
    monkeypatch.setitem(sys.modules, "ai_edge_litert", litert)

    def run(folder, *arguments):
        specification = importlib.util.spec_from_file_location("checker", folder / "check_golden.py")
        checker = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(checker)
        return checker.main([str(argument) for argument in arguments])

    return run


@pytest.mark.parametrize("arguments", [(), ("--builtin",), ("--outputs-only", "--threads", 1)])
def test_the_file_itself_does_not_differ(written, check, capsys, arguments):
    assert check(written, *arguments) == 0
    assert "nothing differs: 3 runs" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, keeps", [((), True), (("--outputs-only",), False)])
def test_results_alone_are_compared_as_applications_run_the_file(written, check, monkeypatch, arguments, keeps):
    """Which keep no tensors in between, so that XNNPACK joins operators."""
    module = sys.modules["ai_edge_litert"].interpreter
    made = []

    def interpreter(**options):
        made.append(options["experimental_preserve_all_tensors"])
        return original(**options)

    original = module.Interpreter
    monkeypatch.setattr(module, "Interpreter", interpreter)
    assert check(written, *arguments) == 0
    assert set(made) == {keeps}


def altered(content, layer):
    """The file with one weight of a layer changed, and the name of what the layer makes."""
    file = File(content)
    operators = {each.inputs[1].name: each for each in file.operators() if each.name in ("CONV_2D", "FULLY_CONNECTED")}
    operator = operators[f"{layer}/weight_codes"]
    codes = operator.inputs[1].values.copy()
    codes.flat[: codes.size // 4] ^= 0x55
    operator.inputs[1].set_values(codes)
    return file.content(), operator.outputs[0].name


@pytest.mark.parametrize("layer", LAYERS)
def test_an_altered_file_is_told_by_the_first_tensor_that_differs(written, check, capsys, tmp_path, layer):
    content, tensor = altered((written / "small_int8.tflite").read_bytes(), layer)
    other = tmp_path / "altered.tflite"
    other.write_bytes(content)
    assert check(written, "--model", other) == 1
    said = capsys.readouterr().out
    assert f"differs first: {tensor} (" in said
    assert "note: this is not the file" in said
    assert "allowed" in said


def test_steps_widen_what_is_allowed(written, check, tmp_path):
    content, _ = altered((written / "small_int8.tflite").read_bytes(), "last")
    other = tmp_path / "altered.tflite"
    other.write_bytes(content)
    assert check(written, "--model", other, "--steps", 255) == 0


def test_another_network_is_told(written, check, capsys, tmp_path):
    file = File((written / "small_int8.tflite").read_bytes())
    for tensor in file.tensors():
        tensor.name = f"other/{tensor.name}"
    other = tmp_path / "other.tflite"
    other.write_bytes(file.content())
    assert check(written, "--model", other) == 1
    assert "there is no such tensor" in capsys.readouterr().out


def test_a_network_for_other_inputs_is_told(written, check, capsys, tmp_path):
    flat = graph_def(lambda: tf.identity(dense(placeholder([None, 8])), name="out"))
    calibrant.quantize(flat, data=numbers(16, 8), out=tmp_path / "out", export="tflite", name="flat", refine=False)
    capsys.readouterr()  # of quantize, which logs where a command has run before
    assert check(written, "--model", tmp_path / "out" / "flat_int8.tflite") == 2
    said = capsys.readouterr().err
    assert said.strip().endswith("it is not the file that the folder was made from") and said.count("\n") == 1


def test_with_tensorflow_alone_its_interpreter_is_used(written):
    code = "import runpy, sys; sys.modules.update(ai_edge_litert=None, tflite_runtime=None); sys.argv = sys.argv[1:]"
    command = [sys.executable, "-c", f"{code}; runpy.run_path(sys.argv[0], run_name='__main__')"]
    done = subprocess.run([*command, written / "check_golden.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
    assert f"with tensorflow {tf.__version__}, XNNPACK" in done.stdout


@pytest.mark.parametrize("tensorflow", [None, types.ModuleType("tensorflow")], ids=["none", "without lite"])
def test_without_litert_one_line_says_so(written, check, monkeypatch, capsys, tensorflow):
    for name, module in {"ai_edge_litert": None, "tflite_runtime": None, "tensorflow": tensorflow}.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert check(written) == 2
    assert capsys.readouterr().err.strip().endswith("pip install ai-edge-litert")


def test_a_file_that_cannot_be_read_is_one_line(written, check, capsys, tmp_path):
    assert check(written, "--model", tmp_path / "missing.tflite") == 2
    assert "missing.tflite" in capsys.readouterr().err


def test_the_checker_imports_numpy_and_interpreters_alone():
    tree = ast.parse(Path(check_golden.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {
        *("numpy", "ai_edge_litert", "tflite_runtime", "tensorflow")
    }


def test_every_layer_and_result_is_there_with_the_codes_of_the_simulation(result, written):
    from calibrant.graph.reading.load import load
    from calibrant.graph.running.run import run_once

    about = json.loads((written / "golden.json").read_text())
    arrays = np.load(written / "golden.npz")
    assert {each["operator"] for each in about["tensors"]} >= {"CONV_2D", "FULLY_CONNECTED", "SOFTMAX", "DEQUANTIZE"}
    assert [each["is_output"] for each in about["tensors"]].count(True) == 1
    assert np.array_equal(arrays["input_0"][:, 0], DATA[:3])
    simulation = load(result / "small_int8_fakequant.pb")
    [shares] = run_once(simulation, {simulation.input_keys[0]: DATA[:3]})
    assert np.array_equal(arrays[about["tensors"][-1]["key"]][:, 0], shares)
    assert about["calibrant"] == calibrant.__version__


def test_the_same_bytes_every_time(result, written, tmp_path):
    for path in calibrant.golden(result, DATA, out=tmp_path / "again", samples=3):
        assert path.read_bytes() == (written / path.name).read_bytes()


def test_one_session_runs_all_samples(result, tmp_path, monkeypatch):
    opened, plain = [], run_module.open_session
    monkeypatch.setattr(run_module, "open_session", lambda *given: opened.append(given) or plain(*given))
    counts = []
    for samples in (1, 8):
        opened.clear()
        calibrant.golden(result, DATA, out=tmp_path / "out", samples=samples)
        counts.append(len(opened))
    assert counts[0] == counts[1] > 0


def test_fewer_samples_than_asked_for_are_told(result, tmp_path, caplog):
    with caplog.at_level("WARNING", "calibrant"):
        calibrant.golden(result, DATA, out=tmp_path, samples=99)
    assert "the data have fewer than 99 samples: 8 are written" in caplog.text


def test_integer_ends_and_a_fixed_batch(check, tmp_path):
    calibrant.quantize(
        graph_def(network), "batch_num: 1", [DATA], tmp_path, export="tflite", tflite_io="int8", tflite_batch=2
    )
    calibrant.golden(tmp_path, DATA, samples=3)
    arrays = np.load(tmp_path / "golden" / "golden.npz")
    assert (arrays["input_0"].shape, arrays["input_0"].dtype) == ((2, 2, 8, 8, 3), np.int8)
    assert check(tmp_path / "golden") == 0
    with pytest.raises(calibrant.DataError, match="no batches"):
        calibrant.golden(tmp_path, [DATA[:1]], out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_without_a_litert_file_is_refused(result, tmp_path):
    (tmp_path / "small_fakequant.pb").write_bytes((result / "small_fakequant.pb").read_bytes())
    (tmp_path / "small_int8_fakequant.pb").write_bytes((result / "small_int8_fakequant.pb").read_bytes())
    with pytest.raises(calibrant.ModelError, match="no NAME_int8.tflite"):
        calibrant.golden(tmp_path, DATA)


def test_a_result_without_a_file_says_how_to_make_one(tmp_path):
    (tmp_path / "small_fakequant.pb").write_bytes(b"")
    with pytest.raises(calibrant.ModelError, match=r"no NAME_int8\.tflite(.|\n)*--export tflite"):
        calibrant.golden(tmp_path, DATA)


def test_the_number_of_samples_is_above_zero(result):
    with pytest.raises(calibrant.DataError, match="samples is 0"):
        calibrant.golden(result, DATA, samples=0)


def test_the_command_lists_the_files(result, tmp_path):
    np.save(tmp_path / "x.npy", DATA)
    done = run("golden", result, "--data", tmp_path / "x.npy", "--out", tmp_path / "board", "--samples", 1)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == [
        *("check_golden.py", "golden.json", "golden.npz", "small_int8.tflite")
    ]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda golden: {**golden, "runs": 0},
        lambda golden: {**golden, "runs": None},
        lambda golden: {**golden, "runs": 100},
        lambda golden: {**golden, "tensors": []},
        lambda golden: {**golden, "tensors": None},
        lambda golden: {**golden, "tensors": [{**each, "allowed": math.inf} for each in golden["tensors"]]},
        lambda golden: {**golden, "model": 7},
        lambda golden: [golden],
    ],
)
def test_a_damaged_description_is_no_difference(written, check, capsys, tmp_path, damaged):
    folder = shutil.copytree(written, tmp_path / "golden")
    golden = json.loads((folder / "golden.json").read_text())
    (folder / "golden.json").write_text(json.dumps(damaged(golden)))
    assert check(folder) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_damaged_codes_are_no_difference(written, check, capsys, tmp_path, share):
    folder = shutil.copytree(written, tmp_path / "golden")
    content = (folder / "golden.npz").read_bytes()
    (folder / "golden.npz").write_bytes(content[: int(share * len(content))])
    assert check(folder) == 2
    assert "the check could not be made" in capsys.readouterr().err


def test_what_the_system_says_of_a_damaged_archive_names_the_file(written, check, capsys, monkeypatch):
    def refuse(_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(np, "load", refuse)
    assert check(written) == 2
    assert "golden.npz is damaged (OSError: [Errno 22] Invalid argument)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("expected", "found", "allowed", "differs"),
    [
        (np.int8([1, 2]), np.int8([1, 3]), 1.0, False),
        (np.int8([1, 2]), np.int8([1, 4]), 1.0, True),
        (np.int8([-128]), np.int8([127]), 254.0, True),
        (np.float32([np.nan, np.inf]), np.float32([np.nan, np.inf]), 0.0, False),
        (np.float32([1.0]), np.float32([np.nan]), 9.0, True),
        (np.float32(1.0), np.float32(3.0), 1.0, True),
        (np.int8([1]), np.int8([[1]]), 9.0, True),
    ],
)
def test_difference(expected, found, allowed, differs):
    assert (check_golden.difference(expected, found, allowed) is not None) == differs


def test_parts_are_not_taken_for_nodes_of_such_a_name(tmp_path, check):
    calibrant.quantize(graph_def(divided), "batch_num: 1", [DATA], tmp_path / "out", export="tflite", name="parts")
    file = File((tmp_path / "out" / "parts_int8.tflite").read_bytes())
    names = {tensor.name for each in file.operators() for tensor in each.outputs}
    assert {"part:1", "part_1"} <= names
    calibrant.golden(tmp_path / "out", DATA, samples=2)
    assert check(tmp_path / "out" / "golden") == 0
    assert calibrant.verify(tmp_path / "out", DATA).passed


def test_a_size_that_depends_on_the_data_is_an_error(tmp_path):
    def build():
        y = tf.nn.relu(dense(placeholder([None, 6])), name="y")
        tf.boolean_mask(y, y[:, 0] > 0.5, name="chosen")

    data = numbers(8, 6)
    definition = graph_def(build)
    ends = [node.name for node in definition.node if node.op == "GatherV2"]
    calibrant.quantize(definition, data=data, out=tmp_path / "out", export="tflite", outputs=["y", *ends])
    with pytest.raises(DataError, match="depends on the data"):
        calibrant.golden(tmp_path / "out", data, samples=8)
    assert not (tmp_path / "out" / "golden").exists()
