"""A layer that is applied to the parts of a tensor has one range where ranges are refined."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.graph.running.run import run_once
from graphs import graph_def, numbers, placeholder, tf

STEPS, SIZE = 6, 3


def time_distributed(cut):
    def build():
        weights = tf.constant(numbers(SIZE, 4), name="weights")
        steps = cut(placeholder([None, STEPS, SIZE]))
        tf.stack([tf.nn.relu(tf.matmul(step, weights)) for step in steps], 1, name="out")

    return graph_def(build)


CUTS = {
    "unstack": lambda x: tf.unstack(x, axis=1),
    "slices of a transposed tensor": lambda x: [tf.transpose(x, [1, 0, 2])[step] for step in range(STEPS)],
    "split": lambda x: [tf.squeeze(part, 1) for part in tf.split(x, STEPS, axis=1)],
}


def scales(result):
    return {float(entry.quantizer.scale) for entry in result.network.every_input()}


@pytest.mark.parametrize("cut", CUTS)
def test_parts_have_one_range(cut):
    result = calibrant.quantize(time_distributed(CUTS[cut]), data=numbers(24, STEPS, SIZE), samples="all", refine=True)
    assert len(scales(result)) == 1


def test_unseen_values_are_clipped_less():
    data, unseen = numbers(24, STEPS, SIZE), numbers(256, STEPS, SIZE, seed=1)
    model = time_distributed(CUTS["unstack"])
    errors = []
    for refine in (False, True):
        result = calibrant.quantize(model, data=data, samples="all", refine=refine)
        [wanted], [found] = (run_once(graph, {"x": unseen}) for graph in (result.original, result.fakequant))
        errors.append(np.square(wanted - found).mean())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("refine", [False, True])
def test_each_has_its_own_where_the_configuration_decides(refine):
    config = "batch_num : 2 common_config { ifmr_quantize { search_range_start : 0.9 } }"
    data = [{"x": numbers(12, STEPS, SIZE, seed=seed)} for seed in (0, 1)]
    found = calibrant.quantize(time_distributed(CUTS["unstack"]), config, data, refine=refine)
    assert len(scales(found)) == STEPS
    plain = calibrant.quantize(time_distributed(CUTS["unstack"]), data=numbers(24, STEPS, SIZE), samples="all")
    assert len(scales(plain)) == STEPS


def test_parts_of_other_sizes_keep_their_own():
    data = numbers(24, STEPS, SIZE) * np.geomspace(1, 1e3, STEPS, dtype=np.float32)[:, None]
    result = calibrant.quantize(time_distributed(CUTS["unstack"]), data=data, samples="all", refine=True)
    assert len(scales(result)) > 1
