"""verify: the files of one result against each other, and what makes it fail."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import calibrant
from calibrant.errors import DataError, ModelError
from calibrant.evaluation import comparison, kernel_steps, result_folder
from calibrant.evaluation.comparison import pair_score
from calibrant.evaluation.comparison_points import comparison_points, require_one_width
from calibrant.evaluation.divergence import OutputDivergence, TensorDivergence
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.evaluation.verification import Limits
from calibrant.evaluation.verify import verify
from calibrant.file_endings import SIMULATION, TFLITE
from calibrant.graph.logits import softmax_input
from calibrant.graph.reading.load import load
from command_line import run
from graphs import dense, graph_def, numbers, placeholder, tf


@pytest.fixture(scope="module")
def demo(repository, tmp_path_factory):
    digits = repository / "examples" / "digits"
    out = tmp_path_factory.mktemp("verify") / "out"
    calibrant.quantize(
        digits / "digits.pb", digits / "quant.cfg", digits / "calibration.npz", out, export="tflite", name="demo"
    )
    return digits, out


def test_the_demo_passes(demo):
    digits, out = demo
    found = verify(out, f"{digits / 'test.npz'}:x", f"{digits / 'test.npz'}:y", model=digits / "digits.pb")
    assert found.passed
    held = next(pair for pair in found.pairs if pair.passed is not None)
    assert (held.share_within, held.agreement) == (1.0, 1.0)
    assert held.divergence is None
    assert all(model.top1 > 0.98 and model.samples == 500 for model in found.models)


@pytest.mark.parametrize("kept", [1 << 28, 1])
def test_models_of_many_weights_run_one_after_the_other(demo, kept, monkeypatch):
    """With the same results, whether all batches are kept for the next model or one."""
    digits, out = demo
    call = {"folder": out, "data": f"{digits / 'test.npz'}:x[:96]", "labels": f"{digits / 'test.npz'}:y[:96]"}
    call |= {"model": digits / "digits.pb", "batch_size": 32}
    expected = verify(**call)
    running, most, started = set(), [], []

    class Counted(comparison.Runner):
        def __init__(self, graph, fetches, **options):
            super().__init__(graph, fetches, **options)
            running.add(id(self))
            most.append(len(running))
            started.append(graph.source)

        def close(self):
            super().close()
            running.discard(id(self))

    monkeypatch.setattr(comparison, "Runner", Counted)
    monkeypatch.setattr(comparison, "KEPT", kept)
    monkeypatch.setattr(result_folder, "LARGE_GRAPH_BYTES", 1000)
    assert verify(**call) == expected
    assert max(most) == 1 and not running
    assert len(started) == 3 * (3 if kept == 1 else 1)


@pytest.mark.parametrize("batch_size", [None, 6, 5])
def test_a_file_of_a_fixed_batch_runs_on_batches_of_any_size(repository, tmp_path, batch_size):
    digits = repository / "examples" / "digits"
    data = f"{digits / 'test.npz'}:x[:50]"
    calibrant.quantize(digits / "digits.pb", "batch_num : 1", data, tmp_path / "any", export="tflite")
    calibrant.quantize(digits / "digits.pb", "batch_num : 1", data, tmp_path / "three", export="tflite", tflite_batch=3)
    any_batch = verify(tmp_path / "any", data, batch_size=batch_size)
    three = verify(tmp_path / "three", data, batch_size=batch_size)
    assert three.passed and three.models[0].samples == 50
    assert three.pairs == any_batch.pairs


def test_an_output_that_is_none_is_refused_without_labels_too(demo):
    digits, out = demo
    with pytest.raises(DataError, match="there is no output 'nosuch'"):
        verify(out, f"{digits / 'test.npz'}:x[:8]", output="nosuch")


@pytest.mark.parametrize("count", [31, 33])
@pytest.mark.parametrize("as_generator", [False, True])
def test_another_number_of_labels_than_samples_is_refused(demo, count, as_generator):
    digits, out = demo
    x, y = (np.load(digits / "test.npz")[name] for name in ("x", "y"))
    data = iter([x[:16], x[16:32]]) if as_generator else x[:32]
    with pytest.raises(DataError, match=f"{count} labels"):
        verify(out, data, y[:count])


def test_labels_of_samples_that_fill_no_fixed_batch_are_left_out_with_them(tmp_path):
    calibrant.quantize(graph_def(lambda: dense(placeholder([16, 8]))), None, numbers(40, 8), tmp_path, export="tflite")
    assert verify(tmp_path, numbers(40, 8), np.zeros(40, int)).models[0].samples == 32
    with pytest.raises(DataError, match="48 labels for 32 samples"):
        verify(tmp_path, numbers(40, 8), np.zeros(48, int))


def test_files_of_two_runs_are_not_compared(repository, tmp_path):
    digits = repository / "examples" / "digits"
    data, call = f"{digits / 'test.npz'}:x[:8]", {"out": tmp_path, "name": "net"}
    calibrant.quantize(digits / "digits.pb", "batch_num : 1", data, **call, export="tflite")
    calibrant.quantize(digits / "digits.pb", "batch_num : 1\nactivation_offset : false", data, **call)
    for check in (verify, calibrant.golden):
        with pytest.raises(ModelError, match=r"net_int8.tflite: is of another run than net_fakequant.pb"):
            check(tmp_path, data)


def test_files_of_two_models_or_data_are_not_compared(tmp_path):
    def network(seed):
        return lambda: tf.identity(dense(placeholder([None, 6]), seed=seed), name="out")

    x, call = numbers(8, 6), {"out": tmp_path, "name": "net"}
    calibrant.quantize(graph_def(network(2)), "batch_num : 1", x, **call, export="tflite")
    assert verify(tmp_path, x).passed
    calibrant.quantize(graph_def(network(3)), "batch_num : 1", x, **call)
    with pytest.raises(ModelError, match="other scales or offsets"):
        verify(tmp_path, x)
    calibrant.quantize(graph_def(network(2)), "batch_num : 1", 2 * x, **call)
    with pytest.raises(ModelError, match="other scales or offsets"):
        verify(tmp_path, x)


@pytest.mark.parametrize("order", [("mask", "x"), ("x", "mask")])
@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("axes", [(), (1,)])
def test_an_input_that_is_no_sample_belongs_to_all(tmp_path, order, batch, axes):
    """A mask of the shape of one sample, and a result that does not count samples."""
    shapes = {"mask": [*axes, 6], "x": [None, 6]}
    data = {"mask": numbers(*axes, 6, seed=3), "x": numbers(20, 6)}

    def network():
        fed = {name: placeholder(shapes[name], name) for name in order}
        y = dense(fed["x"], 6, "first") * fed["mask"]
        tf.identity(dense(y), name="out")
        tf.reduce_mean(y, 0, name="mean")

    out = tmp_path / "out"
    calibrant.quantize(
        graph_def(network), "batch_num : 1", data, out, export="tflite", tflite_batch=batch, outputs=["out", "mean"]
    )
    found = verify(out, data)
    assert found.passed and found.models[0].samples == 20
    calibrant.golden(out, data, samples=4)


@pytest.mark.parametrize("text", ["null", "3", "[]", "not JSON"])
def test_a_configuration_that_holds_no_object_says_nothing_of_scales(demo, tmp_path, text):
    digits, written = demo
    out = shutil.copytree(written, tmp_path / "out")
    (out / "config.json").write_text(text)
    assert verify(out, f"{digits / 'test.npz'}:x").passed


def test_limits_are_limits():
    pair = (SIMULATION, TFLITE)
    apart = divergences([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.3, 1.0]])
    loose = Limits(share_within=0.5, agreement=0.5, file_relative=2)
    assert pair_score(pair, apart, loose, None, False).passed
    for limit in ({"share_within": 0.51}, {"agreement": 0.51}, {"file_relative": 0.5}):
        assert not pair_score(pair, apart, replace(loose, **limit), None, False).passed


@pytest.mark.parametrize("name", ["share_within", "agreement", "relative", "file_relative"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1"])
def test_what_is_no_limit_is_refused(name, value):
    with pytest.raises(DataError, match=f"{name} is (.|\n)*allowed: "):
        Limits(**{name: value})


@pytest.mark.parametrize("option", ["--least-within", "--least-agreement"])
@pytest.mark.parametrize("value", ["99", "nan", "-1", "1.01", "inf"])
def test_what_is_no_share_is_refused_by_the_command(tmp_path, option, value):
    done = run("verify", tmp_path, "--data", "x.npy", option, value)
    assert done.code == 2 and option in done.err and value in done.err


@pytest.mark.parametrize(
    "words",
    [("--outputs", "a"), ("--inputs", "a"), ("--signature", "a"), ("--set", "a=1"), ("--set", "a=1", "--inputs", "b")],
)
def test_options_of_the_float_model_without_one_are_refused(demo, words):
    digits, out = demo
    done = run("verify", out, "--data", f"{digits / 'test.npz'}:x", *words)
    assert done.code == 2 and words[0] in done.err and "--model" in done.err


@pytest.fixture
def strict(monkeypatch):
    """No file keeps to the limits."""
    given = comparison.pair_score

    def scored(*arguments):
        found = given(*arguments)
        return found if found.passed is None else replace(found, passed=False)

    monkeypatch.setattr(comparison, "pair_score", scored)


def test_steps_that_have_grown_pass_where_rounding_costs_as_much(demo, strict):
    digits, out = demo
    found = verify(out, f"{digits / 'test.npz'}:x[:32]")
    assert found.passed and [pair.grown for pair in found.pairs if pair.passed] == [True]
    assert not verify(out, f"{digits / 'test.npz'}:x[:32]", limits=Limits(share_within=1.0)).passed


def test_an_operator_beside_its_formula_does_not_pass(demo, strict, monkeypatch):
    digits, out = demo
    given = kernel_steps.run_file

    def moved(*arguments):
        values = given(*arguments)
        return {
            index: found + found.dtype.type(3) if found.dtype == np.int8 else found for index, found in values.items()
        }

    monkeypatch.setattr(kernel_steps, "run_file", moved)
    assert not verify(out, f"{digits / 'test.npz'}:x[:32]").passed


def test_a_file_that_was_changed_does_not_pass_beyond_the_limits(demo, strict, tmp_path, monkeypatch):
    """Its operators compute what they should of what they read, but it is not the file that was simulated."""
    from calibrant.emit.tflite.flatbuffer import File

    digits, out = demo
    for path in out.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = File((out / "demo_int8.tflite").read_bytes())
    dense = next(operator for operator in file.operators() if operator.name == "FULLY_CONNECTED")
    dense.read(1).set_values(np.negative(dense.read(1).values))
    (tmp_path / "demo_int8.tflite").write_bytes(file.content())
    monkeypatch.setattr(comparison, "no_worse_than_rounding", lambda *divergences: True)
    assert not verify(tmp_path, f"{digits / 'test.npz'}:x[:32]").passed
    assert verify(out, f"{digits / 'test.npz'}:x[:32]").passed


def test_a_file_that_cannot_be_simulated_does_not_pass_beyond_the_limits(demo, strict, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("no such tensor")

    digits, out = demo
    monkeypatch.setattr(kernel_steps, "run_file", refuse)
    assert not verify(out, f"{digits / 'test.npz'}:x[:32]").passed


def divergences(first, second):
    found = OutputDivergence([0.1])
    found.update([np.float32(first)], [np.float32(second)])
    return found


def test_kernels_may_change_outputs_as_much_as_rounding_does():
    exact, rounded, parted, far = [[0, 1.0]], [[0.1, 1.1]], [[0.0, 1.1]], [[0.9, 0.2]]
    rounding = divergences(exact, rounded)
    assert kernel_steps.no_worse_than_rounding(divergences(rounded, parted), rounding, Limits())
    assert not kernel_steps.no_worse_than_rounding(divergences(rounded, far), rounding, Limits())
    assert not kernel_steps.no_worse_than_rounding(divergences(rounded, [[np.nan, 1.1]]), rounding, Limits())


def test_a_changed_file_is_noticed_with_its_layer(demo, tmp_path):
    from calibrant.emit.tflite.flatbuffer import File

    digits, out = demo
    for path in out.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = File((out / "demo_int8.tflite").read_bytes())
    depthwise = next(operator for operator in file.operators() if operator.name == "DEPTHWISE_CONV_2D")
    depthwise.inputs[1].set_values(np.roll(depthwise.inputs[1].values, 1))
    (tmp_path / "demo_int8.tflite").write_bytes(file.content())
    found = verify(tmp_path, f"{digits / 'test.npz'}:x[:32]")
    assert not found.passed
    assert next(pair.divergence for pair in found.pairs if pair.passed is False).layer == "digits_1/relu2_1/Relu6"


def test_exit_codes_and_json(demo, strict):
    digits, out = demo
    data = f"{digits / 'test.npz'}:x[:32]"
    done = run("verify", out, "--data", data, "--json")
    assert done.code == 0
    assert json.loads(done.out)["passed"] is True
    assert run("verify", out, "--data", data, "--least-within", "100%").code == 1


def test_a_folder_without_results_is_an_error(tmp_path):
    with pytest.raises(calibrant.ModelError, match="none found"):
        verify(tmp_path, np.zeros((2, 8, 8, 1), np.float32))


def test_steps_are_counted():
    divergence = TensorDivergence(step=0.5)
    divergence.update(np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([[0.5, 1.0], [3.0, 2.0]]))
    assert (divergence.share_within, divergence.share_equal, divergence.largest, divergence.agreement) == (
        0.75,
        0.5,
        6.0,
        0.5,
    )


def test_scales_rounded_for_the_simulation_alone_are_shown_but_not_held_against_the_lowered_model(repository, tmp_path):
    digits = repository / "examples" / "digits"
    for mode, held in (("", True), ("fakequant_precision_mode : FORCE_FP16_QUANT", False)):
        out = tmp_path / str(held)
        config = f"batch_num : 1\n{mode}"
        calibrant.quantize(digits / "digits.pb", config, digits / "calibration.npz", out, export="ascend")
        (pair,) = verify(out, f"{digits / 'test.npz'}:x[:32]").pairs
        assert pair.second == "lowered" and (pair.passed is not None) == held
        assert (pair.relative == 0) == held


def several():
    """Two inputs, not in the order the outputs need them in; two outputs of different reach."""
    one, two = placeholder([None, 6], "z"), placeholder([None, 4], "a")
    joined = tf.nn.relu(dense(two, 8, "first") * 0.01, name="joined")
    dense(tf.concat([one, joined], 1), 5, "second", seed=7)


@pytest.mark.parametrize("outputs", [["joined", "second/bias"], ["second/bias", "joined"]])
def test_several_inputs_and_outputs(outputs, tmp_path):
    data = {"z": numbers(64, 6, seed=1), "a": numbers(64, 4, seed=2)}
    model = graph_def(several)
    calibrant.quantize(
        model, "batch_num: 4", data, tmp_path, inputs=["z", "a"], outputs=outputs, export="tflite,ascend", name="net"
    )
    found = verify(tmp_path, data, model=model, inputs=["z", "a"], outputs=outputs)
    assert found.passed
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    assert pairs["fake-quantized between layers too", "TFLite"].share_within >= 0.99
    assert pairs["fake-quantized", "lowered"].relative == 0
    assert pairs["float", "fake-quantized"].relative < 0.1
    assert [score.samples for score in found.models] == [64] * 5


def test_labels_by_the_name_of_an_output(tmp_path):
    data = {"z": numbers(64, 6, seed=1), "a": numbers(64, 4, seed=2)}
    ends = {"inputs": ["z", "a"], "outputs": ["joined", "second/bias"]}
    calibrant.quantize(graph_def(several), "batch_num: 4", data, tmp_path, **ends, export="ascend", name="net")
    labels = np.arange(64) % 5
    by_name = verify(tmp_path, data, {"second/bias": labels})
    assert by_name == verify(tmp_path, data, labels, output="second/bias")
    np.savez(tmp_path / "y.npz", **{"joined": np.arange(64) % 8, "second/bias": labels})
    with np.load(tmp_path / "y.npz") as both:
        with pytest.raises(
            DataError, match="belong to 'joined', 'second/bias'\\n(.|\\n)*choose one of them with --output"
        ):
            verify(tmp_path, data, both)
        assert verify(tmp_path, data, both, output="second/bias") == by_name
    with pytest.raises(DataError, match="belong to 'second/bias', not to 'joined'"):
        verify(tmp_path, data, {"second/bias": labels}, output="joined")


def test_each_output_is_counted_in_its_own_steps():
    divergences = OutputDivergence([0.5, 0.01])
    divergences.update([np.array([[0.0, 1.0]]), np.array([[0.0]])], [np.array([[0.5, 1.0]]), np.array([[0.05]])])
    assert (divergences.share_within, divergences.share_equal, divergences.agreement) == (2 / 3, 1 / 3, 1.0)
    assert divergences.largest == pytest.approx(5)
    assert divergences.relative == pytest.approx(0.5)


def score(first, second, step=None):
    """Whether a LiteRT file with these outputs passes beside its simulation."""
    divergence = OutputDivergence([step])
    divergence.update([np.asarray(first, float)], [np.asarray(second, float)])
    return pair_score(("_int8_fakequant.pb", "_int8.tflite"), divergence, Limits(), None, False).passed


@pytest.mark.parametrize("steps", [(None, 0.1), (0.1, None), (0.1, 0.1)])
def test_every_output_that_has_codes_keeps_to_the_limit(steps):
    equal, apart = np.tile([0.5, 0.0], (1000, 50)), np.tile([0.5, 0.0], (100, 1))
    divergence = OutputDivergence(steps)
    other = apart.copy()
    other[:5, 1] += 0.2
    pair = [equal, apart] if steps[1] else [apart, equal]
    divergence.update(pair, [equal, other] if steps[1] else [other, equal])
    found = pair_score(("_int8_fakequant.pb", "_int8.tflite"), divergence, Limits(), None, False)
    assert not found.passed and found.step == 0.1
    assert found.share_within == (0.975 if None in steps else 1 - 5 / 100_200)


def test_one_column_cannot_pass_by_agreement_alone():
    assert score([[1.0], [2.0]], [[1.0], [2.0]])
    assert not score([[1.0], [2.0]], [[1.0], [3.0]])


def test_equal_top_1_with_other_numbers_does_not_pass():
    assert not score([[0.0, 1.0]] * 300, [[0.0, 109.0]] * 300)


def test_two_steps_are_allowed_where_the_outputs_are_few_steps_large():
    assert score([[0.5, 0.0]] + [[0.0, 0.0]] * 99, [[0.5, 0.1]] + [[0.0, 0.0]] * 99, step=0.05)
    assert not score([[0.5, 0.0]] + [[0.0, 0.0]] * 99, [[0.5, 0.2]] + [[0.0, 0.0]] * 99, step=0.05)


def test_softmax_is_found_through_identity_n_and_reshape():
    def network():
        logits = dense(placeholder([None, 6], "x"), 4, "logits")
        probabilities = tf.nn.softmax(logits, name="probabilities")
        first, _ = tf.raw_ops.IdentityN(input=[probabilities, logits], name="both")
        tf.reshape(first, [-1, 2, 2], name="shaped")

    graph = load(graph_def(network), outputs=["shaped"])
    assert softmax_input(graph, "shaped:0").startswith("logits")
    assert softmax_input(load(graph_def(network), outputs=["both:1"]), "both:1") is None


def test_models_are_compared_at_one_point_of_all():
    def plain():
        tf.nn.softmax(dense(placeholder([None, 6], "x"), 4, "logits"), name="out")

    def hidden():
        tf.identity(tf.nn.softmax(dense(placeholder([None, 6], "x"), 4, "logits")) ** 1.0, name="out")

    one, other = (load(graph_def(build), outputs=["out"]) for build in (plain, hidden))
    assert comparison_points({"a": one, "b": one})["a"].graph[0].startswith("logits")
    assert comparison_points({"a": one, "b": other})["a"].graph == ("out:0",)


def test_an_output_without_samples_is_compared(tmp_path):
    def build():
        tf.identity(dense(placeholder([None, 6])), "scores")
        tf.identity(tf.constant([1.0, 2.0, 3.0]), "other")

    model, data = graph_def(build), numbers(16, 6)
    outputs = ["scores", "other"]
    calibrant.quantize(model, None, data, tmp_path, outputs=outputs, export="ascend", name="net")
    assert verify(tmp_path, data, model=model, outputs=outputs).passed


def test_outputs_of_strings_alone_are_one_error(tmp_path):
    def build():
        chosen = tf.argmax(dense(placeholder([None, 6])), 1)
        tf.gather(tf.constant(["a", "b", "c"]), chosen, name="out")

    data = numbers(16, 6)
    calibrant.quantize(graph_def(build), None, data, tmp_path, export="ascend", name="net")
    with pytest.raises(DataError, match="net_fakequant.pb: all outputs are strings"):
        verify(tmp_path, data)


def test_an_output_whose_size_depends_on_values_is_named_as_such():
    require_one_width([np.zeros((4, 3)), np.ones((4, 3))])
    with pytest.raises(DataError, match="an output has 2 and 3 values: its size depends on what is in it"):
        require_one_width([np.zeros((4, 3)), np.ones((4, 2))])


def test_a_damaged_lite_file_is_one_error():
    """Cut off, with offsets that lead beyond its end."""
    content = bytearray(100)
    content[:4], content[4:8] = b"\x40\0\0\0", b"TFL3"
    for end in (8, 50, 100):
        with pytest.raises(ModelError, match="damaged LiteRT file"):
            TfliteRunner(bytes(content[:end]), "x.tflite")


@pytest.mark.parametrize("said", [b"[" * 100_000, b"[1]", b"\xff", b""])
def test_what_a_foreign_file_says_of_itself_may_be_anything(demo, said):
    file = TfliteRunner((demo[1] / "demo_int8.tflite").read_bytes()).file.copy()
    file.model.metadata = None
    file.add_metadata("calibrant", said)
    assert TfliteRunner(file.content()).about == {}


def test_a_file_that_computes_as_simulated_but_is_mostly_noise_is_told(tmp_path):
    """A product by hundreds in front of the result: its numbers need more than 8 bits between the layers."""

    def build():
        y = dense(placeholder([None, 8]), 8, name="one")
        total = tf.reduce_sum(y * y * 1e3, 1, keepdims=True)
        tf.identity((total + y) - total, name="out")

    data = numbers(32, 8)
    calibrant.quantize(graph_def(build), data=data, samples="all", out=tmp_path, name="net", export="tflite")
    found = calibrant.verify(tmp_path, data)
    assert found.passed and [pair.sqnr_db < 10 for pair in found.noisy] == [True]
    np.save(tmp_path / "x.npy", data)
    told = run("verify", tmp_path, "--data", tmp_path / "x.npy")
    assert told.code == 0 and "mostly noise" in told.err and "can be deployed" not in told.out
