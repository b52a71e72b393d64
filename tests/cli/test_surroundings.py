"""Streams that are closed or full, systems that refuse, paths that are something else: a clear line, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from calibrant.cli.surroundings import shortage
from command_line import run, tree


@pytest.fixture
def config(repository):
    return repository / "examples" / "digits" / "quant.cfg"


@pytest.fixture
def model(repository):
    return repository / "examples" / "digits" / "digits.pb"


def shell(text, repository):
    """Run a line of the shell, in which $CALIBRANT is the command."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", text],
        env={**os.environ, "PYTHONPATH": str(repository / "src"), "CALIBRANT": f"{sys.executable} -m calibrant"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_python_interface_without_standard_error(repository):
    code = "from calibrant.graph.tensorflow import tensorflow; print(tensorflow().constant(2).numpy())"
    done = shell(f"{sys.executable} -c '{code}' 2>&-", repository)
    assert (done.returncode, done.stdout) == (0, "2\n")


@pytest.mark.parametrize(
    "line, code, said",
    [
        ("$CALIBRANT check {} <&-", 0, "no problems"),
        ("$CALIBRANT check {} >&-", 0, ""),
        ("$CALIBRANT check {} 2>&-", 0, "no problems"),
        ("$CALIBRANT check {} <&- >&- 2>&-", 0, ""),
        ("$CALIBRANT check nowhere 2>&-", 2, ""),
        ("$CALIBRANT check {} > /dev/full", 2, "perhaps standard output: No space left"),
        ("$CALIBRANT check nowhere 2> /dev/full", 2, ""),
        ("$CALIBRANT check nowhere --json > /dev/full", 2, ""),
        ("$CALIBRANT --help | head -1", 0, "Usage"),
        ("$CALIBRANT check {} | true", 141, ""),
        ("$CALIBRANT inspect nowhere --threads 100000", 2, "Error"),
        ("ulimit -v 1000000; $CALIBRANT inspect {model}", 2, "with which TensorFlow cannot start"),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_streams(line, code, said, config, model, repository):
    done = shell(line.replace("{model}", str(model)).replace("{}", str(config)), repository)
    everything = done.stdout + done.stderr
    assert done.returncode == code, everything
    assert said in everything and "Traceback" not in everything and "Exception" not in everything


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("quantize", "--threads", "100000"), "0<=x<=512"),
        (("quantize", "--workers", "100000"), "1<=x<=128"),
        (("observe", "--threads", "-1"), "0<=x<=512"),
        (("tune", "--workers", "100000"), "1<=x<=128"),
    ],
)
def test_upper_bounds_are_said_at_once(arguments, said):
    done = run(arguments[0], "model.pb", "--data", "data.npz", *arguments[1:])
    assert done.code == 2 and said in done.err


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "below a loop", "long", "below a file"])
def test_paths_that_are_no_files(kind, model, config, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    path = {
        "pipe": tmp_path / "pipe",
        "device": "/dev/zero",
        "loop": tmp_path / "loop",
        "below a loop": tmp_path / "loop" / "x",
        "long": tmp_path / ("x" * 300),
        "below a file": tmp_path / "file" / "x",
    }[kind]
    data, out = model.parent / "calibration.npz", tmp_path / "out"
    for arguments in (
        ("quantize", path, "--data", data, "--out", out),
        ("quantize", model, "--data", path, "--out", out),
        ("quantize", model, "--config", path, "--data", data, "--out", out),
        ("quantize", model, "--data", data, "--out", path),
        ("quantize", model, "--data", data, "--resume", path, "--out", out),
        ("observe", model, "--data", data, "--state", path),
        ("merge", path, "--model", model, "--out", out),
        ("compare", path, path),
        ("init", model, "--force", "--out", path),
        ("verify", path, "--data", data),
        ("lower", path, "--out", tmp_path / "lowered.pb"),
    ):
        done = run(*arguments)
        assert done.code == 2 and "error: " in done.err.lower(), (arguments, done)
        assert "Traceback" not in done.err and not out.exists()


def test_what_is_read_is_not_written_over(model, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"net_fakequant.pb": model, "x.npz": model.parent / "calibration.npz", "record.txt": config}
    files |= dict.fromkeys(("report.json", "config.json", "y.txt"), config)
    files |= {"golden.npz": files["x.npz"], "net_record.txt": config}
    for name, source in files.items():
        Path(name).write_bytes(source.read_bytes())
    Path("link").symlink_to(tmp_path)
    net = "net_fakequant.pb"
    (tmp_path / "link.pb").symlink_to(net)
    before = tree(tmp_path)
    for line in (
        f"tune {net} --data x.npz --out link.pb",
        f"tune {net} --data x.npz --out link/x.npz",
        f"tune {net} --data x.npz --test-data golden.npz --out golden.npz",
        f"tune {net} --data x.npz --labels y.txt --out y.txt",
        f"tune {net} --data x.npz --config record.txt --out record.txt",
        f"init {net} --force --out {net}",
        f"lower {net} --out {net}",
        f"observe {net} --data x.npz --state {net}",
        f"observe {net} --data x.npz --state x.npz",
        f"quantize {net} --data x.npz --out new --resume x.npz",
        f"quantize {net} --data x.npz --name net --out .",
        f"quantize {net} --data x.npz --config record.txt --out {tmp_path / 'link'}",
        f"merge report.json --model {net} --out .",
        "golden . --data golden.npz --out link",
        "compare . new --page report.json",
        "compare . new --page record.txt",
        f"compare . new --page {net}",
        "compare new . --page link/config.json",
        f"convert --model {net} --outputs y --save_path net",
        f"convert --model x.npz --outputs y --record_file {net} --save_path net",
    ):
        done = run(*line.split())
        assert done.code == 2 and "would replace '" in done.err, (line, done)
    assert tree(tmp_path) == before


def test_what_a_system_refuses_is_one_line():
    assert "a/b: No space left" in shortage(OSError(28, "No space left on device", "a/b"))
    assert "standard output" in shortage(OSError(28, "No space left on device"))
    assert "memory" in shortage(MemoryError())
