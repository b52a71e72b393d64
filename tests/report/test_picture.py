"""The picture: layers and junctions, edges down, nothing on top of each other."""

import pytest

from calibrant.graph.graph import Graph
from calibrant.graph.reading.load import load
from calibrant.report.picture import picture
from graphs import graph_def, placeholder, tf


def drawn(build, layers):
    graph: Graph = load(graph_def(build))
    return picture(graph, layers)


def residual():
    first = tf.nn.relu(tf.matmul(placeholder([None, 4]), tf.ones([4, 4]), name="first"))
    second = tf.nn.relu(tf.matmul(first, tf.ones([4, 4]), name="second"))
    tf.identity(tf.add(first, second, name="sum"), name="y")


def test_activation_functions_are_part_of_an_edge():
    found = drawn(residual, ["first", "second"])
    assert dict(found.ops) == {
        "x": "Input",
        "first": "MatMul",
        "second": "MatMul",
        "sum": "AddV2",
        "y:0 (output)": "Output",
    }
    assert {(a, b) for a, b, _ in found.edges} == {
        ("x", "first"),
        ("first", "second"),
        ("first", "sum"),
        ("second", "sum"),
        ("sum", "y:0 (output)"),
    }


def test_edges_run_down_and_nodes_stand_apart():
    found = drawn(residual, ["first", "second"])
    for source, target, between in found.edges:
        rows = [found.places[source][1], *(row for _, row in between), found.places[target][1]]
        assert rows == list(range(rows[0], rows[-1] + 1))
    rows = {}
    for across, row in found.places.values():
        rows.setdefault(row, []).append(across)
    for places in rows.values():
        assert all(b - a >= 0.99 for a, b in zip(sorted(places), sorted(places)[1:], strict=False))


@pytest.mark.parametrize("branches", [2, 7])
def test_branches_stand_side_by_side(branches):
    def build():
        x = placeholder([None, 4])
        parts = [tf.matmul(x, tf.ones([4, 4]) * n, name=f"m{n}") for n in range(branches)]
        tf.identity(tf.concat(parts, 1, name="all"), name="y")

    found = drawn(build, [f"m{n}" for n in range(branches)])
    across = sorted(found.places[f"m{n}"][0] for n in range(branches))
    assert sum(across) == pytest.approx(0, abs=0.1)
    assert across[-1] - across[0] == pytest.approx(branches - 1, abs=0.1)
