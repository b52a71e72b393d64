"""A tf.Graph calibrated in place: the record of ``calibrant.quantize``, whatever its owner does with the graph."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import calibrant
from calibrant.conversion import ConvertedModels, convert_records
from calibrant.errors import CalibrantError, ConfigError
from calibrant.graph.running.sinks import network_outputs
from calibrant.in_place import InPlaceBalancing, InPlaceCalibration
from calibrant.records.record_file import read_records, write_records
from calibrant.steps.records import layer_records
from graphs import conv, dense, numbers, placeholder, tf

tf1 = tf.compat.v1
BATCHES = np.split(numbers(24, 8, 8, 2, scale=2.0), 3)
CONFIG = "batch_num : 3\n"
BALANCED = CONFIG + "common_config { dmq_balancer { migration_strength : 0.5 } }"


def norm(x, name):
    """A batch norm as frozen graphs have it."""
    channels = x.shape[-1]
    gamma, beta, mean = (numbers(channels, seed=seed, scale=0.2) + start for seed, start in ((5, 1), (6, 0), (7, 0)))
    variance = np.linspace(0.5, 2, channels).astype(np.float32)
    return tf1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False, name=name)[0]


def network():
    """Norms that are folded, a residual addition, a pooling, two outputs, one of them folded itself."""
    x = placeholder([None, 8, 8, 2])
    start = tf.nn.relu(norm(conv(x, 4, name="conv1"), "norm1"), name="relu1")
    inner = tf.nn.relu(norm(conv(start, 4, name="conv2", seed=3), "norm2"), name="relu2")
    added = tf.add(start, norm(conv(inner, 4, name="conv3", seed=4), "norm3"), name="added")
    pooled = tf1.nn.avg_pool(tf.nn.relu(added), [1, 2, 2, 1], [1, 2, 2, 1], "VALID", name="pool")
    norm(conv(pooled, 4, name="conv4", seed=8), "map")
    tf.nn.softmax(dense(tf.reshape(pooled, [-1, 64]), 5, name="fc"), name="scores")


def graph_of(build=network):
    with tf.Graph().as_default() as graph:
        build()
    return graph


def run(graph, batches=BATCHES, fetches=("scores:0", "map:0"), **config):
    with tf1.Session(graph=graph, config=tf1.ConfigProto(**config)) as session:
        return [session.run(list(fetches), {"x:0": batch}) for batch in batches]


def two_networks():
    """Of inputs of their own."""
    dense(placeholder([None, 4], "a"), 3, name="first")
    dense(placeholder([None, 6], "b"), 2, name="second")


def unfused():
    """Options of a session that computes as calibrant does: without TensorFlow's fusions, which change last digits."""
    rewriting = RewriterConfig(remapping=RewriterConfig.OFF)
    return tf1.GraphOptions(rewrite_options=rewriting)


def quantized(config=CONFIG):
    result = calibrant.quantize(graph_of(), config, BATCHES, outputs=["map", "scores"])
    return write_records(layer_records(result.network, result.plan.unfused_layers)), result


@pytest.fixture
def record(tmp_path):
    return tmp_path / "results" / "record.txt"


@pytest.mark.parametrize("settings", ["", "joint_quant : true\n", "do_fusion : false\n", "skip_layers : 'conv2'\n"])
@pytest.mark.parametrize("outputs", [None, ["map", "scores:0"]])
def test_the_record_is_that_of_quantize_byte_for_byte(settings, outputs, record):
    expected, result = quantized(CONFIG + settings)
    graph = graph_of()
    InPlaceCalibration(graph, CONFIG + settings, record, outputs)
    run(graph, graph_options=unfused())
    assert record.read_text() == expected
    converted = convert_records(graph_of(), record, outputs=["map", "scores"], complete=True)
    assert ConvertedModels(converted, "net").fakequant.serialized() == result.fakequant.serialized()


def test_outputs_are_those_of_the_float_network_and_keep_their_names(record):
    before = run(graph_of())
    graph = graph_of()
    tensors = [graph.get_tensor_by_name(name) for name in ("scores:0", "map:0")]
    InPlaceCalibration(graph, CONFIG, record)
    with tf1.Session(graph=graph) as session:
        for batch, expected in zip(BATCHES, before, strict=True):
            for found, wanted in zip(session.run(tensors, {"x:0": batch}), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["conv1:0", "norm1:0", "relu1:0", "conv3:0", "norm3:0", "added:0", "pool:0"])
