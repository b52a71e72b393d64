"""Several models on the same data, side by side."""

from __future__ import annotations

import numpy as np
import pytest

import calibrant
from calibrant.errors import ModelError
from graphs import conv, dense, graph_def, numbers, placeholder, save, small_network, tf

DATA = numbers(40, 6, 6, 2)


def fixed(batch, name="x"):
    """small_network with a fixed batch."""

    def build():
        x = placeholder([batch, 6, 6, 2], name)
        tf.identity(dense(tf.reshape(conv(x), [-1, 144])), name="out")

    return graph_def(build)


@pytest.fixture(scope="module")
def quantized():
    return calibrant.quantize(graph_def(small_network), data=DATA)


@pytest.fixture(scope="module")
def labels(quantized):
    from calibrant.graph.running.run import run_once

    return run_once(quantized.original, {"x": DATA})[0].argmax(-1)


def test_accuracy_and_agreement(quantized, labels):
    first, second = calibrant.evaluate([quantized.original, quantized.fakequant], DATA, labels, names=["float", "INT8"])
    assert (first.name, second.name) == ("float", "INT8")
    assert first.top1 == 1.0 and first.samples == second.samples == 40
    assert second.top1 == second.agreement > 0.9
    assert second.mse > 0 and 0.99 < second.cosine <= 1


@pytest.mark.parametrize("size", [1, 7, 16, 40, 100])
def test_the_batch_size_does_not_matter(quantized, labels, size):
    scores = calibrant.evaluate([quantized.original, quantized.fakequant], DATA, labels, batch_size=size)
    assert scores[0].top1 == 1.0 and scores[1].samples == 40


def test_models_with_fixed_batches_beside_others(labels):
    """All are run with the batch that one of them asks for."""
    scores = calibrant.evaluate([fixed(None), fixed(8), fixed(None)], DATA, labels)
    assert [score.samples for score in scores] == [40] * 3 and scores[1].mse < 1e-10
    with pytest.raises(calibrant.DataError, match="8 and 4|4 and 8"):
        calibrant.evaluate([fixed(8), fixed(4)], DATA)


def test_samples_that_do_not_fill_a_fixed_batch_are_left_out_with_their_labels(labels):
    (score,) = calibrant.evaluate([fixed(16)], DATA, labels)
    assert score.samples == 32


@pytest.mark.parametrize("count", [39, 41, 0])
def test_another_number_of_labels(quantized, count):
    with pytest.raises(calibrant.DataError, match="label"):
        calibrant.evaluate([quantized.original], DATA, np.zeros(count, int))
    with pytest.raises(calibrant.DataError, match="label"):
        calibrant.evaluate([quantized.original], iter(np.split(DATA, 4)), np.zeros(count, int))


def test_masked_labels_are_no_labels(quantized, labels):
    masked = np.ma.masked_array(labels, labels == labels[0])
    with pytest.raises(calibrant.DataError, match="labels are masked"):
        calibrant.evaluate([quantized.original], DATA, masked)
    filled = masked.filled(255)
    [score] = calibrant.evaluate([quantized.original], DATA, filled, ignore_labels=[255])
    assert score.samples == masked.count()


def test_another_number_of_labels_shows_before_anything_runs(quantized):
    def track(batches, *_):
        pytest.fail("a model was run")

    with pytest.raises(calibrant.DataError, match="41 labels for 40 samples"):
        calibrant.evaluate([quantized.original], DATA, np.zeros(41, int), track=track)


def test_data_that_can_be_read_once(quantized, labels):
    scores = calibrant.evaluate([quantized.original, quantized.fakequant], iter(np.split(DATA, 4)), labels)
    assert [score.samples for score in scores] == [40, 40]
    with pytest.raises(calibrant.DataError, match="different types or shapes"):
        calibrant.evaluate([quantized.original, fixed(8)], iter(np.split(DATA, 5)), labels)


def test_a_dataset_that_is_shuffled_anew_gives_all_models_the_same_samples_and_its_labels(quantized, labels):
    pairs = tf.data.Dataset.from_tensor_slices((DATA, labels)).shuffle(40)
    for dataset in (pairs, pairs.batch(7)):
        first, second = calibrant.evaluate([quantized.original, quantized.fakequant], dataset)
        assert first.top1 == 1.0 and second.agreement > 0.9 and second.sqnr_db > 20


def test_models_whose_inputs_have_other_names():
    scores = calibrant.evaluate([fixed(None), fixed(None, "image")], DATA)
    assert scores[1].mse == 0
    assert calibrant.evaluate([fixed(None), fixed(None, "image")], {"x": DATA})[1].mse == 0
    with pytest.raises(calibrant.DataError, match="'other'"):
        calibrant.evaluate([fixed(None), fixed(None, "image")], {"other": DATA})


