"""Where there is no TensorFlow, every module and every command says which command installs it."""

import subprocess
import sys

import pytest

IMPORT_EACH_FIRST = """
import os, sys
sys.modules["tensorflow"] = None
import numpy, click, rich, google.protobuf  # what every process needs; none of calibrant
root = sys.argv[1]
folder = root + "/calibrant"
names = sorted(
    os.path.relpath(os.path.join(where, file), root)[:-3].replace(os.sep, ".").removesuffix(".__init__")
    for where, _, files in os.walk(folder) for file in files if file.endswith(".py") and file != "__main__.py"
)
for name in names:
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException as error:
            if type(error).__name__ != "DependencyError":
                print(name, type(error).__name__, error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print(len(names), "modules", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_each_module_imported_first(repository):
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH_FIRST, str(repository / "src")], capture_output=True, text=True, timeout=300
    )
    *wrong, counted = done.stdout.splitlines()
    assert wrong == [], done.stderr
    assert int(counted.split()[0]) > 200


BLOCKED = (
    "import sys; sys.modules['tensorflow'] = None; sys.argv[0] = 'calibrant'; from calibrant.cli import main; main()"
)


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "MODEL"],
        ["check", "CONFIG", "--model", "MODEL"],
        ["quantize", "MODEL", "--data", "DATA", "--out", "OUT"],
        ["observe", "MODEL", "--data", "DATA", "--state", "OUT"],
        ["evaluate", "MODEL", "--data", "DATA"],
        ["verify", "FOLDER", "--data", "DATA"],
        ["golden", "FOLDER", "--data", "DATA"],
        ["tune", "MODEL", "--data", "DATA", "--out", "OUT"],
        ["lower", "MODEL", "--out", "OUT"],
    ],
    ids=lambda words: words[0],
)
def test_commands_name_what_to_install(repository, tmp_path, words):
    digits = repository / "examples" / "digits"
    (tmp_path / "digits_fakequant.pb").write_bytes((digits / "digits.pb").read_bytes())
    places = {
        "MODEL": digits / "digits.pb",
        "CONFIG": digits / "quant.cfg",
        "DATA": digits / "calibration.npz",
        "FOLDER": tmp_path,
        "OUT": tmp_path / "out",
    }
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *(str(places.get(word, word)) for word in words)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install 'calibrant[tensorflow-cpu]'" in done.stderr
    assert "Traceback" not in done.stderr
