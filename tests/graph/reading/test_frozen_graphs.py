"""Frozen graphs: all ways to write a name, choosing inputs and outputs, cutting at inner tensors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf import text_format

from calibrant import quantize
from calibrant.data.input_spec import inputs_of
from calibrant.errors import ModelError
from calibrant.graph.layers import find_layers
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import input_shapes, run_once
from graphs import conv, dense, graph_def, numbers, placeholder, save, small_network, tf, v1

DATA = numbers(4, 6, 6, 2)


def parts(count=3):
    """x [?, 12] -> split -> one layer on each part -> out."""

    def build():
        pieces = tf.split(placeholder([None, 12]), count, axis=1, name="split")
        tf.add_n([dense(tf.nn.relu(piece), name=f"dense{n}") for n, piece in enumerate(pieces)], name="out")

    return build


@pytest.mark.parametrize("name", ["out", "out:0", " out "])
def test_names_of_outputs(name):
    assert load(graph_def(small_network), outputs=[name]).outputs == ("out:0",)


@pytest.mark.parametrize("suffix", ["", ":0"])
def test_names_of_inputs_inside_nodes(suffix):
    definition = graph_def(small_network)
    for node in definition.node:
        for index, reference in enumerate(node.input):
            node.input[index] = reference + suffix
    expected = run_once(load(graph_def(small_network)), {"x": DATA})[0]
    assert run_once(load(definition), {"x": DATA})[0].tobytes() == expected.tobytes()


def test_control_edges_stay_and_do_not_make_a_layer_unquantizable():
    def build():
        x = placeholder([None, 6, 6, 2])
        weights = tf.constant(numbers(3, 3, 2, 4))
        with tf.control_dependencies([v1.assert_greater(tf.reduce_max(x), -1e9, name="guard")]):
            y = tf.nn.conv2d(x, weights, 1, "SAME", name="conv")
        with tf.control_dependencies([y]):
            tf.identity(tf.nn.bias_add(y, tf.constant(numbers(4))), name="out")

    graph = load(graph_def(build), outputs=["out"])
    result = quantize(graph, data=numbers(16, 6, 6, 2))
    assert [layer.layer.name for layer in result.network.layers] == ["conv"]
    controls = [reference for reference in result.fakequant.nodes["conv"].input if reference.startswith("^")]
    assert controls and all(name[1:] in result.fakequant.nodes for name in controls)
    assert run_once(result.fakequant, {"x": DATA})[0].shape == (4, 6, 6, 4)


def test_identity_chains_in_front_of_weights_are_followed():
    def build():
        weights = tf.constant(numbers(3, 3, 2, 4), name="value")
        for number in range(50):
            weights = tf.stop_gradient(weights) if number % 2 else tf.identity(weights)
        tf.nn.conv2d(placeholder([None, 6, 6, 2]), weights, 1, "SAME", name="out")

    (layer,), _ = find_layers(load(graph_def(build)))
    assert layer.constant == "value"


def test_a_graph_of_two_thousand_nodes_is_no_problem():
    def build():
        y = placeholder([None, 6, 6, 2])
        for _ in range(2000):
            y = tf.identity(y)
        conv(y, name="out")

    (layer,), _ = find_layers(load(graph_def(build)))
    assert layer.name == "out"


def test_text_graphs_are_the_same(tmp_path):
    definition = graph_def(small_network)
    binary = load(save(definition, tmp_path / "model.pb"))
    (tmp_path / "model.pbtxt").write_text(text_format.MessageToString(definition))
    text = load(tmp_path / "model.pbtxt")
    assert [str(node) for node in text.nodes.values()] == [str(node) for node in binary.nodes.values()]


def test_a_graph_in_memory_and_a_loaded_one_keep_inputs_outputs_and_their_keys(tmp_path):
    with tf.Graph().as_default() as built:
        small_network()
    assert load(built).outputs == ("out:0",)
    module = tf.Module()
    module.f = tf.function(
        lambda a, b: {"sum": a + b, "product": a * b},
        input_signature=[tf.TensorSpec([None, 3], name="first"), tf.TensorSpec([None, 3], name="second")],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.f)
    loaded = load(tmp_path / "saved")
    again = load(loaded)
    assert again.input_keys == loaded.input_keys == ("first", "second")
    assert again.output_keys == loaded.output_keys == ("product", "sum")
    assert load(loaded, outputs=[loaded.outputs[1]]).input_keys == ("first", "second")


def test_several_outputs_and_inputs_in_the_order_given():
    def build():
        a, b = placeholder([None, 3], "a"), placeholder([None, 3], "b")
        tf.identity(dense(a, name="one") + dense(b, name="two"), name="sum")
        tf.identity(dense(b, name="three"), name="single")

    graph = load(graph_def(build), inputs=["b", "a"], outputs=["single", "sum"])
    assert graph.input_keys == ("b", "a") and graph.output_keys == ("single", "sum")
    again = load(graph_def(build), inputs="b, a", outputs="single,sum")
    assert (again.input_keys, again.output_keys) == (graph.input_keys, graph.output_keys)
    data = {"a": numbers(16, 3, seed=1), "b": numbers(16, 3, seed=2)}
    result = quantize(graph, data=data)
    single, total = run_once(result.fakequant, data)
    expected = run_once(graph, data)
    np.testing.assert_allclose(single, expected[0], atol=0.3)
    np.testing.assert_allclose(total, expected[1], atol=0.3)


@pytest.mark.parametrize("cut", ["conv/bias", "relu", "relu:0", "pool", "flat"])
def test_cutting_at_an_inner_tensor(cut):
    definition = graph_def(small_network)
    whole, part = load(definition), load(definition, inputs=[cut])
    (inner,) = run_once(whole, {"x": DATA}, [cut if ":" in cut else f"{cut}:0"])
    (key,) = part.input_keys
    assert key == cut.removesuffix(":0")
    assert run_once(part, {key: inner})[0].tobytes() == run_once(whole, {"x": DATA})[0].tobytes()
    assert "x" not in part.nodes
    shape, dtype = input_shapes(part)[key]
    assert shape[1:] == inner.shape[1:] and dtype == np.float32
    result = quantize(definition, data=inner, inputs=[cut], config="batch_num : 1")
    assert result.fakequant.inputs == part.inputs


def test_cutting_at_a_tensor_several_nodes_read():
    def build():
        y = tf.nn.relu(conv(placeholder([None, 6, 6, 2]), name="conv"), name="shared")
        tf.add(conv(y, name="a"), conv(y, name="b"), name="out")

    definition = graph_def(build)
    part = load(definition, inputs=["shared"])
    assert [layer.name for layer in find_layers(part)[0]] == ["a", "b"]


@pytest.mark.parametrize("count, index", [(3, 0), (3, 1), (12, 0), (12, 9)])
def test_cutting_at_one_output_of_a_node_with_several(count, index):
    """The others go on being computed from the original input, so both are fed."""
    definition = graph_def(parts(count))
    whole, part = load(definition), load(definition, inputs=["x", f"split:{index}"])
    data = numbers(4, 12)
    inner = run_once(whole, {"x": data}, [f"split:{index}"])[0]
    feeds = dict(zip(part.input_keys, [data, inner], strict=True))
    expected = run_once(whole, {"x": data})[0]
    assert run_once(part, feeds)[0].tobytes() == expected.tobytes()
    assert run_once(part, {**feeds, part.input_keys[1]: inner + 1})[0].tobytes() != expected.tobytes()


def test_all_outputs_of_a_node_cut_off():
    definition = graph_def(parts(3))
    part = load(definition, inputs=["split:2", "split:0", "split:1"])
    assert len(part.inputs) == 3 and "x" not in part.nodes and "split" not in part.nodes
    whole = load(definition)
    data = numbers(4, 12)
    pieces = run_once(whole, {"x": data}, ["split:2", "split:0", "split:1"])
    feeds = dict(zip(part.input_keys, pieces, strict=True))
    assert run_once(part, feeds)[0].tobytes() == run_once(whole, {"x": data})[0].tobytes()


@pytest.mark.parametrize("kind", ["arrays", "npz", "folder", "batches"])
def test_data_by_the_names_of_the_cut(kind, tmp_path):
    """Placeholders for several outputs of a node have names of their own."""
    definition = graph_def(parts(3))
    named = {name: numbers(4, 4) for name in ("split", "split:1", "split:2")}
    data = {"arrays": named, "npz": tmp_path / "m.npz", "folder": None, "batches": None}[kind]
    if kind == "npz":
        np.savez(data, **named)
    elif kind == "batches":
        data = [{name: value[at : at + 1] for name, value in named.items()} for at in range(4)]
    elif kind == "folder":
        data = {}
        for at, (name, value) in enumerate(named.items()):
            (tmp_path / str(at)).mkdir()
            value.tofile(tmp_path / str(at) / "0.bin")
            data[name] = tmp_path / str(at)
    result = quantize(definition, data=data, inputs=list(named), config="batch_num : 1")
    assert inputs_of(result.fakequant)[1].plain_names[-1] == "split:1"
    kept = load(save(result.fakequant.graph_def(), tmp_path / "m.pb"))
    assert {"split", "split:1", "split:2"} <= {name for spec in inputs_of(kept) for name in spec.plain_names}


def test_a_model_that_was_cut_can_be_cut_by_the_same_name_again():
    """So that the original and its quantized model can be evaluated with the same --inputs."""
    definition = graph_def(parts(3))
    names = ["split:2", "split:0", "split:1"]
    first = load(definition, inputs=names)
    assert load(first.graph_def(), inputs=list(first.input_keys)).inputs == first.inputs
    assert load(first, outputs=["out"]).input_keys == first.input_keys


def test_an_output_that_has_readers_and_one_of_several_of_its_node():
    definition = graph_def(parts(3))
    graph = load(definition, outputs=["dense1", "split:2", "out"])
    data = numbers(4, 12)
    middle, piece, last = run_once(graph, {"x": data})
    assert piece.tobytes() == np.ascontiguousarray(data[:, 8:]).tobytes() and middle.shape == last.shape == (4, 3)
    result = quantize(graph, data=numbers(16, 12))
    found = run_once(result.fakequant, {"x": data})
    assert found[1].tobytes() == piece.tobytes()
    for before, after in zip((middle, last), (found[0], found[2]), strict=True):
        np.testing.assert_allclose(before, after, atol=0.3)


def test_what_lies_before_the_cut_may_be_unknown_to_tensorflow():
    """Preprocessing with an op of somebody's own is a reason to cut."""
    definition = graph_def(small_network)
    next(node for node in definition.node if node.name == "conv/bias").op = "MyOwnDecoder"
    part = load(definition, inputs=["conv/bias"])
    assert [layer.name for layer in find_layers(part)[0]] == ["pool", "dense"]
    assert input_shapes(part)["conv/bias"][1] == np.float32
    with pytest.raises(ModelError, match="MyOwnDecoder"):
        load(definition)


