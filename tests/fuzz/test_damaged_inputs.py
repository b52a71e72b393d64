"""Damaged texts and graphs, by the thousand: each is taken or refused, in bounded time, and none ends the process."""

import json
import random
import subprocess
import sys
from functools import partial

import graph_mutants
import pytest
import text_mutants
from verdict import verdict_of

from calibrant.graph.tf_core import AttrValue, GraphDef

AT_ONCE = 400


@pytest.mark.parametrize("kind", text_mutants.KINDS)
def test_texts(kind, campaign, tmp_path):
    seed, read = text_mutants.KINDS[kind]
    path, rng = tmp_path / kind, random.Random(kind)
    verdicts = {"accepted": 0, "refused": 0}
    for _ in range(campaign.budget(500, 200_000)):
        content = text_mutants.mutant(seed, rng)
        path.write_bytes(content)
        with campaign.one():
            verdict = verdict_of(partial(read, path))
        if verdict in verdicts:
            verdicts[verdict] += 1
        elif len(campaign.wrong) < 20:
            campaign.wrong.append(f"{verdict}: {content[:300]!r}")
    assert campaign.wrong == []
    assert all(verdicts.values())


def test_graphs(campaign, repository, tmp_path):
    first, stop = 0, campaign.budget(400, 50_000)
    while first < stop:
        (tmp_path / "found.json").write_text(json.dumps({"wrong": [], "longest": 0, "next": first}))
        done = subprocess.run(
            [sys.executable, graph_mutants.__file__, str(first), str(min(first + AT_ONCE, stop)), str(tmp_path)],
            env={"PYTHONPATH": str(repository / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
        )
        found = json.loads((tmp_path / "found.json").read_text())
        campaign.runs += found["next"] - first
        campaign.wrong += found["wrong"]
        campaign.longest = max(campaign.longest, found["longest"])
        first = found["next"]
        if done.returncode:
            campaign.wrong.append(f"{first}: ended the process ({done.returncode}): {done.stderr[-300:]}")
            first += 1
    assert campaign.wrong == []


@pytest.mark.parametrize("key", ["dilations", "strides", "padding", "use_cudnn_on_gpu", "T"])
def test_an_attribute_of_another_kind(key, tmp_path):
    """Ended in a TypeError."""
    for value in ({"f": 1.5}, {"shape": {}}):
        assert changed(tmp_path, key, value) == "refused"


@pytest.mark.parametrize("value", [{}, {"placeholder": "none"}], ids=["no value", "placeholder"])
@pytest.mark.parametrize("key", ["dilations", "strides", "padding", "use_cudnn_on_gpu", "T"])
def test_an_attribute_without_a_value(key, value, tmp_path):
    """An empty list of dilations ended in a TypeError."""
    assert changed(tmp_path, key, value) in {"accepted", "refused"}


def changed(folder, key, value):
    """What becomes of the graph with another attribute of its convolution."""
    graph = GraphDef.FromString(graph_mutants.seed_graph())
    (node,) = [node for node in graph.node if node.op == "Conv2D"]
    node.attr[key].CopyFrom(AttrValue(**value))
    path = folder / "mutant.pb"
    path.write_bytes(graph.SerializeToString())
    return graph_mutants.tried(path, 1)
