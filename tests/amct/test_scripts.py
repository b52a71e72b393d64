"""Scripts and shell lines as users have them, with their import changed and unmodified under the runner."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import calibrant
from calibrant.graph import nodes as nd
from calibrant.graph.reading.load import load
from calibrant.records.record_file import read_records
from trained_networks import frozen, two_convolutions

SCRIPTS = Path(__file__).parent / "scripts"
MAPPING = {"name": "conv", "type": "Conv2D", "attr": [{"key": "_fe_weight_compress", "value": {"b": True}}]}
RUN_ALL = """
import contextlib, io, json, shlex, sys, traceback
from calibrant.amct.__main__ import main
from calibrant.cli import amct_tensorflow
results = []
for line in json.loads(sys.stdin.read()):
    out, code = io.StringIO(), 0
    words = shlex.split(line)
    with contextlib.redirect_stdout(out):
        try:
            sys.argv = ["calibrant.amct", *words]
            amct_tensorflow(words[1:]) if words[0] == "amct_tensorflow" else main()
        except SystemExit as done:
            code = done.code
        except BaseException:
            traceback.print_exc()
            code = 1
    results.append([code, out.getvalue()])
print(json.dumps(results))
"""


def prepare(folder: Path, repository: Path) -> None:
    """The files that the scripts work on."""
    digits = repository / "examples" / "digits"
    (folder / "digits.pb").write_bytes((digits / "digits.pb").read_bytes())
    images = np.load(digits / "calibration.npz")["image"]
    test = np.load(digits / "test.npz")
    np.save(folder / "images.npy", images)
    np.save(folder / "test.npy", test["x"])
    np.save(folder / "labels.npy", test["y"])
    (folder / "bins").mkdir()
    for number in range(3):
        images[16 * number : 16 * number + 16].tofile(folder / "bins" / f"{number}.bin")
    (folder / "trained.pb").write_bytes(frozen(two_convolutions, 12, 12, 3).SerializeToString())
    (folder / "quant.cfg").write_text("batch_num : 2\ncommon_config { arq_quantize { channel_wise : false } }\n")
    (folder / "balance.cfg").write_text("common_config : { dmq_balancer : { migration_strength : 0.5 } }\n")
    (folder / "harsh.cfg").write_text(
        "common_config { arq_quantize { channel_wise : false quant_bits : 6 }"
        " ifmr_quantize { search_range_start : 0.1 search_range_end : 0.15 search_step : 0.05 } }\n"
    )
    layer = next(node.name for node in load(folder / "digits.pb").nodes.values() if node.op == "Conv2D")
    names = {"key": "_datadump_original_op_names", "value": {"list": {"s": [layer]}}}
    mapping = {"graph": [{"op": [{**MAPPING, "attr": [*MAPPING["attr"], names]}]}]}
    (folder / "mapping.json").write_text(json.dumps(mapping))
    (folder / "nuq.cfg").write_text('batch_num : 2\nnuq_config { mapping_file : "mapping.json" }\n')
    calibrant.quantize(folder / "digits.pb", None, images[:16], folder / "calibrated")
    for script in SCRIPTS.iterdir():
        (folder / script.name).write_text(script.read_text())


LINES = {
    "nuq": "calibrate.py digits.pb image:0 Identity:0 images.npy 16 nuq.cfg",
    "configured": "calibrate.py digits.pb image:0 Identity:0 images.npy 16 quant.cfg",
    "plain": "calibrate.py digits.pb image:0 Identity:0 images.npy 16",
    "balanced": "balance.py digits.pb image:0 Identity:0 images.npy balance.cfg",
    "accuracy": "accuracy_based.py digits.pb image:0 Identity:0 test.npy labels.npy 0.2 harsh.cfg",
    "record": "convert.py digits.pb Identity calibrated/record.txt",
    "trained": "convert_trained.py trained.pb output:0",
}
ONLY_UNMODIFIED = {
    "old": "old_names.py digits.pb images.npy",
    **{f"shell {number}": line for number, line in enumerate((SCRIPTS / "shell_lines.sh").read_text().splitlines())},
}


@pytest.fixture(scope="module")
def unmodified(tmp_path_factory, repository):
    """Folder and (exit code, output) of each line, all run as they are, in one other process."""
    folder = tmp_path_factory.mktemp("unmodified")
    prepare(folder, repository)
    lines = {**LINES, **ONLY_UNMODIFIED}
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(list(lines.values())),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder, dict(zip(lines, json.loads(done.stdout.splitlines()[-1]), strict=True)), done.stderr


@pytest.fixture(scope="module")
def changed(tmp_path_factory, repository):
    """Folder and output of each script, run in this process with the import changed."""
    folder = tmp_path_factory.mktemp("changed")
    prepare(folder, repository)
    outputs = {}
    arguments = sys.argv
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else _chdir(folder):
        for name, line in LINES.items():
            script, *rest = shlex.split(line)
            text = Path(script).read_text().replace("amct_tensorflow", "calibrant.amct")
            Path(script).write_text(text)
            sys.argv = [script, *rest]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                runpy.run_path(script, run_name="__main__")
            outputs[name] = out.getvalue()
    sys.argv = arguments
    return folder, outputs


@contextlib.contextmanager
def _chdir(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", [*LINES, *ONLY_UNMODIFIED])
def test_every_line_runs_unmodified(name, unmodified):
    _, results, errors = unmodified
    code, out = results[name]
    assert code == 0, errors
    assert "False" not in out


@pytest.mark.parametrize("name", LINES)
def test_a_changed_import_gives_the_same(name, unmodified, changed):
    assert changed[1][name] == unmodified[1][name][1]


def test_both_ways_write_the_same_files(unmodified, changed):
    first, second = (
        {
            str(path.relative_to(folder)): path.read_bytes()
            for kind in ("results", "tmp", "balance", "auto", "converted", "trained")
            for path in sorted((folder / kind).rglob("*"))
        }
        for folder in (unmodified[0], changed[0])
    )
    assert first == second
    assert {"results/net_quantized.pb", "results/net_quant.json", "results/net_fakequant.pb"} <= first.keys()
    assert {"auto/net_final_config.json", "auto/net_ranking_information.json", "auto/net_quantized.pb"} <= first.keys()


def test_the_accuracy_based_run_ends_with_layers_in_float_and_says_how(unmodified):
    folder = unmodified[0]
    history = json.loads((folder / "amct_log" / "accuracy_based_auto_calibration_record.json").read_text())
    assert all(history[0]["roll_back_config"].values()) and not history[0]["metric_eval"][0]
    final = json.loads((folder / "auto" / "net_final_config.json").read_text())
    in_float = {name for name, entry in final.items() if isinstance(entry, dict) and not entry["quant_enable"]}
    chosen = [step for step in history if {n for n, q in step["roll_back_config"].items() if not q} == in_float]
    assert in_float and chosen[0]["metric_eval"][0] and chosen[0]["metric_eval"][1] <= 0.2
    ranking = json.loads((folder / "auto" / "net_ranking_information.json").read_text())
    assert in_float == {name for name, _ in ranking[: len(in_float)]}
    assert set(read_records(folder / "auto" / "record.txt")) == {name for name, _ in ranking} - in_float
    log = (folder / "amct_log" / "amct_tensorflow.log").read_text()
    for line in ("original model", "global quantized model", "saved model"):
        assert f"Accuracy of {line} is " in log
    assert "The model is saved in results/net_quantized.pb\n" in log


def test_the_nuq_layers_are_listed(unmodified):
    layers = (unmodified[0] / "results" / "amct_tensorflow_nuq_record.txt").read_text().split()
    assert len(layers) == 1


def test_the_shell_gives_the_models_of_the_library(unmodified):
    folder = unmodified[0]
    for name, config in (("data", "batch_num : 2\n"), ("script", folder / "quant.cfg")):
        images = np.load(folder / "images.npy")
        calibrant.quantize(folder / "digits.pb", config, images, folder / "wanted", export="ascend", name=name)
        for kind in ("quantized.pb", "quant.json", "fakequant.pb"):
            wanted = (folder / "wanted" / f"{name}_{kind}").read_bytes()
            assert (folder / "shell" / f"{name}_{kind}").read_bytes() == wanted
    quantizers = [node for node in load(folder / "shell" / "trained_fakequant.pb").nodes.values() if node.op == "Round"]
    assert len(quantizers) == 2 and all(nd.data_inputs(node) for node in quantizers)


def test_names_that_were_given_are_logged_once_a_run(unmodified):
    log = (unmodified[0] / "amct_log" / "amct_tensorflow.log").read_text().splitlines()
    (line,) = [line for line in log if "np.float" in line]
    assert "tf.GraphDef" in line and "tf.Session" in line


def test_nothing_of_the_runner_is_left_here():
    import tensorflow as tf

    assert "amct_tensorflow" not in sys.modules
    assert not hasattr(tf, "Session") and not hasattr(tf.train, "Saver")
    with pytest.raises(AttributeError):
        np.float  # noqa: B018


@pytest.mark.real
@pytest.mark.parametrize("runner", [False, True])
def test_a_real_network_that_is_fed_inside(runner, shared, repository, tmp_path):
    model = shared / "arm_kws" / "DS_CNN_S.pb" if (shared / "arm_kws").is_dir() else shared / "real/arm_kws/DS_CNN_S.pb"
    samples = np.load(model.parent / "mfcc_w640_s320_d10.npz")["x"][:4].astype(np.float32)
    np.save(tmp_path / "samples.npy", samples)
    text = (SCRIPTS / "calibrate.py").read_text()
    (tmp_path / "script.py").write_text(text if runner else text.replace("amct_tensorflow", "calibrant.amct"))
    done = subprocess.run(
        [sys.executable, *(["-m", "calibrant.amct"] if runner else []), "script.py", str(model), "Mfcc:0"]
        + ["labels_softmax:0", "samples.npy", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "simulation is the deployable model: True" in done.stdout
    calibrant.quantize(
        model,
        "batch_num : 2\n",
        samples,
        tmp_path / "wanted",
        inputs=["Mfcc"],
        outputs=["labels_softmax"],
        batch_size=1,
    )
    written, wanted = ((tmp_path / folder / "record.txt").read_text().split() for folder in ("tmp", "wanted"))
    assert len(written) == len(wanted)
    for one, other in zip(written, wanted, strict=True):  # the script has a session of its own, with other fusions
        assert one == other or float(one) == pytest.approx(float(other), rel=1e-5)
