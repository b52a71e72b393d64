"""Processes that answer requests: what they raise is raised here, and they end with whoever started them."""

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from calibrant.child_process import ChildProcess, serve
from calibrant.errors import DataError, DependencyError


@contextmanager
def adding(start):
    """Adds to a number; some requests are special."""
    if start is None:
        raise DataError("no start")

    def answer(request):
        if request == "wrong":
            raise DataError("wrong request")
        if request == "die":
            os._exit(7)
        if request == "print":
            print("not an answer")  # goes to standard error
        return start + request if isinstance(request, int) else None

    yield answer


@pytest.fixture
def child():
    started = ChildProcess(adding, 40)
    yield started
    started.kill()


def test_answers_and_errors(child):
    assert child.ask(2) == 42
    with pytest.raises(DataError, match="wrong request"):
        child.ask("wrong")
    assert child.ask("print") is None
    assert child.ask(3) == 43
    with pytest.raises(DependencyError, match=r"before its time \(exit code 7\)"):
        child.ask("die")


def test_a_caller_that_goes_while_it_sends_is_no_error():
    """Wherever the stream of requests ends; answers are those to what is whole."""
    messages = [pickle.dumps(message, protocol=5) for message in (("", ""), (adding, (40,)), 1, 2)]
    sent, expected = b"".join(messages), [None, 41, 42]
    for end in range(len(sent) + 1):
        answers = io.BytesIO()
        serve(io.BytesIO(sent[:end]), answers)
        whole = sum(end >= len(b"".join(messages[:count])) for count in range(1, len(messages) + 1))
        written, found = io.BytesIO(answers.getvalue()), []
        while written.tell() < len(answers.getvalue()):
            found.append(pickle.load(written))
        assert found == expected[: max(whole - 1, 0)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1])
def test_an_interrupt_does_not_end_it_even_while_it_starts(seconds, capfd):
    child = ChildProcess(adding, 40)
    time.sleep(seconds)
    os.kill(child.process_id, signal.SIGINT)
    assert child.ask(2) == 42
    child.close()
    assert capfd.readouterr().err == ""


def test_an_error_at_the_start_is_the_first_answer():
    child = ChildProcess(adding, None)
    with pytest.raises(DataError, match="no start"):
        child.ask(2)
    child.close()


def test_what_cannot_be_sent_is_told():
    with pytest.raises(DependencyError, match="cannot be sent to a worker process"):
        ChildProcess(adding, lambda: 1)


PARENT = """
import sys, threading, time
from calibrant.child_process import ChildProcess
from test_child_process import sleeping

if __name__ == "__main__":
    children = [ChildProcess(sleeping) for _ in range(2)]
    for child in children:
        child.ask(0)
        threading.Thread(target=child.ask, args=(1000,), daemon=True).start()
    print(*(child.process_id for child in children), flush=True)
    time.sleep(1000)
"""


@contextmanager
def sleeping():
    """Takes as long as it is asked to."""
    yield time.sleep


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_none_outlives_its_parent(number, repository):
    paths = os.pathsep.join((str(repository / "src"), str(repository / "tests")))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = [int(word) for word in parent.stdout.readline().split()]
    assert len(children) == 2 and all(map(is_alive, children))
    parent.send_signal(number)
    parent.wait()
    for _ in range(200):
        if not any(map(is_alive, children)):
            break
        time.sleep(0.05)
    assert not any(map(is_alive, children))
    noise = parent.stderr.read()
    assert "Unpickling" not in noise and "resource_tracker" not in noise


SCRIPT = """
from contextlib import contextmanager
from calibrant.child_process import ChildProcess

@contextmanager
def doubling():
    yield lambda number: 2 * number

GUARD
    child = ChildProcess(doubling)
    print(child.ask(21))
    child.close()
"""


@pytest.mark.parametrize("guard", ["if __name__ == '__main__':", "if True:"])
def test_functions_of_a_script(guard, repository, tmp_path):
    """Its module is imported where they are needed; without the guard, that would start processes without end."""
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", guard))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "name" in guard:
        assert done.stdout == "42\n", done.stderr
    else:
        assert "below if __name__ == '__main__'" in done.stderr and done.returncode


ASKING = """
import sys
if __name__ == "__main__":
    sys.path.insert(1, SOURCES)
from contextlib import contextmanager
from calibrant.child_process import ChildProcess

@contextmanager
def telling():
    yield lambda _: (list(sys.path), sys.flags.optimize, sys.flags.isolated)

if __name__ == "__main__":
    child = ChildProcess(telling)
    print(child.ask(None) == (list(sys.path), sys.flags.optimize, sys.flags.isolated))
    child.close()
"""


@pytest.mark.parametrize("switches", [[], ["-O"], ["-I"]], ids=["plain", "-O", "-I"])
def test_it_imports_what_its_parent_does(switches, repository, tmp_path):
    """Also where a user stands among files that are named like modules."""
    here, scripts = tmp_path / "here", tmp_path / "scripts"
    for name in ("json.py", "types.py", "runpy.py", "pickle.py", "calibrant/__init__.py"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("raise SystemExit('a file of the working directory is executed')")
    scripts.mkdir()
    (scripts / "asking.py").write_text(ASKING.replace("SOURCES", repr(str(repository / "src"))))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *switches, str(scripts / "asking.py")]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")
