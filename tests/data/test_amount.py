"""How much data calibrates, and what is said about it."""

import logging

import numpy as np
import pytest

import calibrant
from calibrant.data.amount import DataUse, data_warnings, part_sentence, used_sentence
from calibrant.data.open_data import InputSpec, open_data
from calibrant.errors import DataError
from graphs import dense, graph_def, numbers, placeholder, small_network, tf

MODEL = graph_def(small_network)
X = InputSpec("x", (None, 4), np.float32)


def quantized(data, config=None, **options):
    result = calibrant.quantize(MODEL, config, data, **options)
    return result.data.batches, result.data.samples, result.data.available, result.plan.batch_num


def of_batches(count, size):
    return (numbers(size, 6, 6, 2, seed=seed) for seed in range(count))


@pytest.mark.parametrize(
    ("config", "samples", "expected"),
    [
        (None, None, (4, 64, 1000, 4)),
        ("joint_quant : true", None, (1, 16, 1000, 1)),
        ("batch_num : 3", None, (3, 48, 1000, 3)),
        ("batch_num : 3", 100, (7, 112, 1000, 7)),
        (None, "all", (63, 1000, 1000, 63)),
        (None, 5000, (63, 1000, 1000, 63)),
    ],
)
def test_arrays(config, samples, expected):
    assert quantized(numbers(1000, 6, 6, 2), config, samples=samples) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (lambda: of_batches(40, 4), (16, 64, None, 16)),
        (lambda: of_batches(3, 4), (3, 12, None, 3)),
        (lambda: list(of_batches(40, 16)), (4, 64, None, 4)),
        (lambda: list(numbers(100, 6, 6, 2)), (4, 64, 100, 4)),
        (lambda: iter(numbers(100, 6, 6, 2)), (4, 64, None, 4)),
    ],
    ids=["generator", "short generator", "list", "list of samples", "generator of samples"],
)
def test_iterables(data, expected):
    assert quantized(data()) == expected


def test_it_is_said(caplog):
    with caplog.at_level(logging.INFO, "calibrant"):
        calibrant.quantize(MODEL, data=numbers(1000, 6, 6, 2))
    assert "using 64 of 1,000 samples; --samples / batch_num for more" in caplog.messages


def test_all_and_unknown_amounts():
    assert used_sentence(12, 12, "x") == "using all 12 samples"
    assert part_sentence(range(2), 4, 1064) == "using batches 0:2 of the 4 that hold 1,064 samples"
    assert part_sentence(range(2, 4), None, None) == "using batches 2:4"
    assert used_sentence(12, None, "the generator").startswith("using 12 samples of the generator")


@pytest.mark.parametrize("samples", [0, -1, "some", 1.5, True])
def test_nonsense_is_refused(samples):
    with pytest.raises(DataError, match="samples is (.|\n)*allowed: a whole number above 0"):
        calibrant.quantize(MODEL, data=numbers(4, 6, 6, 2), samples=samples)


@pytest.mark.parametrize(
    ("used", "low", "high", "picture", "told"),
    [
        (31, -1, 1, False, "31 samples calibrate"),
        (32, 0.5, 0.5, False, "every value of input 'x' is 0.5"),
        (32, 0, 65025, True, "check scale, mean and std"),
        (32, 0, 0.0039, True, "scaled twice"),
        (32, 1e9, 1.0001e9, False, "nearly constant beside their size"),
        (32, -3e7, 3e7, False, "far larger than features"),
        (32, 0, 255, True, None),
        (32, -2.2, 2.7, True, None),
        (32, -3e-6, 3e-6, False, None),
        (32, -32768, 32767, False, None),
    ],
)
def test_warnings(used, low, high, picture, told):
    found = data_warnings(used, {"x": (low, high)}, {"x": picture})
    assert (told is None and not found) or (len(found) == 1 and told in found[0])


def test_warnings_reach_the_report():
    result = calibrant.quantize(MODEL, data=np.zeros((16, 6, 6, 2), np.float32))
    text = "\n".join(result.report["warnings"])
    assert "16 samples calibrate" in text and "every value of input 'x' is 0" in text


@pytest.mark.parametrize("fixed", [None, 4])
def test_single_samples_are_put_together(fixed):
    samples = list(np.arange(28, dtype=np.float32).reshape(7, 4))
    spec = InputSpec("x", (fixed, 4), np.float32)
    batches = list(open_data(samples, [spec], batch_size=4))
    assert [len(batch["x"]) for batch in batches] == ([4] if fixed else [4, 3])
    np.testing.assert_array_equal(np.concatenate([batch["x"] for batch in batches]), samples[: 4 if fixed else 7])