def test_an_edge_from_an_output_that_is_not_there():
    """Also where the reader is a large constant, whose content takes no part in finding shapes."""
    with tf.Graph().as_default() as given:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2000], "x")
        tf.add(x, tf.constant(np.ones(2000, np.float32), name="c"), name="y")
    broken = given.as_graph_def()
    next(node for node in broken.node if node.name == "c").input.append("x:99999")
    with pytest.raises(ModelError, match="x: has no output 99999: Placeholder has 1 output"):
        load(broken)


def test_nodes_of_the_same_name_are_named():
    graph = tf.compat.v1.GraphDef()
    for name in ("x", "y", "y"):
        graph.node.add(name=name, op="Placeholder")
    with pytest.raises(ModelError, match="two nodes have the same name, 'y'"):
        load(graph)


def test_the_same_tensor_twice_is_an_error():
    with pytest.raises(ModelError, match="twice"):
        load(graph_def(small_network), outputs=["out", "out:0"])


def test_a_placeholder_with_a_default_can_be_fed():
    def build():
        rate = v1.placeholder_with_default(tf.constant(1.0), [], name="rate")
        tf.identity(conv(placeholder([None, 6, 6, 2])) * rate, name="out")

    definition = graph_def(build)
    assert load(definition).input_keys == ("x",)
    graph = load(definition, inputs=["x", "rate"])
    half, whole = (run_once(graph, {"x": DATA, "rate": np.float32(rate)})[0] for rate in (0.5, 1))
    np.testing.assert_allclose(half * 2, whole)


