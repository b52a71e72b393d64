"""Which activations get 16 bits within a budget."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import calibrant
from calibrant.config.plan import is_default
from calibrant.errors import ConfigError, DataError
from calibrant.graph.running.partial_runs import PartialRuns
from calibrant.result import result_files
from calibrant.steps.refining.budget import PARTS, best_within
from command_line import run
from graphs import graph_def, numbers, placeholder, save, tf

ITEMS = st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 1000)), max_size=7)


@given(ITEMS, st.integers(1, 3000))
def test_the_best_choice_is_that_of_trying_all(items, limit):
    values, costs = [value for value, _ in items], [cost for _, cost in items]
    sizes = [-(-cost * PARTS // limit) for cost in costs]
    chosen = best_within(values, costs, limit)
    assert sum(costs[place] for place in chosen) <= limit
    if sum(costs) <= limit:
        assert chosen == list(range(len(items)))
        return
    best = max(
        sum(values[place] for place in some)
        for count in range(len(items) + 1)
        for some in combinations(range(len(items)), count)
        if sum(sizes[place] for place in some) <= PARTS
    )
    assert sum(values[place] for place in chosen) == pytest.approx(best)


def test_without_room_nothing_is_chosen():
    assert best_within([1.0], [1], 0) == []


def network():
    """A narrow layer that reads values with one large outlier, and a wide one that does not."""
    x = placeholder([None, 16])
    y = tf.nn.relu(tf.matmul(x, tf.constant(numbers(16, 64) / 4), name="wide"))
    tf.matmul(y, tf.constant(numbers(64, 2, seed=2) / 8), name="narrow")


DATA = numbers(64, 16, seed=5)
DATA[0, 0] = 8


def quantized(**options):
    return calibrant.quantize(graph_def(network), data=DATA, samples="all", **options)


def bits(result):
    return {layer.layer.name: layer.inputs[0].quantizer.bits for layer in result.network.layers}


def test_what_fits_and_costs_most_gets_16_bits():
    assert bits(quantized(budget=0.0)) == {"wide": 8, "narrow": 8}
    assert bits(quantized(budget=0.2)) == {"wide": 8, "narrow": 16}  # 128 of 1152 products
    assert bits(quantized(budget=0.9)) == {"wide": 16, "narrow": 8}
    result = quantized(budget=1.0)
    assert bits(result) == {"wide": 16, "narrow": 16}
    totals = result.report["totals"]
    assert (totals["wide_layers"], totals["wide_multiply_accumulates"]) == (2, 1152)


BEHIND_INPUTS = {
    "read as it is": lambda x: x,
    "rearranged": lambda x: tf.reshape(tf.reshape(x, [-1, 4, 4]), [-1, 16]),
    "added to": lambda x: tf.nn.relu(x + tf.constant(numbers(16, seed=7))),
    "normalized": lambda x: (x - tf.reduce_mean(x, 1, keepdims=True)) * tf.constant(numbers(16, seed=8)),
    "a loop": lambda x: tf.transpose(tf.map_fn(tf.tanh, tf.transpose(x))),
    "a shape of it alone": lambda x: tf.reshape(
        tf.reshape(x, tf.stack([tf.shape(x)[0], 4, 4])) + 0.5, tf.stack([tf.shape(x)[0], 16])
    ),
}


@pytest.mark.parametrize("between", BEHIND_INPUTS)
def test_an_int8_input_keeps_8_bits(between):
    def build():
        x = BEHIND_INPUTS[between](placeholder([None, 16]))
        y = tf.nn.relu(tf.matmul(x, tf.constant(numbers(16, 64) / 4), name="wide"))
        y = tf.reshape(y, tf.stack([tf.shape(x)[0], 64]))
        tf.matmul(y, tf.constant(numbers(64, 2, seed=2) / 8), name="narrow")

    options = {"samples": "all", "budget": 1.0, "export": "tflite", "tflite_io": "int8", "outputs": "narrow"}
    result = calibrant.quantize(graph_def(build), data=DATA, **options)
    assert bits(result) == {"wide": 8, "narrow": 16}
    assert any(name.endswith(".tflite") for name in result_files(result))


def test_the_overrides_give_the_same_model_without_a_budget(tmp_path):
    first = quantized(budget=0.9, name="net")
    text = result_files(first)["net_budget.cfg"].decode()
    chosen = (
        "# chosen by calibrant quantize with a budget of 90 % for 16 bits; for quantize --no-refine --no-equalize\n"
    )
    assert text.startswith(chosen)
    again = quantized(config=text)
    assert again.fakequant.serialized() == first.fakequant.serialized()
    assert not any(name.endswith("_budget.cfg") for name in result_files(again))


def test_an_int8_layer_is_as_without_a_budget():
    plain, budgeted = (
        {entry.node: entry.quantizer for entry in quantized(budget=budget).network.every_input()}
        for budget in (None, 0.2)
    )
    assert budgeted["wide"] == plain["wide"] and budgeted["narrow"] != plain["narrow"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--no-refine", "--batch-size", "8"],
        ["--no-refine", "--samples", "24"],
        ["--refine", "--round-weights", "--no-bias-correction"],
        ["--export", "tflite", "--tflite-batch", "8", "--tflite-ops", "layers", "--tflite-dense-per-channel"],
        ["--no-refine", "--equalize", "--config"],
    ],
    ids=" ".join,
)
def test_the_first_line_gives_the_same_files(options, tmp_path):
    model, data = save(graph_def(network), tmp_path / "net.pb"), tmp_path / "data.npy"
    np.save(data, DATA * np.array([30, *15 * [1]], np.float32))
    given = tmp_path / "given.cfg"
    given.write_text("common_config { hfmg_quantize { } }")
    more = [given] if "--config" in options else []
    assert run("quantize", model, "--data", data, "--out", tmp_path / "a", "--budget", "90%", *options, *more).code == 0
    chosen = tmp_path / "a" / "net_budget.cfg"
    again = chosen.read_text().splitlines()[0].partition("for quantize ")[2].split()
    assert run("quantize", model, "--data", data, "--out", tmp_path / "b", "--config", chosen, *again).code == 0
    more = ["net_int8.tflite"] if "tflite" in options else []
    for name in ("record.txt", "net_fakequant.pb", *more):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("refine", [True, False])
def test_the_overrides_give_the_same_tflite(refine):
    def build():
        y = tf.matmul(placeholder([None, 16]), tf.constant(numbers(16, 64) / 4), name="wide")
        y = tf.reshape(tf.nn.relu(tf.reshape(y, [-1, 8, 8])), [-1, 64])
        tf.matmul(y, tf.constant(numbers(64, 2, seed=2) / 8), name="narrow")

    keywords = {"data": DATA, "samples": "all", "export": "tflite", "refine": refine, "equalize": False}
    first = calibrant.quantize(graph_def(build), budget=0.2, name="net", **keywords)
    again = calibrant.quantize(graph_def(build), result_files(first)["net_budget.cfg"].decode(), name="net", **keywords)
    assert bits(first) == {"wide": 8, "narrow": 16}
    assert first.network.intermediate == again.network.intermediate
    first_file, file = ({**each.report["exports"]["tflite"]} for each in (first, again))
    assert first_file == file


@pytest.mark.parametrize("export", ["tflite", "tflite,ascend"])
def test_the_overrides_give_the_same_files_where_16_bits_meet_8(export, tmp_path):
    """The gate is in float for ``narrow``, while integers read it too: with 8 bits alone its kernel has a scale."""

    def build():
        x = placeholder([None, 16])
        gate = tf.sigmoid(tf.matmul(x, tf.constant(numbers(16, 64, seed=3) / 8)), name="gate")
        value = tf.nn.relu(tf.matmul(x, tf.constant(numbers(16, 64) / 4)))
        other = tf.nn.relu(tf.matmul(x, tf.constant(numbers(16, 64, seed=4) / 4)))
        tf.matmul(gate * value, tf.constant(numbers(64, 2, seed=2) / 8), name="narrow")
        tf.matmul(gate * other, tf.constant(numbers(64, 64, seed=6) / 64), name="wide")

    keywords = {"data": DATA, "batch_size": 16, "samples": "all", "export": export, "name": "net", "equalize": False}
    keywords["outputs"] = ["narrow", "wide"]
    first = calibrant.quantize(graph_def(build), None, out=tmp_path / "a", budget=0.03, **keywords)
    again = calibrant.quantize(graph_def(build), tmp_path / "a" / "net_budget.cfg", out=tmp_path / "b", **keywords)
    assert [name for name, count in bits(first).items() if count == 16] == ["narrow"]
    assert "gate:0" in first.network.intermediate
    assert first.report["data_check"] == again.report["data_check"]
    for made in (name for name in result_files(again) if name.startswith("net_")):
        assert (tmp_path / "a" / made).read_bytes() == (tmp_path / "b" / made).read_bytes()


@pytest.mark.parametrize("budget, hint", [(-0.1, ""), (25, "0.25 for 25 %"), (float("nan"), "")])
def test_a_share_that_is_none(budget, hint):
    with pytest.raises(ConfigError, match="a budget of") as error:
        quantized(budget=budget)
    assert hint in str(error.value)


def test_progress_is_that_of_the_work(monkeypatch):
    steps = []

    def track(items, description, total):
        for item in items:
            yield item
            steps.append(description)

    exchanged = PartialRuns.exchanged
    monkeypatch.setattr(PartialRuns, "exchanged", lambda *given: steps.append("work") or exchanged(*given))
    quantized(budget=0.9, track=track)
    first = steps.index("budget")
    assert "work" in steps[:first] and "work" in steps[first:]


def test_data_that_can_be_read_once():
    with pytest.raises(DataError, match="the budget needs them again"):
        calibrant.quantize(graph_def(network), data=iter([DATA]), budget=0.5)


@pytest.mark.parametrize(("refine", "option"), [(True, "--refine "), (None, "")])
def test_the_overrides_give_the_same_refined_model(refine, option):
    loud = DATA * [30, *15 * [1]]
    keywords = {"data": loud.astype(DATA.dtype), "samples": "all", "refine": refine}
    first = calibrant.quantize(graph_def(network), budget=0.9, name="net", **keywords)
    text = result_files(first)["net_budget.cfg"].decode()
    assert text.splitlines()[0].endswith(f"; for quantize {option}--no-equalize")
    assert first.network.layers[0].layer.name in text
    again = calibrant.quantize(graph_def(network), text, equalize=False, **keywords)
    assert again.fakequant.serialized() == first.fakequant.serialized()


def test_ranges_of_balanced_layers_are_refined_by_default_again():
    loud = np.geomspace(1, 64, 16).astype(np.float32)

    def uneven():
        y = tf.nn.relu(tf.matmul(placeholder([None, 16]), tf.constant(numbers(16, 64) / loud[:, None]), name="wide"))
        tf.matmul(y, tf.constant(numbers(64, 2, seed=2)), name="narrow")

    data = np.random.default_rng(0).standard_t(2, (64, 16)) * loud
    keywords = {"data": data.astype(np.float32), "refine": None}
    first = calibrant.quantize(graph_def(uneven), budget=0.2, name="net", **keywords)
    text = result_files(first)["net_budget.cfg"].decode()
    again = calibrant.quantize(graph_def(uneven), text, equalize=False, **keywords)
    (wide,) = [entry for entry in again.plan.layers if entry.name == "wide"]
    assert wide.migration_strength and is_default(wide)
    assert again.fakequant.serialized() == first.fakequant.serialized()