def test_samples_of_several_shapes_are_refused():
    spec = InputSpec("x", (None, None, 3), np.float32)
    with pytest.raises(DataError, match=r"shapes \[2, 3\] and \[5, 3\]"):
        list(open_data([np.ones((2, 3)), np.ones((5, 3))], [spec]))


def test_datasets_for_training_give_x():
    x, y = numbers(8, 4), np.arange(8)
    for items in ([(x, y)], [(x, y, y)], [((x,), y)], [({"x": x}, y)]):
        (batch,) = open_data(items, [X])
        np.testing.assert_array_equal(batch["x"], x)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_for_several_inputs(kind):
    first, second = numbers(8, 4), np.arange(8, dtype=np.int32)
    specs = [X, InputSpec("y", (None,), np.int32)]
    (batch,) = open_data(kind([first, second]), specs)
    np.testing.assert_array_equal(batch["y"], second)
    (batch,) = open_data([kind([first, second])], specs)
    np.testing.assert_array_equal(batch["y"], second)


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [("imagesize", "image_size"), ("batchsize", "batch_size"), ("sample", "samples"), ("batch_num", "samples=")],
)
def test_misspelt_keywords(keyword, hint):
    with pytest.raises(DataError, match=f"unknown keyword '{keyword}'(.|\n)*{hint}"):
        calibrant.quantize(MODEL, data=numbers(4, 6, 6, 2), **{keyword: 4})


def test_image_options_as_a_dict():
    (batch,) = open_data(np.full((2, 4), 255, np.uint8), [X], image_options={"scale": 1 / 255})
    np.testing.assert_allclose(batch["x"], 1.0)
    with pytest.raises(DataError, match="'sacle' is no image option(.|\n)*'scale'"):
        open_data(np.ones((2, 4)), [X], image_options={"sacle": 1})
    with pytest.raises(DataError, match="mean is {0.5} .*(.|\n)*a list of numbers"):
        open_data(np.ones((2, 4)), [X], image_options={"mean": {0.5}})


def test_nothing_is_said_of_inputs_that_nothing_reads_or_that_are_one_number():
    def build():
        placeholder([None, 3], "unread")
        tf.multiply(dense(placeholder([None, 4])), placeholder([], "factor"), name="out")

    data = {"x": numbers(64, 4), "unread": np.ones([64, 3], np.float32), "factor": np.float32(1.5)}
    inputs = ["x", "unread", "factor"]
    assert not calibrant.quantize(graph_def(build), data=data, inputs=inputs).data.warnings
    constant = data | {"x": np.ones([64, 4], np.float32)}
    [said] = calibrant.quantize(graph_def(build), data=constant, inputs=inputs).data.warnings
    assert said.startswith("every value of input 'x' is 1")


@pytest.mark.parametrize(("queries", "told"), [(1, True), (4, False)])
def test_one_query_beside_many_samples_is_said(queries, told):
    def build():
        query, gallery = (placeholder([size, 4], name) for size, name in ((1, "query"), (None, "gallery")))
        tf.identity(tf.matmul(query, tf.constant(numbers(4, 1))) * gallery, "out")

    batches = [
        {"query": numbers(1, 4, seed=at % queries), "gallery": numbers(8, 4, seed=9 + at)} for at in range(2 * queries)
    ]
    warnings = calibrant.quantize(graph_def(build), data=batches, outputs=["out"]).data.warnings
    assert any("'query', from which alone its range comes" in warning for warning in warnings) is told


TIME_MAJOR = [
    InputSpec("steps", (None, None, 3), np.float32),
    InputSpec("lengths", (None,), np.int32),
    InputSpec("state", (1, None, 2), np.float32),
]


def test_a_batch_with_time_first_has_as_many_samples_as_lengths():
    data = {
        "steps": numbers(20, 64, 3),
        "lengths": np.full(64, 20, np.int32),
        "state": np.zeros((1, 64, 2), np.float32),
    }
    batches = open_data(data, TIME_MAJOR, sample_limit=64)
    [batch] = batches
    assert (batches.samples, batches.available, batches.usage(), batches.samples_in(batch)) == (64, 64, (1, 64), 64)
    use = DataUse.of(batches)
    assert (use.samples, use.repeated, use.warnings) == (64, None, ())


def test_an_initial_state_of_zeros_is_normal_beside_other_inputs():
    state = {"x": (-1.0, 1.0), "state": (0.0, 0.0)}
    assert data_warnings(64, state, {}) == []
    [warning] = data_warnings(64, {"x": (-0.0, -0.0)}, {})
    assert "'x' is 0;" in warning