def test_first_sizes_that_differ_are_no_batch():
    def build():
        nodes, edges = placeholder([6, 4], "x"), placeholder([9], "edges", tf.int32)
        summed = tf.math.unsorted_segment_sum(tf.gather(nodes, edges), edges, 6)
        tf.identity(dense(nodes + summed), name="out")

    edges = np.random.default_rng(1).integers(0, 6, (5, 9)).astype(np.int32)
    [found] = calibrant.evaluate([graph_def(build)], {"x": numbers(5, 6, 4), "edges": edges})
    assert found.samples == 5


def test_outputs_of_other_shapes():
    def build():
        tf.identity(conv(placeholder([None, 6, 6, 2])), name="out")

    with pytest.raises(calibrant.DataError, match="compared"):
        calibrant.evaluate([fixed(None), graph_def(build)], DATA)


def test_no_models():
    with pytest.raises(calibrant.ModelError, match="at least one"):
        calibrant.evaluate([], DATA)


def test_a_cut_model_and_its_quantized_one_with_the_same_inputs(tmp_path):
    def build():
        chunks = tf.split(placeholder([None, 6]), 2, axis=1, name="split")
        tf.add(dense(chunks[0], name="a"), dense(chunks[1], name="b"), name="out")

    model = save(graph_def(build), tmp_path / "model.pb")
    names = ["split:0", "split:1"]
    data = [numbers(16, 3), numbers(16, 3, seed=4)]
    result = calibrant.quantize(model, data=[tuple(data)], inputs=names, out=tmp_path / "out")
    scores = calibrant.evaluate([model, result.files[0]], [tuple(data)], inputs=names)
    assert scores[1].sqnr_db > 20


def test_a_cut_model_and_the_files_made_of_it(tmp_path):
    """One is called ``split_input_0``, the results of the other are those of the ``.tflite``."""

    def build():
        chunks = tf.split(placeholder([None, 6]), 2, axis=1, name="split")
        tf.add(dense(chunks[0], name="a"), dense(chunks[1], name="b"), name="out")
        tf.identity(tf.nn.relu(placeholder([None, 2], "z")), name="other")

    model, data = save(graph_def(build), tmp_path / "model.pb"), [numbers(16, 3), numbers(16, 3, seed=4)]
    options = {"inputs": ["split:0", "split:1"], "outputs": ["out"]}
    calibrant.quantize(model, data=[tuple(data)], out=tmp_path / "out", export="tflite", **options)
    files = [tmp_path / "out" / f"model_{end}.pb" for end in ("fakequant", "int8_fakequant")]
    scores = calibrant.evaluate([model, *files], [tuple(data)], **options)
    assert len(scores) == 3 and all(score.sqnr_db > 20 for score in scores[1:])
    with pytest.raises(ModelError, match="no node 'nowhere'"):
        calibrant.evaluate([model, *files], [tuple(data)], inputs=options["inputs"], outputs=["nowhere"])
    with pytest.raises(ModelError, match="'other'"):  # it has another number of outputs, so it is not taken for them
        calibrant.evaluate(
            [model, files[1]],
            {"split:0": data[0], "split:1": data[1], "z": numbers(16, 2)},
            inputs=[*options["inputs"], "z"],
            outputs=["out", "other"],
        )


def test_another_model_has_to_have_the_tensors_that_are_named(tmp_path):
    def build(name):
        tf.identity(dense(tf.nn.relu(dense(placeholder([None, 6]), 6, "first"), name=name), 6), name="out")

    models = [save(graph_def(lambda name=name: build(name)), tmp_path / f"{name}.pb") for name in ("hidden", "fused")]
    with pytest.raises(ModelError, match="no node 'hidden'"):
        calibrant.evaluate(models, numbers(16, 6), outputs=["hidden"])


def test_which_output_is_scored(tmp_path):
    def build():
        x = placeholder([None, 6, 6, 2])
        tf.identity(dense(tf.reshape(conv(x), [-1, 144])), name="logits")
        tf.identity(tf.reduce_mean(x, [1, 2, 3]), name="average")

    definition = graph_def(build)
    truth = np.zeros(40, int)
    (score,) = calibrant.evaluate([definition], DATA, truth, outputs=["logits"])
    assert score.top1 is not None
    with pytest.raises(calibrant.DataError, match="one output(.|\n)*logits, average(.|\n)*--output NAME"):
        calibrant.evaluate([definition], DATA, truth, outputs=["logits", "average"])
    rows = calibrant.evaluate([definition], DATA, truth + 2, outputs=["logits", "average"], output="average")
    assert [row.output for row in rows] == ["logits", "average"]
    assert rows[0].top1 is None and rows[1].mae == pytest.approx(2 - DATA.mean((1, 2, 3)).mean(), abs=1e-5)
    rows = calibrant.evaluate(
        [definition], DATA, {"logits": truth, "average": truth + 0.5}, outputs=["logits", "average"]
    )
    assert rows[0].top1 is not None and rows[1].r2 is None and rows[1].mae is not None
    with pytest.raises(calibrant.DataError, match="no output 'logit'(.|\n)*did you mean 'logits'"):
        calibrant.evaluate([definition], DATA, truth, outputs=["logits", "average"], output="logit")
    for labels, output in ((None, "logit"), (None, ""), ({"logits": truth}, "logit")):
        with pytest.raises(calibrant.DataError, match=f"no output '{output}'"):
            calibrant.evaluate([definition], DATA, labels, outputs=["logits", "average"], output=output)