@pytest.mark.parametrize("make", [v1.data.make_one_shot_iterator, v1.data.make_initializable_iterator])
def test_a_placeholder_that_reads_a_pipeline_by_default_is_the_input(make):
    """And what the pipeline is made of is no output."""

    def build():
        pipeline = tf.data.Dataset.from_tensors(np.ones((4, 6), np.float32)).repeat()
        iterator = make(pipeline)
        images = iterator.get_next()
        iterator.string_handle()
        tf.identity(dense(v1.placeholder_with_default(images, [None, 6], "images")), name="out")

    graph = load(graph_def(build))
    assert (graph.inputs, graph.outputs) == (("images:0",), ("out:0",))
    assert run_once(graph, {"images": numbers(3, 6)})[0].shape[0] == 3


def test_unused_nodes_are_dropped():
    def build():
        small_network()
        tf.identity(tf.constant(1.0), name="left_over")

    graph = load(graph_def(build), outputs=["out"])
    assert "left_over" not in graph.nodes


def test_all_possible_outputs_are_counted_and_the_first_named():
    def network():
        x = placeholder([None, 4])
        for number in range(12):
            tf.nn.relu(x, name=f"end{number}")

    pattern = r"12 nodes have no reader(.|\n)*end0.*end7, …(.|\n)*--outputs; calibrant inspect MODEL --nodes lists"
    with pytest.raises(ModelError, match=pattern):
        load(graph_def(network))


