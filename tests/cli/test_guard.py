"""A command whose process ends by a signal says so in one error; other ends and signals pass through."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calibrant.cli.guard import file_among

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are watched on Linux only")

COMMAND = """
import os, signal, sys, time
from calibrant.cli import guard, main
sys.argv = ["calibrant", *sys.argv[2:], "inspect", __file__ if "__file__" in globals() else "/etc/passwd"]
from calibrant.cli.main import cli
cli.main = lambda *arguments, **keywords: run()
def run():
    {body}
main()
"""


def started(body: str, *options: str) -> subprocess.Popen[str]:
    """A command that does this instead of its work."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body), "-", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(body: str, *options: str) -> tuple[int, str, str]:
    """Exit code, and what it printed."""
    process = started(body, *options)
    out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


def test_a_failed_check_is_one_error_with_the_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    said = "F0000 00:00:1764.1 1 tensor_shape.cc:356] Check failed: 0 <= new_num_elements (0 vs. -1)"
    code, out, errors = ended(f"os.write(2, b'note\\n{said}\\n*** Check failure stack trace: ***\\n'); os.abort()")
    assert (code, out) == (2, "")
    assert errors.splitlines() == [
        "note",
        "error: /etc/passwd: TensorFlow ended the process (SIGABRT) on this model: "
        "Check failed: 0 <= new_num_elements (0 vs. -1)",
        "    hint: try TF_ENABLE_ONEDNN_OPTS=0 in the environment: TensorFlow's oneDNN kernels fail on some models",
    ]


def test_what_was_tried_already_is_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert "hint" not in ended("os.abort()")[2]


@pytest.mark.parametrize("command", ["verify", "golden"])
def test_a_command_that_runs_a_file_of_litert_says_that_it_may_be_damaged(command: str) -> None:
    code, out, errors = ended("os.kill(os.getpid(), signal.SIGSEGV)", command)
    assert (code, out) == (2, "")
    assert "(SIGSEGV)" in errors and "hint: the .tflite may be damaged" in errors and "ONEDNN" not in errors


def test_a_file_that_became_shorter_may_be_one_of_the_data() -> None:
    body = (
        "import mmap; file = open('/proc/self/fd/%d' % os.memfd_create('x'), 'r+b'); file.truncate(4096); "
        "held = mmap.mmap(file.fileno(), 4096); file.truncate(0); held[0]"
    )
    code, _, errors = ended(body)
    assert code == 2 and re.search(r"/etc/passwd: .*\(SIGBUS\): a data file or the model became shorter", errors)


def test_a_bad_memory_access_is_one_error() -> None:
    code, out, errors = ended("os.kill(os.getpid(), signal.SIGSEGV)", "--json")
    assert (code, errors) == (2, "") and "SIGSEGV" in out and '"problems"' in out


def test_an_end_by_the_system_is_about_memory() -> None:
    code, _, errors = ended("os.kill(os.getpid(), signal.SIGKILL)")
    assert code == 2 and "memory may have run out" in errors
    code, _, errors = ended(
        "os.write(2, b\"terminate called after throwing an instance of 'std::bad_alloc'\\n\"); os.abort()"
    )
    assert code == 2 and "memory does not suffice" in errors and "terminate" not in errors


@pytest.mark.parametrize(
    "body",
    [
        "os.write(2, b'F0000 00:00:1764.1 1 env.cc:74] Check failed: ret == 0 (11 vs. 0) Thread tf_Compute creation "
        "via pthread_create() failed.\\n'); os.abort()",
        "os.write(2, b\"terminate called after throwing an instance of 'std::system_error'\\n\"); os.abort()",
        "raise RuntimeError('Resource temporarily unavailable')",
        'raise RuntimeError("can\'t start new thread")',
    ],
    ids=["check", "thrown", "raised", "of Python"],
)
def test_a_thread_that_cannot_be_made_is_no_fault_of_the_model(body: str) -> None:
    code, out, errors = ended(body)
    assert (code, out) == (2, "") and errors.startswith("error: the system gave no more memory or threads: ")
    assert "ulimit -u" in errors and "model" not in errors and "ONEDNN" not in errors and "defect" not in errors