def test_every_inner_tensor_still_has_its_value_and_does_not_count_as_a_batch(name, record):
    (expected,) = run(graph_of(), BATCHES[:1], [name])
    graph = graph_of()
    calibration = InPlaceCalibration(graph, CONFIG, record)
    (found,) = run(graph, BATCHES[:1], [name])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert calibration.run.missing == 3


def beside(graph, kind):
    """Something that a script adds behind the output, and that is not run."""
    with graph.as_default():
        scores = graph.get_tensor_by_name("scores:0")
        label = tf.argmax(scores, 1)
        total = tf.reduce_mean(scores, 0)
        kinds = {
            "label": lambda: label,
            "accuracy": lambda: tf.reduce_mean(tf.cast(tf.equal(label, tf1.placeholder(tf.int64, [None])), tf.float32)),
            "metric": lambda: tf1.metrics.accuracy(tf1.placeholder(tf.int64, [None], "labels"), label),
            "summary": lambda: tf1.summary.histogram("histogram", scores),
            "print": lambda: tf1.Print(scores, [scores]),
            "assigned": lambda: tf1.assign(tf1.get_variable("held", [5], use_resource=False), total),
            "summed": lambda: tf1.assign_add(tf1.get_variable("sum", [5], use_resource=False), total) / 2,
            "resource": lambda: tf1.get_variable("resource", [5], use_resource=True).assign(total),
        }
        kinds[kind]()


@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("kind", ["label", "accuracy", "metric", "summary", "print", "assigned", "summed", "resource"])
def test_an_output_counts_whatever_is_added_behind_it(kind, resource, record):
    graph = graph_of()
    used = tf1.resource_variables_enabled()
    (tf1.enable_resource_variables if resource else tf1.disable_resource_variables)()
    try:
        beside(graph, kind)
    finally:
        (tf1.enable_resource_variables if used else tf1.disable_resource_variables)()
    InPlaceCalibration(graph, CONFIG, record)
    run(graph, fetches=["scores:0", "map:0"], graph_options=unfused())
    assert record.read_text() == quantized()[0]


@pytest.mark.parametrize("name", ["fc:0", "fc/bias:0", "conv4:0"])
def test_a_run_of_the_last_layer_counts(name, record):
    (expected,) = run(graph_of(), BATCHES[:1], [name])
    graph = graph_of()
    calibration = InPlaceCalibration(graph, CONFIG, record)
    found = run(graph, fetches=[name], graph_options=unfused())[0]
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert calibration.run.is_done
    assert record.read_text() == quantized()[0]


@pytest.mark.parametrize("output", ["scores", "both"])
def test_what_reaches_only_some_layers_does_not_count(output, record):
    graph = graph_of()
    with graph.as_default():
        side = tf.reduce_sum(graph.get_tensor_by_name("relu1:0"), [1, 2, 3], name="side")
        tf.add(tf.reduce_sum(graph.get_tensor_by_name("scores:0"), 1), side, name="both")
    calibration = InPlaceCalibration(graph, CONFIG, record, [output])
    run(graph, fetches=["side:0"])
    assert calibration.run.missing == 3
    run(graph, fetches=["scores:0"])
    assert calibration.run.is_done


def test_observers_pass_data_through_bit_for_bit(record):
    config = CONFIG + "do_fusion : false\n"  # nothing else changes the network then
    options = tf1.GraphOptions()
    options.rewrite_options.disable_meta_optimizer = True  # it puts operations together whose results nobody observes
    before = run(graph_of(), fetches=["scores:0"], graph_options=options)
    graph = graph_of()
    InPlaceCalibration(graph, config, record)
    after = run(graph, fetches=["scores:0"], graph_options=options)
    assert all(np.array_equal(first[0], second[0]) for first, second in zip(before, after, strict=True))


def test_batches_are_counted_until_there_are_enough(record):
    graph = graph_of()
    calibration = InPlaceCalibration(graph, CONFIG, record)
    missing = []
    for batch in BATCHES:
        missing.append((calibration.run.missing, record.exists()))
        run(graph, [batch])
    assert missing == [(3, False), (2, False), (1, False)]
    written = record.read_text()
    run(graph, [100 * BATCHES[0]])
    assert record.read_text() == written == quantized()[0]