def loop_over_samples():
    """x [?, 4] -> relu -> a loop of TensorFlow 1.x over the samples -> y; the loop's counters are read by nobody."""
    with v1.Graph().as_default() as graph:
        v1.disable_control_flow_v2()
        try:
            y = v1.map_fn(lambda row: tf.reshape(row, [2, 2]) * 2.0, tf.nn.relu(placeholder([None, 4])))
        finally:
            v1.enable_control_flow_v2()
        tf.identity(y, name="y")
    return graph.as_graph_def()


def test_what_a_loop_leaves_over_is_no_output():
    assert load(loop_over_samples()).outputs == ("y:0",)


def test_results_of_a_loop_that_nobody_reads_may_be_outputs():
    with v1.Graph().as_default() as graph:
        v1.disable_control_flow_v2()
        try:
            v1.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, h * 2.0), [0, tf.nn.relu(placeholder([None, 4]))])
        finally:
            v1.enable_control_flow_v2()
    with pytest.raises(ModelError, match="--outputs while/Exit,while/Exit_1"):
        load(graph.as_graph_def())


@pytest.mark.parametrize("ends", [{"outputs": ["y", "map/while/mul"]}, {"inputs": ["map/while/Reshape"]}])
def test_tensors_inside_a_loop_are_no_ends(ends):
    hint = "--outputs y" if "outputs" in ends else "in front of the loop or behind it"
    with pytest.raises(ModelError, match=f"(mul|Reshape): is inside a loop(.|\n)*{hint}"):
        load(loop_over_samples(), **ends)


