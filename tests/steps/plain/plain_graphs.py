"""Graphs in which operations have been written out as others, beside those that they were."""

from __future__ import annotations

import numpy as np

import calibrant
from calibrant.algorithms.sqnr import arrays_sqnr_db
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once


def ops(graph):
    return {node.op for node in graph.nodes.values()}


def last_op(plain, graph):
    """The operation that now has the name of what the output "out" of the graph reads."""
    return plain.nodes[graph.producer(graph.nodes["out"].input[0]).name].op


def check_numbers(plain, graph, x, **tolerance):
    """Both give the same for x."""
    [found], [wanted] = (run_once(each, {each.input_keys[0]: x}) for each in (plain, graph))
    np.testing.assert_allclose(found, wanted, **tolerance)


def check_on_integers(model, x, least_db):
    """All of a LiteRT file runs on integers, and the fake-quantized model is near the model."""
    lite = calibrant.quantize(model, "batch_num : 1", [x], export="tflite")
    assert lite.export_notes["tflite"]["operators_in_float"] == []
    [found], [wanted] = (run_once(each, {"x": x}) for each in (lite.fakequant, load(model)))
    assert arrays_sqnr_db(wanted, found) > least_db