def test_several_sessions_at_once(record):
    graph = graph_of()
    InPlaceCalibration(graph, CONFIG, record)
    threads = [threading.Thread(target=run, args=(graph, [batch])) for batch in BATCHES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.read_text() == quantized()[0]


def test_other_things_in_the_graph_are_left_alone(record):
    graph = graph_of()
    with graph.as_default():
        counter = tf1.get_variable("counter", initializer=np.float32(0), use_resource=True)
        label = tf.argmax(graph.get_tensor_by_name("scores:0"), 1, name="label")
        count = counter.assign_add(tf.cast(tf.reduce_sum(label), tf.float32))
        numbers_read = tf1.data.make_one_shot_iterator(tf.data.Dataset.range(3)).get_next()
    InPlaceCalibration(graph, CONFIG, record, ["map", "scores"])
    with tf1.Session(graph=graph) as session:
        session.run(counter.initializer)
        for number, batch in enumerate(BATCHES):
            assert session.run([count, numbers_read], {"x:0": batch})[1] == number
    assert set(read_records(record)) == {"conv1", "conv2", "conv3", "conv4", "pool", "fc"}


def test_a_graph_can_be_calibrated_again(record, tmp_path):
    graph = graph_of()
    InPlaceCalibration(graph, CONFIG + "activation_offset : false\n", tmp_path / "first.txt")
    run(graph)
    InPlaceCalibration(graph, CONFIG, record)
    run(graph)
    assert record.read_text() == quantized()[0]
    assert (tmp_path / "first.txt").read_text() != record.read_text()


@pytest.mark.parametrize("same_graph", [True, False])
def test_balancing_in_place_and_then_calibrating(same_graph, record):
    graph = graph_of()
    InPlaceBalancing(graph, BALANCED, record)
    run(graph)
    assert all(entry.tensor_balance_factor and entry.scale_d is None for entry in read_records(record).values())
    graph = graph if same_graph else graph_of()
    InPlaceCalibration(graph, BALANCED, record)
    before = run(graph_of())
    for found, wanted in zip(run(graph), before, strict=True):
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-3, atol=1e-5)
    assert record.read_text() == quantized(BALANCED)[0]


def test_calibrating_a_balanced_configuration_needs_the_factors(record):
    with pytest.raises(ConfigError, match="have no tensor_balance_factor"):
        InPlaceCalibration(graph_of(), BALANCED, record)
    assert not record.parent.exists()


def test_balancing_nothing_is_an_error(record):
    with pytest.raises(ConfigError, match="no layer is to be balanced"):
        InPlaceBalancing(graph_of(), CONFIG, record)


def test_an_older_record_does_not_survive(record):
    record.parent.mkdir()
    record.write_text("an older one")
    InPlaceCalibration(graph_of(), CONFIG, record)
    assert not record.exists()


def test_a_batch_that_is_not_finite_is_named_and_not_counted(record):
    graph = graph_of()
    calibration = InPlaceCalibration(graph, CONFIG, record)
    bad = BATCHES[1].copy()
    bad[0, 0, 0, 0] = np.nan
    run(graph, BATCHES[:1])
    with pytest.raises(tf.errors.OpError, match="NaN and 0 infinite values in batch 1 at "):
        run(graph, [bad])
    with pytest.raises(tf.errors.OpError, match="(?s)in batch 1 at .*then calibrate anew"):
        run(graph, BATCHES)
    assert calibration.run.missing == 2


@pytest.mark.parametrize("threads", [1, 4])
def test_numbers_that_are_not_finite_are_told_where_they_begin(threads, record):
    graph = graph_of()
    calibration = InPlaceCalibration(graph, CONFIG, record)
    bad = np.tile(BATCHES[0], [64, 1, 1, 1])
    bad[-1, -1, -1, -1] = np.inf
    with pytest.raises(tf.errors.OpError, match="0 NaN and 1 infinite values in batch 0 at 'x'"):
        run(graph, [bad], inter_op_parallelism_threads=threads)
    assert "at 'x'" in str(calibration.run.failure)


@pytest.mark.parametrize(
    "graph, outputs, message",
    [
        (None, None, "the graph is a NoneType"),
        (graph_of(lambda: tf.nn.relu(placeholder([None, 2]))), None, "no layer that can be quantized"),
        (graph_of(), ["nowhere"], "there is no node 'nowhere' to be an output"),
    ],
)
def test_a_graph_that_cannot_be_calibrated_is_left_alone(graph, outputs, message, record):
    before = graph.as_graph_def() if graph is not None else None
    with pytest.raises(CalibrantError, match=message):
        InPlaceCalibration(graph, CONFIG, record, outputs)
    assert graph is None or graph.as_graph_def() == before
    assert not record.parent.exists()