def test_other_ends_pass_through() -> None:
    assert ended("print('x'); return 3") == (3, "x\n", "")
    code, _, errors = ended("os.write(2, b'F0000 1] not the last\\nwords'); return 0")
    assert (code, errors) == (0, "F0000 1] not the last\nwords")


def test_what_libraries_tell_of_themselves_is_not_shown() -> None:
    lines = ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "loc(a): error: x", "a.py:3:1: note: y", "kept")
    said = "".join(f"{line}\\n" for line in lines)
    assert ended(f"os.write(2, b'{said}'); return 0") == (0, "", "kept\n")


@pytest.mark.parametrize(
    "number",
    ["SIGINT", "SIGTERM; signal.signal(number, signal.default_int_handler)"],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupt_in_the_callback_of_a_weak_reference_is_not_lost(number: str) -> None:
    body = (
        f"import weakref; kept = {{1}}; number = signal.{number}; reference = weakref.ref(kept, "
        "lambda _: [os.kill(os.getpid(), number), sum(range(1000))]); del kept; time.sleep(20); return 0"
    )
    begun = time.monotonic()
    code, out, errors = ended(body, "--resume", "x")
    assert (code, out) == (130, "") and "Exception ignored" not in errors
    assert time.monotonic() - begun < 15


INTERRUPT = "os.kill(os.getpid(), signal.SIGINT); sum(range(1000))"
SWALLOWED = f"""try:
        {INTERRUPT}
    except BaseException:
        pass
    """


@pytest.mark.parametrize("end", ["time.sleep(20); return 0", "return 0", "raise RuntimeError", "sys.exit(2)"])
def test_an_interrupt_that_a_library_swallows_is_not_lost(end: str) -> None:
    begun = time.monotonic()
    code, out, errors = ended(SWALLOWED + end, "--resume", "x")
    assert (code, out) == (130, "")
    assert errors == "interrupted; the output folder holds one whole result or none\n"
    assert time.monotonic() - begun < 15


def test_an_interrupt_that_became_another_exception_is_no_defect() -> None:
    body = SWALLOWED.replace("pass", "raise RuntimeError('REPLACED BY KeyboardInterrupt')")
    assert ended(body)[::2] == (130, "interrupted; the output folder holds one whole result or none\n")


def test_an_interrupt_after_the_work_changes_nothing() -> None:
    kill = "type('Last', (), {'__del__': lambda _, kill=os.kill, own=os.getpid(): kill(own, 2)})()"
    assert ended(f"sys.modules['last'] = {kill}; return 3") == (3, "", "")


@pytest.mark.parametrize(("options", "code"), [((), 130), (("--resume", "x"), 3)])
def test_work_that_does_not_end_when_interrupted_is_killed_unless_it_saves(options: tuple[str, ...], code: int) -> None:
    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(4); return 3"
    process = started(deaf, *options)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors == ("" if options else "\ninterrupted; the output folder holds one whole result or none\n")
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_reach_the_work(sent: signal.Signals, code: int) -> None:
    process = started("print(os.getpid(), flush=True); time.sleep(60)")
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert worker != process.pid
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert bool(re.search("interrupted", errors)) == (sent == signal.SIGINT)
    assert not Path(f"/proc/{worker}").exists()


def test_an_interrupt_that_a_shell_ignores_for_its_jobs_is_ignored() -> None:
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started("print(os.getpid(), flush=True); time.sleep(4); return 3")
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (3, "")


def test_an_interrupt_of_the_start_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "calibrant", "--version"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_work_ends_with_the_command() -> None:
    process = started("print(os.getpid(), flush=True); time.sleep(60)")
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=30)
    status = Path(f"/proc/{worker}/status")
    for _ in range(500):
        try:
            if "\nState:\tZ" in status.read_text():
                return
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError("the work goes on")


def test_the_model_is_found_among_the_arguments(tmp_path: Path) -> None:
    model = str(tmp_path)
    assert file_among(["-q", "quantize", model, "--data", "/"]) == model
    assert file_among(["convert", "--outputs", "/", "--model", model]) == model
    assert file_among(["convert", f"--model={model}"]) == model
    assert file_among(["check", "\0", "x" * 5000]) is None