def test_files_of_several_outputs_are_read_with_the_names_and_order_of_the_model(tmp_path):
    def build():
        x = placeholder([None, 6, 6, 2])
        tf.identity(dense(tf.reshape(conv(x), [-1, 144])), name="z_logits")
        tf.identity(tf.reduce_mean(x, [1, 2, 3]), name="a_average")

    model = save(graph_def(build), tmp_path / "model.pb")
    names = ["z_logits", "a_average"]
    result = calibrant.quantize(model, data=DATA, outputs=names, out=tmp_path / "out", export="ascend")
    written = [path for path in result.files if path.name.endswith(("_fakequant.pb", "_quantized.pb"))]
    for path in written:
        first, second, *_ = calibrant.evaluate([path, result.fakequant], DATA)
        assert (first.output, second.output, second.mse) == ("z_logits", "z_logits", 0)


@pytest.fixture(scope="module")
def two_signatures(tmp_path_factory):
    """A SavedModel with two signatures, and the quantized model of the second beside it."""
    folder = tmp_path_factory.mktemp("signatures")
    module = tf.Module()
    kernel = tf.constant(numbers(4, 3))
    spec = tf.TensorSpec([None, 4], tf.float32, "x")
    module.first = tf.function(lambda x: {"y": tf.matmul(x, kernel)}, input_signature=[spec])
    module.second = tf.function(lambda x: {"y": tf.matmul(x, -kernel)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "m"), signatures={"first": module.first, "second": module.second})
    calibrant.quantize(folder / "m", data=numbers(20, 4), signature="second", out=folder / "out")
    return folder


@pytest.mark.parametrize("path", ["m", "m/saved_model.pb"])
def test_the_signature_is_that_of_the_saved_model(two_signatures, path):
    models = [two_signatures / path, two_signatures / "out" / "m_fakequant.pb"]
    _, quantized = calibrant.evaluate(models, numbers(20, 4), signature="second")
    assert quantized.sqnr_db > 20


def test_a_quantized_saved_model_has_another_signature(two_signatures, tmp_path):
    calibrant.quantize(
        two_signatures / "m", data=numbers(20, 4), signature="second", out=tmp_path / "o", export="saved_model"
    )
    models = [two_signatures / "m", tmp_path / "o" / "m_saved_model"]
    _, quantized = calibrant.evaluate(models, numbers(20, 4), signature="second")
    assert quantized.sqnr_db > 20


def test_what_was_set_is_no_placeholder_of_the_quantized_model():
    with tf.Graph().as_default() as graph:
        tf.multiply(dense(placeholder([None, 4])), tf.compat.v1.placeholder(tf.float32, [], "gain"), name="out")
    result = calibrant.quantize(graph, data=numbers(20, 4), constants={"gain": 2.0})
    _, quantized = calibrant.evaluate([graph, result.fakequant], numbers(20, 4), constants={"gain": 2.0})
    assert quantized.sqnr_db > 20
    with pytest.raises(calibrant.ModelError, match="no placeholder 'gian' to be set"):
        calibrant.evaluate([graph, result.fakequant], numbers(20, 4), constants={"gian": 2.0, "gain": 2.0})


def test_a_signature_and_no_saved_model(two_signatures):
    fake = two_signatures / "out" / "m_fakequant.pb"
    for model, message in [
        (fake, "fakequant.pb: only a SavedModel has signatures"),
        (two_signatures / "absent", "absent: there is no such model"),
        (graph_def(small_network), "^only a SavedModel has signatures"),
    ]:
        with pytest.raises(calibrant.ModelError, match=message):
            calibrant.evaluate([model], DATA, signature="second")


def test_each_saved_model_needs_the_signature(two_signatures):
    with pytest.raises(calibrant.ModelError, match="has no signature 'third'"):
        calibrant.evaluate([two_signatures / "m"] * 2, numbers(20, 4), signature="third")


@pytest.mark.parametrize("options", [{"ignore_labels": [3]}, {"label_offset": 1}])
def test_what_reads_labels_without_any_is_said(options, caplog):
    model = graph_def(lambda: tf.identity(dense(placeholder([None, 4])), name="y"))
    calibrant.evaluate(model, numbers(8, 4), **options)
    assert "there are no labels" in caplog.text
    caplog.clear()
    calibrant.evaluate(model, numbers(8, 4), labels=np.arange(8) % 2, **options)
    assert "there are no labels" not in caplog.text
