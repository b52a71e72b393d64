"""Ranges by what they cost at the outputs: where the tensor's own error misleads, and against running everything."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import calibrant
from calibrant.emit.fakequant import fake_quantized
from calibrant.errors import DataError, ModelError, Problem
from calibrant.graph.reading.load import load
from calibrant.graph.running.refed import RefedRunner
from calibrant.graph.running.run import run_once
from calibrant.steps.balancing import channels
from calibrant.steps.refining import range_errors, refine, whole_errors
from calibrant.steps.refining.output_errors import Piece
from calibrant.steps.refining.range_errors import choosing
from calibrant.steps.refining.range_search import ClippingRange, confirmed, search_ranges
from fold.sketch import Sketch
from graphs import dense, graph_def, placeholder, tf
from reports import reproducible

LOUD = 100.0
CONFIG = "batch_num : 2"


def batches_of(*shape, seed=0, loud=1.0):
    """Two batches; the first channel is louder than the others."""
    random = np.random.default_rng(seed)
    data = [random.normal(0, 1, (16, *shape)).astype(np.float32) for _ in range(2)]
    for batch in data:
        batch[..., 0] *= loud
    return data


def two_products(ignored=0.0):
    """x → product → Relu → product, whose first channel of x hardly matters."""
    sketch = Sketch()
    x = sketch.input(8)
    weights = sketch.values(8, 6)
    weights[0] *= ignored
    hidden = sketch.node("Relu", "relu", sketch.node("MatMul", "first", x, sketch.constant("first/weights", weights)))
    return sketch.graph(sketch.matmul(hidden, "second", (6, 4)))


def error(result, data):
    graph = result.original
    reference, outputs = (
        np.concatenate([run_once(g, {graph.input_keys[0]: batch}, list(g.outputs))[0] for batch in data])
        for g in (graph, result.fakequant)
    )
    return float(np.square(reference - outputs, dtype=np.float64).sum())


def ranges(result):
    return {found.place: found.quantizer for found in result.network.every_input()}


def test_a_loud_channel_that_does_not_matter_does_not_set_the_range():
    data, unseen = batches_of(8, loud=LOUD), batches_of(8, loud=LOUD, seed=1)
    plain = calibrant.quantize(two_products(), CONFIG, data)
    moved = calibrant.quantize(two_products(), CONFIG, data, refine=True, equalize=False)
    assert (
        moved.network.layers[0].inputs[0].quantizer.range[1]
        < 0.3 * plain.network.layers[0].inputs[0].quantizer.range[1]
    )
    assert error(moved, unseen) < error(plain, unseen) / 10


def test_the_same_channel_sets_it_where_it_matters():
    data = batches_of(8, loud=LOUD)
    plain = calibrant.quantize(two_products(1.0), CONFIG, data)
    moved = calibrant.quantize(two_products(1.0), CONFIG, data, refine=True, equalize=False)
    assert (
        moved.network.layers[0].inputs[0].quantizer.range[1]
        > 0.6 * plain.network.layers[0].inputs[0].quantizer.range[1]
    )


@pytest.mark.parametrize("algorithm", ["ifmr_quantize { }", "hfmg_quantize { num_of_bins : 1024 }"])
@pytest.mark.parametrize("offset", ["true", "false"])
def test_settings_are_kept(algorithm, offset):
    config = f"{CONFIG} activation_offset : {offset} common_config {{ arq_quantize {{ }} {algorithm} }}"
    result = calibrant.quantize(two_products(), config, batches_of(8, loud=LOUD), refine=True, equalize=False)
    first = result.network.layers[0].inputs[0]
    assert first.unrefined is not None
    if offset == "false":
        assert {quantizer.offset for quantizer in ranges(result).values()} == {0}


def test_readers_of_one_tensor_go_on_sharing_a_quantizer():
    sketch = Sketch()
    x = sketch.input(6, 6, 3)
    both = sketch.node("AddV2", "sum", sketch.conv(x, "left"), sketch.conv(x, "right"))
    result = calibrant.quantize(sketch.graph(both), CONFIG, batches_of(6, 6, 3, loud=9.0), refine=True, equalize=False)
    assert len({ranges(result)[name, 0] for name in ("left", "right")}) == 1


def test_a_joint_group_goes_on_sharing_a_quantizer():
    sketch = Sketch()
    stem = sketch.node("Relu", "stem/relu", sketch.conv(sketch.input(6, 6, 3), "stem", (3, 4)))
    both = sketch.node("AddV2", "sum", sketch.conv(stem, "branch", (4, 4)), stem)
    graph = sketch.graph(sketch.conv(both, "last", (4, 4)))
    result = calibrant.quantize(graph, f"{CONFIG} joint_quant : true", batches_of(6, 6, 3), refine=True, equalize=False)
    members = [found for found in result.network.every_input() if found.group]
    assert [found.node for found in members] == ["branch", "last", "sum", "sum"]
    assert len({found.quantizer for found in members}) == 1


def test_without_gradients_it_equals_running_everything_for_each_candidate(monkeypatch):
    def refuse(*_):
        raise ModelError(Problem("no gradients"))

    monkeypatch.setattr(range_errors, "ExpectedErrors", refuse)
    graph, data = two_products(), batches_of(8, loud=LOUD)
    plain = calibrant.quantize(graph, CONFIG, data)
    network = plain.network
    places = [(layer, found) for layer in network.layers for found in layer.inputs]

    def outputs(candidate, batches):
        key = graph.input_keys[0]
        return np.concatenate([run_once(candidate, {key: batch}, list(candidate.outputs))[0] for batch in batches])

    def measure(candidates, part):
        reference = outputs(network.graph, data).astype(np.float64)
        size = np.linalg.norm(reference[part])
        answers = {}
        for place, quantizers in candidates.items():
            layer, found = places[place]
            errors = []
            for quantizer in quantizers:
                entry = replace(found, search=replace(found.search, quantizer=quantizer))
                alone = replace(layer, inputs=(entry,), weights=None, bias=None)
                changed = outputs(fake_quantized(replace(network, layers=(alone,))), data)
                errors.append(np.linalg.norm(changed - reference, axis=1)[part] / size)
            answers[place] = np.array(errors)
        return answers

    ranges = [ClippingRange(f.search.low, f.search.high) for _, f in places]
    found = search_ranges(ranges, lambda tried: measure(tried, slice(None, 16)))
    slow = confirmed(found, lambda tried: measure(tried, slice(None)))
    assert slow != tuple(ranges)
    moved = calibrant.quantize(graph, CONFIG, data, refine=True, equalize=False)
    found = [entry.inputs[0].search for entry in moved.network.layers]
    assert [(entry.low, entry.high) for entry in found] == [(entry.low, entry.high) for entry in slow]


def test_a_number_of_samples_that_only_nodes_hold_is_told():
    def build():
        x = placeholder([None, 8])
        tf.identity(tf.reshape(dense(x), [16, 3, 1])[: tf.shape(x)[0]], name="out")  # of which no shape tells

    graph, data = load(graph_def(build)), batches_of(8)
    assert calibrant.quantize(graph, CONFIG, data, refine=None).network.layers
    with pytest.raises(ModelError, match="whose nodes hold a number of samples should say so"):
        calibrant.quantize(graph, CONFIG, data, refine=True)
    assert calibrant.quantize(graph, "batch_num : 1", data[:1], refine=True).network.layers


def test_the_plain_network_runs_once_for_both_steps(monkeypatch):
    judged, original, opened = [], whole_errors.fake_quantized_unnamed, []

    def counted(network):
        judged.append(network)
        return original(network)

    class Opened(RefedRunner):
        def __init__(self, *rest):
            opened.append(self)
            super().__init__(*rest)

    monkeypatch.setattr(whole_errors, "fake_quantized_unnamed", counted)
    monkeypatch.setattr(whole_errors, "RefedRunner", Opened)
    monkeypatch.setattr(channels, "SMALL_ERROR", np.inf)
    data = [*batches_of(8, loud=LOUD), *batches_of(8, loud=LOUD, seed=1)]
    found = calibrant.quantize(two_products(), None, data, samples="all", refine=True)
    plain, moved = judged
    assert [entry.unrefined is None for entry in plain.every_input()] == [True, True]
    assert moved.every_input() == found.network.every_input()
    assert len(opened) == 1


def test_outputs_whose_sizes_depend_on_values_are_not_compared():
    def build():
        scores = dense(placeholder([None, 8]), 256)
        tf.boolean_mask(scores, scores > 0.5, name="out")

    graph = load(graph_def(build), outputs="out/GatherV2")
    assert calibrant.quantize(graph, CONFIG, batches_of(8), refine=None).network.layers
    with pytest.raises(ModelError, match="outputs whose sizes depend on values cannot be compared: "):
        calibrant.quantize(graph, None, batches_of(8) * 2, refine=True)


def test_the_same_bytes_each_time(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        calibrant.quantize(
            two_products(), CONFIG, batches_of(8, loud=LOUD), folder, refine=True, equalize=False, name="net"
        )
    first, second = map(reproducible, folders)
    assert first == second


def test_the_record_and_the_report_have_the_moved_range(tmp_path):
    result = calibrant.quantize(
        two_products(), CONFIG, batches_of(8, loud=LOUD), tmp_path, refine=True, equalize=False, export="ascend"
    )
    row = result.report["layers"][0]["inputs"][0]
    assert row["high"] < row["before_refinement"]["high"]
    assert row["signal_to_noise_db"] < row["before_refinement"]["signal_to_noise_db"]
    assert f"scale_d: {row['scale']:.9g}"[:16] in (tmp_path / "record.txt").read_text()


def test_without_asking_nothing_is_moved():
    report = calibrant.quantize(two_products(), CONFIG, batches_of(8, loud=LOUD)).report
    assert "before_refinement" not in report["layers"][0]["inputs"][0]


def test_by_default_only_what_the_configuration_leaves_open_is_moved():
    data = batches_of(8, loud=LOUD)
    quantized = {
        text: calibrant.quantize(two_products(), text, data, refine=None, equalize=False)
        for text in (CONFIG, f"{CONFIG} common_config {{ arq_quantize {{ }} ifmr_quantize {{ }} }}")
    }
    moved, kept = ([entry.unrefined is not None for entry in r.network.every_input()] for r in quantized.values())
    assert moved == [True, False] and kept == [False, False]
    asked = calibrant.quantize(two_products(), CONFIG, data, refine=True, equalize=False)
    assert asked.fakequant.graph_def() == quantized[CONFIG].fakequant.graph_def()
    assert {r.options["refine"] for r in quantized.values()} == {"default"}


@pytest.mark.parametrize("samples", [15, 16])
def test_by_default_few_samples_move_nothing(samples, caplog):
    caplog.set_level(logging.INFO, "calibrant")
    data = np.concatenate(batches_of(8, loud=LOUD))[:samples]
    found = calibrant.quantize(two_products(), None, data, refine=None, batch_size=1)
    assert any(entry.unrefined is not None for entry in found.network.every_input()) == (samples == 16)
    said = "refine: left out, 15 samples of the 16 that it needs; --refine (refine=True) does it all the same"
    assert (said in caplog.messages) == (samples == 15)
    assert found.report["run"].get("refine_left_out") == found.unrefined
    assert found.unrefined == ("15 samples of the 16 that it needs" if samples == 15 else None)


def test_few_samples_are_no_reason_where_refining_was_asked_for_or_nothing_is_open():
    data = np.concatenate(batches_of(8, loud=LOUD))[:15]
    asked = calibrant.quantize(two_products(), None, data, refine=True, batch_size=1)
    assert asked.unrefined is None and any(entry.unrefined is not None for entry in asked.network.every_input())
    config = "batch_num : 15 common_config { arq_quantize { } ifmr_quantize { } }"
    assert calibrant.quantize(two_products(), config, data, refine=None, batch_size=1).unrefined is None


@pytest.mark.parametrize(
    ("config", "samples"), [("common_config { arq_quantize { } ifmr_quantize { } }", 32), ("", 15)]
)
def test_by_default_nothing_runs_where_nothing_can_move(monkeypatch, config, samples):
    monkeypatch.setattr(refine, "RangeErrors", lambda *_: pytest.fail("ran"))
    data = np.concatenate(batches_of(8, loud=LOUD))[:samples]
    calibrant.quantize(two_products(), f"batch_num : {samples} {config}", data, refine=None, batch_size=1)


def test_by_default_data_that_can_be_read_only_once_are_fine():
    data = batches_of(8, loud=LOUD)
    found = calibrant.quantize(two_products(), CONFIG, iter(data), refine=None)
    assert ranges(found) == ranges(calibrant.quantize(two_products(), CONFIG, data))


def test_by_default_candidates_do_not_run_one_by_one(monkeypatch):
    def refuse(*_):
        raise ModelError(Problem("no gradients"))

    monkeypatch.setattr(range_errors, "ExpectedErrors", refuse)
    data = batches_of(8, loud=LOUD)
    found = calibrant.quantize(two_products(), CONFIG, data, refine=None, equalize=False)
    assert ranges(found) == ranges(calibrant.quantize(two_products(), CONFIG, data))


def test_data_that_can_be_read_only_once_are_refused_before_they_are_read():
    def batches():
        pytest.fail("was read")
        yield

    with pytest.raises(DataError, match="only once"):
        calibrant.quantize(two_products(), CONFIG, batches(), refine=True, equalize=False)


@pytest.mark.parametrize(
    ("sizes", "counted"),
    [([64], [32]), ([32, 32], [32]), ([16] * 4, [16, 16]), ([5], [2]), ([1], [1]), ([20, 44], [20, 12])],
)
def test_half_of_the_samples_choose(sizes, counted):
    chosen = choosing([Piece({}, size) for size in sizes])
    assert [piece.counted for piece in chosen] == counted


def test_moved_ranges_that_make_the_whole_network_worse_are_not_kept(monkeypatch):
    data = batches_of(8, loud=LOUD)
    monkeypatch.setattr(refine, "is_better", lambda *errors: False)
    plain = calibrant.quantize(two_products(), CONFIG, data)
    kept = calibrant.quantize(two_products(), CONFIG, data, refine=True, equalize=False)
    assert ranges(kept) == ranges(plain)