def test_few_possible_outputs_are_named_as_the_option_takes_them():
    def network():
        x = placeholder([None, 4])
        for number in range(3):
            tf.nn.relu(x, name=f"end{number}")

    with pytest.raises(ModelError, match=r"--outputs (\S+)") as caught:
        load(graph_def(network))
    given = re.search(r"--outputs (\S+)", str(caught.value))[1]
    assert load(graph_def(network), outputs=given.split(",")).outputs == ("end0:0", "end1:0", "end2:0")


def test_a_cycle_behind_the_last_layer_is_no_end():
    def build():
        y = tf.identity(placeholder([None, 4]), name="kept")
        tf.tanh(tf.add(y, y, name="turned"), name="out")

    definition = graph_def(build)
    [node] = [node for node in definition.node if node.name == "turned"]
    node.input[1] = "out"
    definition.node.add(name="other", op="Identity", input=["kept"]).attr["T"].type = 1
    with pytest.raises(ModelError, match="2 nodes lead to no output: .* in a cycle, through 'turned'"):
        load(definition)


def scaled(kind):
    """x · n, n a placeholder."""

    def build():
        number = v1.placeholder(kind, [], "n")
        tf.multiply(placeholder([None, 4]), tf.cast(number, tf.float32), name="out")

    return graph_def(build)


@pytest.mark.parametrize("value", ["2.7", "0.5", "1e30", "1e999", 2.5, np.inf])
def test_a_whole_number_is_not_set_to_another_one(value):
    definition = scaled(tf.int32)
    with pytest.raises(ModelError, match="cannot be set to"):
        load(definition, constants={"n": value})
    assert load(definition, constants={"n": "3.0"}).nodes


@pytest.mark.parametrize("value", ["no", "", "off", "1,2"])
def test_a_text_that_is_no_value_says_what_is_one(value):
    with pytest.raises(ModelError, match=r"neither true or false, nor a number, nor .*\[1, 2\](.|\n)*allowed: int32"):
        load(scaled(tf.int32), constants={"n": value})


@pytest.mark.parametrize("value", ["1e39", "1e999", 1e39])
def test_a_number_is_not_set_to_infinity_by_rounding(value):
    definition = scaled(tf.float32)
    with pytest.raises(ModelError, match="cannot be set to"):
        load(definition, constants={"n": value})
    assert load(definition, constants={"n": -np.inf}).nodes


def test_a_queue_that_nothing_fills():
    def build():
        queue = v1.FIFOQueue(4, [tf.float32, tf.float32], shapes=[[1, 8], [8]])
        x = placeholder([1, 8])
        state, shift = queue.dequeue(name="state")
        tf.identity(dense(x, 4) + dense(state, 4, seed=1) + tf.reduce_sum(shift), name="out")

    model = graph_def(build)
    with pytest.raises(ModelError, match=r"state: QueueDequeueV2 waits for a queue(.|\n)*--inputs ([\w:,]+)") as caught:
        load(model, outputs=["out"])
    inputs = re.search(r"--inputs (\S+)", str(caught.value))[1].split(",")
    graph = load(model, inputs=inputs, outputs=["out"])
    fed = {key: numbers(8) if "input_1" in key else numbers(1, 8) for key in graph.input_keys}
    assert len(fed) == 3 and run_once(graph, fed)[0].shape == (1, 4)


def test_a_graph_that_is_fed_a_single_number_is_read_again(tmp_path):
    def build():
        x = placeholder([None, 4])
        tf.identity(x * tf.reduce_sum(x, name="total"), name="out")

    graph = load(graph_def(build), inputs=["x", "total"], outputs=["out"])
    path = tmp_path / "cut.pb"
    path.write_bytes(graph.serialized())
    assert load(path).shape("total:0") == ()