def unrolled_loop():
    """A loop as TensorFlow freezes it in nodes: what its branches wait for has no value."""

    def network_of(x):
        weights = tf.constant(numbers(5, 5, seed=1))
        _, state = tf.while_loop(
            lambda step, _: step < 3, lambda step, state: (step + 1, tf.tanh(tf.matmul(state, weights))), (0, x)
        )
        return tf.matmul(state, tf.constant(numbers(5, 3, seed=2)), name="scores")

    concrete = tf.function(network_of).get_concrete_function(tf.TensorSpec((None, 5), tf.float32, name="x"))
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=True)
    tf1.import_graph_def(frozen.graph.as_graph_def(), name="")
    assert any(operation.type == "Switch" for operation in tf1.get_default_graph().get_operations())


def waiting_branch():
    """A kept node that waits for one without a value, in front of a layer that is folded."""
    x = placeholder([None, 8, 8, 2])
    with tf.control_dependencies([tf.no_op("nothing")]):
        start = norm(conv(x, 4, name="conv1"), "norm1")
    with tf.control_dependencies([tf1.get_default_graph().get_operation_by_name("nothing")]):
        tf.nn.relu(start, name="scores")


@pytest.mark.parametrize(("build", "shape"), [(unrolled_loop, (4, 5)), (waiting_branch, (4, 8, 8, 2))])
def test_nodes_without_a_value_that_others_wait_for(build, shape, record):
    graph, batch = graph_of(build), numbers(*shape, scale=2.0)
    expected = run(graph, [batch], ["scores:0"])[0][0]
    InPlaceCalibration(graph, "batch_num : 1", record, ["scores"])
    np.testing.assert_allclose(run(graph, [batch], ["scores:0"])[0][0], expected, rtol=1e-4, atol=1e-5)
    assert read_records(record)


def test_a_network_with_a_loop_has_its_own_end(record):
    graph = graph_of(unrolled_loop)
    with graph.as_default():
        tf1.Print(graph.get_tensor_by_name("Identity:0"), [])
    assert network_outputs(graph) == ["Identity:0"]
    InPlaceCalibration(graph, "batch_num : 1", record)
    run(graph, [numbers(4, 5)], ["Identity:0"])
    assert read_records(record)


def test_a_batch_without_samples_does_not_count(record):
    graph = graph_of(lambda: dense(placeholder([None, 4]), 3, name="scores"))
    calibration = InPlaceCalibration(graph, CONFIG, record)
    first, last = numbers(2, 4), numbers(2, 4, seed=1)
    run(graph, [first, first[:0], first], ["scores/bias:0"])
    assert calibration.run.missing == 1 and not record.exists()
    run(graph, [last], ["scores/bias:0"])
    assert calibration.run.is_done and read_records(record)


def test_a_finalized_graph_is_refused(record):
    graph = graph_of()
    graph.finalize()
    with pytest.raises(CalibrantError, match="the graph is finalized"):
        InPlaceCalibration(graph, CONFIG, record)


def test_of_two_networks_each_is_run_by_itself(record):
    graph = graph_of(two_networks)
    calibration = InPlaceCalibration(graph, "batch_num : 1\n", record)
    with tf1.Session(graph=graph) as session:
        session.run("first/bias:0", {"a:0": numbers(2, 4)})
        assert calibration.run.never_run == ("b:0",)
        assert not record.exists()
        session.run("second/bias:0", {"b:0": numbers(2, 6)})
    assert list(read_records(record)) == ["first", "second"]
    assert not calibration.run.never_run


def test_of_two_networks_each_counts_in_front_of_what_is_added(record):
    graph = graph_of(two_networks)
    with graph.as_default():
        for name in ("first", "second"):
            tf.argmax(graph.get_tensor_by_name(f"{name}/bias:0"), 1)
    calibration = InPlaceCalibration(graph, "batch_num : 1\n", record)
    with tf1.Session(graph=graph) as session:
        session.run("first:0", {"a:0": numbers(2, 4)})
        assert calibration.run.never_run == ("b:0",)
        session.run("second/bias:0", {"b:0": numbers(2, 6)})
    assert list(read_records(record)) == ["first", "second"]


def joined_networks():
    """Two inputs whose layers meet in an addition."""
    first, second = (dense(placeholder([None, 4], letter), 3, name=f"layer_{letter}") for letter in "ab")
    tf.nn.softmax(tf.add(first, second, name="sum"), name="scores")


def test_a_branch_of_one_of_two_inputs_does_not_count(record):
    graph = graph_of(joined_networks)
    calibration = InPlaceCalibration(graph, "batch_num : 1\n", record)
    feeds = {f"{letter}:0": numbers(2, 4) for letter in "ab"}
    with tf1.Session(graph=graph) as session:
        session.run("layer_a/bias:0", {"a:0": feeds["a:0"]})
        assert calibration.run.missing == 1 and not calibration.run.never_run
        session.run("sum:0", feeds)
    assert calibration.run.is_done
