"""Joint quantization: which quantizers form a group, and that a group has one scale."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balanced_networks import quantized
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.ifmr import search
from calibrant.graph import nodes as nd
from calibrant.graph.running.run import run_once
from calibrant.result import result_files
from graphs import numbers

JOINT = "joint_quant : true"
SHAPE = (5, 5, 4)


def conv(tf, x, name, seed=1):
    return tf.nn.conv2d(x, numbers(3, 3, int(x.shape[-1]), 4, seed=seed, scale=0.4), 1, "SAME", name=name)


def groups(result):
    """Group → its members as node:index, and a check that they have one quantizer."""
    found = {}
    for entry in result.network.every_input():
        if entry.group is not None:
            found.setdefault(entry.group, []).append(entry)
    for members in found.values():
        assert len({entry.quantizer for entry in members}) == 1
    return {name: {f"{entry.node}:{entry.index}" for entry in members} for name, members in found.items()}


def joint(build, config=JOINT):
    return quantized(build, SHAPE, config)


def chain(blocks, end=True):
    """Residual blocks: relu(conv(x) + x), again and again."""

    def build(tf, x):
        y = tf.nn.relu(conv(tf, x, "stem"))
        for number in range(blocks):
            branch = conv(tf, y, f"conv{number}", seed=number + 2)
            y = tf.nn.relu(tf.add(branch, y, name=f"add{number}"), name=f"relu{number}")
        return conv(tf, y, "last", seed=9) if end else y

    return build


def test_a_residual_chain_is_one_group():
    result = joint(chain(3))
    additions = {f"add{number}:{index}" for number in range(3) for index in (0, 1)}
    assert groups(result) == {"add0": {"conv0:0", "conv1:0", "conv2:0", "last:0"} | additions}
    assert result.report["joint_groups"][0]["group"] == "add0"


def test_the_scale_is_that_of_the_merged_statistics():
    data = numbers(8, *SHAPE, seed=3)
    result = quantized(chain(1), SHAPE, JOINT, data=data)
    places = [entry for entry in result.network.every_input() if entry.group]
    tensors = sorted({entry.tensor for entry in places})
    merged = Histogram()
    for values in run_once(result.network.graph, {"x": data}, tensors):
        merged.update(values)
    expected = search(merged).quantizer
    assert places[0].quantizer.offset == expected.offset
    assert places[0].quantizer.scale == pytest.approx(expected.scale, rel=1e-6)


def test_the_addition_runs_on_integers_of_one_scale():
    data = numbers(8, *SHAPE, seed=3)
    result = quantized(chain(1), SHAPE, JOINT, data=data)
    node = result.fakequant.nodes["add0"]
    scale = groups(result) and next(e for e in result.network.every_input() if e.group).quantizer.scale
    (total,) = run_once(result.fakequant, {"x": data}, [f"{node.name}:0"])
    np.testing.assert_allclose(total / scale, np.rint(total / scale), atol=1e-3)


def test_additions_apart_are_two_groups():
    def build(tf, x):
        y = tf.nn.tanh(conv(tf, x, "a"))
        y = tf.nn.tanh(tf.add(conv(tf, y, "b", 2), y, name="first"))
        return conv(tf, tf.add(conv(tf, y, "c", 3), y, name="second"), "d", 4)

    assert groups(joint(build)) == {
        "first": {"b:0", "first:0", "first:1"},
        "second": {"c:0", "d:0", "second:0", "second:1"},
    }


def test_a_constant_is_no_activation():
    def build(tf, x):
        return conv(tf, tf.add(tf.nn.relu(x), numbers(5, 5, 4), name="position"), "a")

    assert groups(joint(build)) == {}


def test_an_addition_with_nothing_quantized_around_stays_float():
    def build(tf, x):
        y = conv(tf, x, "a")
        return tf.add(tf.nn.tanh(y), tf.nn.sigmoid(y), name="add")

    result = joint(build)
    assert groups(result) == {} and result.network.tensors == ()


def test_relu6_and_pooling_separate():
    def build(tf, x):
        total = tf.add(tf.nn.relu6(x), tf.nn.tanh(x), name="add")
        return conv(tf, tf.nn.relu6(total), "a") + conv(tf, tf.nn.max_pool2d(total, 1, 1, "SAME"), "b", 2)

    assert groups(joint(build)) == {}


def test_identities_and_relus_in_any_number_do_not_separate():
    def build(tf, x):
        total = tf.add(tf.nn.tanh(x), tf.nn.sigmoid(x), name="add")
        return conv(tf, tf.identity(tf.nn.relu(tf.identity(tf.nn.relu(total)))), "a")

    assert groups(joint(build)) == {"add": {"a:0", "add:0", "add:1"}}


def override(name, block):
    return f' override_layer_configs {{ layer_name : "{name}" calibration_config {{ {block} }} }}'


def settings_of(result):
    """The activation settings of the only group, which all its members have in the plan too."""
    (group,) = result.plan.groups
    layers = {entry.name: entry.activation for entry in result.plan.layers}
    assert {layers[name] for name, _ in group.places if name in layers} == {group.settings}
    return group.settings


def test_the_settings_of_highest_priority_win_and_a_warning_names_the_others():
    by_type = (
        ' override_layer_types { layer_type : "Conv2D" calibration_config { ifmr_quantize { search_step : 0.1 } } }'
    )
    result = joint(chain(1), JOINT + by_type + override("last", "hfmg_quantize { num_of_bins : 1024 }"))
    found = settings_of(result)
    assert (found.algorithm, found.num_of_bins, found.asymmetric) == ("hfmg", 1024, True)
    (warning,) = result.plan.warnings
    assert warning == (
        "joint_quant: the group of 'add0' gets the activation settings of 'last' (override_layer_configs[0]); "
        "those of 'conv0' (override_layer_types[0]) do not apply"
    )
    layers = json.loads(result_files(result)["config.json"])
    assert layers["conv0"]["activation_quant_params"]["act_algo"] == "hfmg"
    assert layers["conv0"]["activation_quant_params"] == layers["last"]["activation_quant_params"]
    assert layers["stem"]["activation_quant_params"]["search_step"] == 0.1


def test_of_equal_priority_the_first_in_the_graph_wins():
    steps = [
        override(name, f"ifmr_quantize {{ search_step : {step} }}") for name, step in (("last", 0.1), ("conv0", 0.2))
    ]
    assert settings_of(joint(chain(1), JOINT + "".join(steps))).search_step == 0.2


@pytest.mark.parametrize("which", ["conv0", "last"])
def test_symmetric_in_any_member_makes_the_group_symmetric(which):
    other = {"conv0": "last", "last": "conv0"}[which]
    wanted = override(which, "ifmr_quantize { asymmetric : false }") + override(
        other, "ifmr_quantize { asymmetric : true }"
    )
    result = joint(chain(1), JOINT + wanted)
    assert not settings_of(result).asymmetric
    (found,) = {entry.quantizer for entry in result.network.every_input() if entry.group}
    assert found.offset == 0
    assert any(which in warning for warning in result.plan.warnings)


def test_without_an_addition_it_has_no_effect_and_says_so():
    result = joint(lambda tf, x: conv(tf, x, "only"))
    assert result.plan.warnings == (
        "joint_quant has no effect: there is no addition of two activations with a quantizer near it",
    )
    assert joint(lambda tf, x: conv(tf, x, "only"), "joint_quant : false").plan.warnings == ()


def test_config_json_of_a_group_gives_the_group_again():
    first = joint(chain(2), JOINT + override("conv1", "hfmg_quantize { num_of_bins : 1024 asymmetric : false }"))
    again = joint(chain(2), result_files(first)["config.json"].decode())
    assert again.plan.groups == first.plan.groups
    assert groups(again) == groups(first)
    assert again.plan.warnings == ()


def test_a_symmetric_only_product_makes_its_group_symmetric():
    def build(tf, x):
        y = tf.nn.relu(tf.reshape(x, [-1, 25, 4]))
        total = tf.add(y, tf.nn.relu(tf.matmul(tf.reshape(x, [-1, 25, 4]), numbers(4, 4))), name="add")
        return tf.raw_ops.BatchMatMulV2(x=total, y=tf.transpose(tf.tanh(total), [0, 2, 1]), name="product")

    result = joint(build, JOINT + " activation_offset : true")
    (found,) = {entry.quantizer for entry in result.network.every_input() if entry.group}
    assert found.offset == 0 and "product:0" in groups(result)["add"]


def test_an_input_that_tensor_quantize_names_joins_and_is_recorded_once():
    result = joint(chain(1), JOINT + ' tensor_quantize { layer_name : "add0" input_index : 1 }')
    assert groups(result)["add0"] >= {"add0:0", "add0:1", "conv0:0", "last:0"}
    assert [f"{entry.node}:{entry.index}" for entry in result.network.tensors].count("add0:1") == 1


def test_equal_tensors_share_one_pair():
    result = joint(chain(1))
    reads = {nd.data_inputs(result.fakequant.nodes[name])[index] for name, index in (("conv0", 0), ("add0", 1))}
    assert len(reads) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), min_size=1, max_size=6))
def test_groups_are_the_connected_components(additions):
    """Random graphs of additions against a slow closure: tensors are merged until nothing changes."""
    import tensorflow as tf

    from calibrant.graph.reading.load import load
    from calibrant.steps.ranges.joint import joint_members

    with tf.Graph().as_default() as graph:
        tensors = [tf.compat.v1.placeholder(tf.float32, [1, 4], name=f"x{n}") for n in range(3)]
        sets = [{n} for n in range(3)]
        for number, (a, b, relu) in enumerate(additions):
            a, b = a % len(tensors), b % len(tensors)
            total = tf.add(tensors[a], tensors[b], name=f"add{number}")
            tensors.append(tf.nn.relu(total, name=f"relu{number}") if relu else total)
            sets.append({len(tensors) - 1, a, b})
        readers = [tf.matmul(tensor, tf.eye(4), name=f"read{n}") for n, tensor in enumerate(tensors)]
    loaded = load(graph.as_graph_def(), outputs=[tensor.op.name for tensor in readers])
    found = joint_members(loaded, [(f"read{n}", 0) for n in range(len(tensors))], ())
    components = [set(s) for s in sets[3:]]
    changed = True
    while changed:
        changed = False
        for one in components:
            for other in components:
                if one is not other and one & other:
                    one |= other
                    components.remove(other)
                    changed = True
                    break
            if changed:
                break
    expected = {frozenset(f"read{n}" for n in component) for component in components}
    assert {frozenset(name for name, _ in members) for _, members in found} == expected
    assert sorted(name for additions, _ in found for name in additions) == sorted(
        f"add{n}" for n in range(len(additions))
    )
