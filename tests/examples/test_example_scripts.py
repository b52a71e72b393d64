"""The example scripts run from any folder and say what they should."""

import os
import subprocess
import sys

import pytest

SAYS = {
    "keras_to_litert": ("accuracy: float ", "the LiteRT file computes what its simulation computes"),
    "frozen_to_ascend": ("6 layers quantized, 0 left in float", "the deployable model equals its simulation"),
    "mend_a_layer": ("conv4_1/convolution: 39 % of the values", "after: The outputs are very near"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_script(repository, tmp_path, name):
    done = subprocess.run(
        [sys.executable, repository / "examples" / f"{name}.py", tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for sentence in SAYS[name]:
        assert sentence in done.stdout


def test_every_script_is_tested(repository):
    assert {path.stem for path in (repository / "examples").glob("*.py")} == set(SAYS)
