"""Whether channels are equalized or balanced is decided by samples that did not choose the ranges."""

import numpy as np
import pytest

import calibrant
from calibrant.graph.running.run import run_once
from calibrant.steps.balancing import channels
from calibrant.steps.balancing.channels import STRENGTH, _middle, is_nearer
from fold.sketch import Sketch

PER_TENSOR = "batch_num : 4 common_config { arq_quantize { channel_wise : false } }"


def samples(*shape, loud=None, seed=0, count=4):
    random = np.random.default_rng(seed)
    data = [random.normal(0, 1, (16, *shape)).astype(np.float32) for _ in range(count)]
    return [batch * loud if loud is not None else batch for batch in data]


def uneven(spread=256.0):
    """Two convolutions; the channels between them differ in size, and the second undoes that."""
    sketch = Sketch()
    sizes = np.geomspace(1, spread, 8).astype(np.float32)
    first = sketch.values(1, 1, 4, 8) * sizes
    second = sketch.values(1, 1, 8, 4) / sizes[:, None]
    hidden = sketch.node(
        "Conv2D",
        "first",
        sketch.input(3, 3, 4),
        sketch.constant("first/weights", first),
        strides=[1, 1, 1, 1],
        padding="VALID",
    )
    relu = sketch.node("Relu", "relu", hidden)
    last = sketch.node(
        "Conv2D", "second", relu, sketch.constant("second/weights", second), strides=[1, 1, 1, 1], padding="VALID"
    )
    return sketch.graph(last)


def product(loud):
    """A product whose weights undo the sizes of its input channels."""
    sketch = Sketch()
    weights = sketch.values(8, 4) / loud[:, None]
    return sketch.graph(sketch.node("MatMul", "dense", sketch.input(8), sketch.constant("weights", weights)))


def error(result, data):
    key = result.original.input_keys[0]
    pairs = [[run_once(graph, {key: batch})[0] for graph in (result.original, result.fakequant)] for batch in data]
    return float(np.mean([np.square(np.subtract(*pair, dtype=np.float64)).mean() for pair in pairs]))


@pytest.mark.parametrize(
    ("sizes", "middle"),
    [
        ([32, 32], 1),
        ([32, 16], 1),
        ([32, 15], 0),
        ([32], 0),
        ([21, 21, 21, 1], 2),
        ([16] * 4, 2),
        ([], 0),
        ([5] * 8, 4),
    ],
)
def test_halves_of_pieces(sizes, middle):
    assert _middle(sizes) == middle


def test_one_sample_does_not_decide():
    others = np.random.default_rng(1).uniform(0.02, 0.06, 64)
    errors = others * 0.8
    assert is_nearer(errors, others) and not is_nearer(others, errors)
    errors[5] = 2.0
    assert errors.mean() > others.mean() and is_nearer(errors, others)
    assert not is_nearer(others * 0.98, others)
    assert is_nearer(others * 0.93, others) and not is_nearer(others * 0.93, others, 0.9)
    assert not is_nearer(np.zeros(4), np.zeros(4))


def strengths(result):
    return [entry.migration_strength for entry in result.plan.layers]


def test_uneven_channels_between_layers_are_equalized():
    data, unseen = samples(3, 3, 4), samples(3, 3, 4, seed=1)
    plain = calibrant.quantize(uneven(), PER_TENSOR, data, refine=True, equalize=False)
    found = calibrant.quantize(uneven(), PER_TENSOR, data, refine=True)
    assert found.options["equalize"] and strengths(found) == [None, None]
    assert len(found.fakequant.nodes) == len(plain.fakequant.nodes)
    assert error(found, unseen) < error(plain, unseen) / 4
    same = calibrant.quantize(uneven(), PER_TENSOR, data, refine=True, equalize=True)
    assert same.fakequant.graph_def() == found.fakequant.graph_def()


def test_uneven_channels_of_the_input_are_balanced():
    loud = np.geomspace(1, 100, 8).astype(np.float32)
    data, unseen = samples(8, loud=loud), samples(8, loud=loud, seed=1)
    config = "batch_num : 4"
    plain = calibrant.quantize(product(loud), config, data, refine=True, equalize=False)
    found = calibrant.quantize(product(loud), config, data, refine=True)
    assert strengths(found) == [STRENGTH] and strengths(plain) == [None] and not found.options["equalize"]
    assert dict(found.plan.layers[0].sources)["balancer"] == "refine"
    assert error(found, unseen) < error(plain, unseen) / 4
    written = f"{config} common_config {{ dmq_balancer {{ migration_strength : {STRENGTH} }} }}"
    same = calibrant.quantize(product(loud), written, data, refine=True)
    assert same.fakequant.graph_def() == found.fakequant.graph_def()


@pytest.mark.parametrize(("export", "wanted"), [((), STRENGTH), (("ascend",), STRENGTH), (("tflite",), None)])
def test_products_in_float_between_integer_operators_have_to_be_worth_it(export, wanted, monkeypatch):
    monkeypatch.setattr(channels, "WORTH_A_PRODUCT", 1e-9)
    loud = np.geomspace(1, 100, 8).astype(np.float32)
    found = calibrant.quantize(product(loud), "batch_num : 4", samples(8, loud=loud), refine=True, export=export)
    assert strengths(found) == [wanted]


def behind_elu(loud):
    """Two products; nothing absorbs factors in front of the second, which reads channels of different sizes."""
    sketch = Sketch()
    weights = sketch.constant("first/weights", sketch.values(4, 8) * loud)
    elu = sketch.node("Elu", "elu", sketch.node("MatMul", "first", sketch.input(4), weights))
    return sketch.graph(sketch.node("MatMul", "second", elu, sketch.constant("second/weights", sketch.values(8, 4))))


@pytest.mark.parametrize(("export", "wanted"), [((), STRENGTH), (("tflite",), None)])
def test_what_was_an_integer_before_it_is_divided_gains_nothing(export, wanted, monkeypatch):
    monkeypatch.setattr(channels, "SMALL_ERROR", 0)
    loud = np.geomspace(1, 100, 8).astype(np.float32)
    found = calibrant.quantize(behind_elu(loud), "batch_num : 4", samples(4), refine=True, export=export)
    assert strengths(found)[1] == wanted


def test_even_channels_stay():
    found = calibrant.quantize(uneven(1.0), "batch_num : 4", samples(3, 3, 4), refine=True)
    assert not found.options["equalize"] and strengths(found) == [None, None]


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_decide_nothing(count):
    data = [batch[: 8 // count] for batch in samples(3, 3, 4, count=count)]
    found = calibrant.quantize(uneven(), PER_TENSOR.replace("4", str(count)), data, refine=True)
    assert not found.options["equalize"]


def test_a_balancer_of_the_configuration_is_kept():
    loud = np.geomspace(1, 100, 8).astype(np.float32)
    written = "batch_num : 4 common_config { dmq_balancer { migration_strength : 0.3 } }"
    found = calibrant.quantize(product(loud), written, samples(8, loud=loud), refine=True)
    assert [round(strength, 6) for strength in strengths(found)] == [0.3]


def test_without_refine_nothing_is_decided():
    found = calibrant.quantize(uneven(), PER_TENSOR, samples(3, 3, 4))
    assert not found.options["equalize"] and strengths(found) == [None, None]
