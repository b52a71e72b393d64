"""Whatever stops a run that writes results, and wherever: what is left is the old result or the new."""

import json
import subprocess
import sys
from pathlib import Path

import faults
import pytest

SHORT, LONG = 90, 1000


@pytest.mark.parametrize("name", faults.SCENARIOS)
def test_writers(name, campaign, repository, tmp_path):
    done = subprocess.run(
        [sys.executable, faults.__file__, "--only", name, "--runs", str(campaign.budget(SHORT, LONG))],
        env={"PYTHONPATH": str(repository / "src")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    campaign.runs, campaign.longest, campaign.wrong = found["runs"], found["longest"], found["wrong"]
    assert found["wrong"] == []
    assert found["runs"] >= SHORT and found["operations"][name] > 20, "operations that were stopped"


def test_the_harness_sees_a_mixed_result():
    old, new = {"a": b"old", "b": b"old"}, {"a": b"new", "b": b"new"}
    assert faults._which({"a": b"new", "b": b"old"}, old, new) is None
    assert faults._which({"out": None, **new}, old, new) == "new"
    assert Path(faults.__file__).parent == Path(__file__).parent
