"""Priorities, on random configurations against the obvious resolver, and by hand on the ones people write."""

import pytest
from config_samples import GRAPH, LAYERS, configurations, problems_of
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.config import (
    Configuration,
    GraphInfo,
    LayerInfo,
    OverrideLayer,
    TensorQuantize,
    load_config,
    resolve,
)
from calibrant.errors import ConfigError
from reference import config_priority as reference

BY_NAME = {layer.name: layer for layer in LAYERS}


def plan_of(text, info=GRAPH, nuq_layers=None):
    return resolve(load_config(text), info, nuq_layers)


def layer_of(plan, name):
    (found,) = [layer for layer in (*plan.layers, *plan.disabled) if layer.name == name]
    return found


@settings(max_examples=60, deadline=None)
@given(configurations(), st.sets(st.sampled_from(sorted(BY_NAME))))
def test_equals_the_reference(configuration, nuq_layers):
    nuq_layers = nuq_layers if configuration.nuq_config else set()
    plan = resolve(configuration, GRAPH, frozenset(nuq_layers))
    assert [layer.name for layer in plan.layers] == [
        layer.name for layer in LAYERS if reference.is_quantized(configuration, layer)
    ]
    assert {layer.name for layer in plan.layers + plan.disabled} == set(BY_NAME)
    for planned in plan.layers + plan.disabled:
        layer, sources = BY_NAME[planned.name], dict(planned.sources)
        assert planned.activation.asymmetric == reference.asymmetric(configuration, layer)
        place, algorithm, numbers = reference.activation(configuration, layer)
        assert (sources["activation"], planned.activation.algorithm) == (place, algorithm)
        assert {name: getattr(planned.activation, name) for name in numbers} == numbers
        assert planned.migration_strength == reference.migration_strength(configuration, layer)
        expected_out = reference.left_out(configuration, layer)
        if layer.name in nuq_layers and sources.get("weights") == "nuq_config":
            expected_out -= {"arq_quantize", "nuq_quantize"}
        assert {name for name in planned.left_out if "." not in name} == expected_out
        weights, expected = planned.weights, reference.weights(configuration, layer, nuq_layers)
        if expected is None:
            assert weights is None
        else:
            found = (weights.algorithm, weights.channel_wise, weights.bits, weights.num_steps, weights.num_of_iteration)
            assert (sources["weights"], *found) == expected
    for planned in plan.tensors:
        same = [
            t
            for t in configuration.tensor_quantize
            if (t.layer_name, t.input_index) == (planned.layer_name, planned.input_index)
        ]
        assert planned.activation.asymmetric == reference.tensor_asymmetric(configuration, same[-1])


@settings(max_examples=30, deadline=None)
@given(configurations())
def test_is_deterministic(configuration):
    assert repr(resolve(configuration, GRAPH)) == repr(resolve(configuration, GRAPH))


def test_without_a_file_every_default_holds():
    plan = resolve(load_config(None), GRAPH)
    assert (plan.batch_num, plan.joint_quant, plan.do_fusion, plan.force_float16_scale) == (1, False, True, False)
    assert (plan.tensors, plan.disabled, plan.warnings, plan.nuq_mapping_file) == ((), (), (), None)
    assert plan.skipped == GRAPH.rejected
    conv, dense = layer_of(plan, "conv1/Conv2D"), layer_of(plan, "dense/MatMul")
    assert (conv.weights.algorithm, conv.weights.channel_wise, conv.weights.bits) == ("arq", True, 8)
    assert dense.weights.channel_wise is False
    found = conv.activation
    assert (found.algorithm, found.asymmetric, found.bits) == ("ifmr", True, 8)
    assert (found.search_range_start, found.search_range_end, found.search_step) == (0.7, 1.3, 0.01)
    assert (found.max_percentile, found.min_percentile, found.num_of_bins) == (0.999999, 0.999999, None)
    assert set(dict(conv.sources).values()) == {"default"}


UNIFORM = """
# global quantize parameter
batch_num : 2
activation_offset : true
joint_quant : false
skip_layers : "deconv"
skip_layer_types:"AvgPool"
do_fusion: true
skip_fusion_layers : "deconv"
common_config : {
    arq_quantize : { channel_wise : true quant_bits : 7 }
    ifmr_quantize : {
        search_range_start : 0.7
        search_range_end : 1.3
        search_step : 0.01
        max_percentile : 0.999999
        min_percentile : 0.999999
        asymmetric : true
    }
}
override_layer_types : {
    layer_type : "Conv2D"
    calibration_config : {
        arq_quantize : { channel_wise : false quant_bits : 6 }
        ifmr_quantize : { search_range_start : 0.8 search_range_end : 1.2 search_step : 0.02 asymmetric : false }
    }
}
override_layer_configs : {
    layer_name : "conv1/Conv2D"
    calibration_config : {
        arq_quantize : { channel_wise : true }
        ifmr_quantize : { search_range_start : 0.9 search_range_end : 1.1 search_step : 0.03 }
    }
}
tensor_quantize {
    layer_name: "block/add"
    input_index: 0
    ifmr_quantize: { search_range_start : 0.75 search_step : 0.05 asymmetric : false }
}
tensor_quantize { layer_name: "maxpool" input_index: 0 }
"""


def test_the_uniform_example():
    plan = plan_of(UNIFORM)
    first, second, depthwise, dense = (
        layer_of(plan, name) for name in ("conv1/Conv2D", "block/conv2/Conv2D", "block/depthwise", "dense/MatMul")
    )
    assert (first.weights.channel_wise, first.weights.bits) == (True, 8)  # the block comes whole: no bits from below
    assert (second.weights.channel_wise, second.weights.bits) == (False, 6)
    assert (depthwise.weights.channel_wise, depthwise.weights.bits) == (True, 8)
    assert (dense.weights.channel_wise, dense.weights.bits) == (False, 8)
    assert (first.activation.search_step, second.activation.search_step, dense.activation.search_step) == (
        0.03,
        0.02,
        0.01,
    )
    assert first.activation.asymmetric is False  # not written in the override, so the type's value counts
    assert dict(first.sources)["asymmetric"] == "override_layer_types[0]"
    assert dense.activation.asymmetric is True
    assert [layer.name for layer in plan.disabled] == ["deconv", "pool"]
    assert plan.skipped[:2] == (
        ("deconv", "Conv2DBackpropInput", "listed in skip_layers"),
        ("pool", "AvgPool", "AvgPool is listed in skip_layer_types"),
    )
    assert plan.batch_num == 2
    assert plan.skip_fusion_layers == ("deconv",)
    add, pool = plan.tensors
    assert (add.layer_name, add.input_index, add.activation.asymmetric) == ("block/add", 0, False)
    assert (add.activation.search_range_start, add.activation.search_range_end) == (0.75, 1.3)
    assert (pool.layer_name, pool.activation.asymmetric, pool.activation.search_step) == ("maxpool", True, 0.01)


def test_the_histogram_example():
    plan = plan_of(
        """
        activation_offset : true
        batch_num : 1
        common_config : { hfmg_quantize : { num_of_bins : 4096 asymmetric : false } }
        """
    )
    found = layer_of(plan, "conv1/Conv2D").activation
    assert (found.algorithm, found.num_of_bins, found.asymmetric, found.search_step) == ("hfmg", 4096, False, None)


def test_the_non_uniform_example(tmp_path):
    (tmp_path / "nuq_files").mkdir()
    (tmp_path / "nuq_files" / "mapping.json").write_text("{}")
    file = tmp_path / "quant.cfg"
    file.write_text(
        """
        nuq_config {
            mapping_file : "nuq_files/mapping.json"
            nuq_quantize : { num_steps : 32 num_of_iteration : 0 }
        }
        common_config : { arq_quantize : { channel_wise : true } }
        override_layer_types : {
            layer_type : "DepthwiseConv2dNative"
            calibration_config : { arq_quantize : { channel_wise : false } }
        }
        override_layer_configs : {
            layer_name : "deconv"
            calibration_config : { arq_quantize : { channel_wise : false } }
        }
        """
    )
    chosen = frozenset({"conv1/Conv2D", "deconv", "dense/MatMul"})
    plan = resolve(load_config(file), GRAPH, chosen)
    conv, dense = layer_of(plan, "conv1/Conv2D"), layer_of(plan, "dense/MatMul")
    assert (conv.weights.algorithm, conv.weights.num_steps, conv.weights.num_of_iteration) == ("nuq", 32, 0)
    assert (conv.weights.channel_wise, conv.weights.bits, dense.weights.channel_wise) == (True, 8, False)
    assert dict(conv.sources)["weights"] == "nuq_config"
    assert layer_of(plan, "deconv").weights.algorithm == "arq"  # an override of that very layer wins
    assert layer_of(plan, "block/depthwise").weights.channel_wise is False
    assert plan.nuq_mapping_file == str(tmp_path / "nuq_files" / "mapping.json")


def test_the_balancer_example():
    plan = plan_of("common_config : { dmq_balancer : { migration_strength : 0.3 } }\n")
    assert layer_of(plan, "dense/MatMul").migration_strength == 0.3
    assert layer_of(plan, "pool").migration_strength is None
    assert plan_of("common_config { dmq_balancer {} }\n").layers[0].migration_strength == 0.5


@pytest.mark.parametrize(
    "written, expected, origin",
    [
        ((None, None, None, None), True, "default"),
        ((None, None, None, "false"), False, "activation_offset"),
        ((None, None, "true", "false"), True, "common_config"),
        ((None, "false", "true", "true"), False, "override_layer_types[0]"),
        (("true", "false", "false", "false"), True, "override_layer_configs[0]"),
        (("false", "true", "true", "true"), False, "override_layer_configs[0]"),
        (("", "", "", "false"), False, "activation_offset"),  # blocks without the field do not count as false
        (("", "", "true", "false"), True, "common_config"),
    ],
)
def test_asymmetric_at_all_four_places(written, expected, origin):
    def block(value):
        return "" if value is None else f"ifmr_quantize {{ {f'asymmetric: {value}' if value else ''} }}"

    layer, type, common, offset = written
    plan = plan_of(
        f"""
        {f"activation_offset: {offset}" if offset else ""}
        common_config {{ {block(common)} }}
        override_layer_types {{ layer_type: "Conv2D" calibration_config {{ {block(type)} }} }}
        override_layer_configs {{ layer_name: "conv1/Conv2D" calibration_config {{ {block(layer)} }} }}
        """
    )
    found = layer_of(plan, "conv1/Conv2D")
    assert (found.activation.asymmetric, dict(found.sources)["asymmetric"]) == (expected, origin)


def test_a_product_of_two_activations_stays_symmetric():
    found = layer_of(plan_of("common_config { ifmr_quantize { asymmetric: true } }\n"), "attention/scores")
    assert (found.activation.asymmetric, found.weights) == (False, None)
    with pytest.raises(ConfigError) as error:
        plan_of(
            "override_layer_configs { layer_name: 'attention/scores'\n"
            " calibration_config { hfmg_quantize { asymmetric: true } } }"
        )
    (problem,) = error.value.problems
    assert (problem.line, problem.column, problem.allowed) == (2, 51, "false")
    assert problem.path == "override_layer_configs[0].calibration_config.hfmg_quantize.asymmetric"
    assert "symmetrically only" in problem.message


def test_six_and_seven_bits_in_common_config_act_on_conv2d_only():
    plan = plan_of("common_config { arq_quantize { quant_bits: 6 } }\n")
    assert {layer.weights.bits for layer in plan.layers if layer.type == "Conv2D"} == {6}
    assert {layer.weights.bits for layer in plan.layers if layer.weights and layer.type != "Conv2D"} == {8}


def test_force_fp16_and_the_switches_reach_the_plan():
    plan = plan_of("fakequant_precision_mode: FORCE_FP16_QUANT\njoint_quant: true\ndo_fusion: false")
    assert (plan.force_float16_scale, plan.joint_quant, plan.do_fusion) == (True, True, False)


def test_nothing_left_to_quantize_is_an_error():
    types = sorted({layer.type for layer in LAYERS})
    text = "\n".join(f'skip_layer_types: "{type}"' for type in types)
    with pytest.raises(ConfigError, match="nothing is left to quantize: all 8") as error:
        plan_of(text + "\n")
    assert error.value.problems[0].line == 1
    only_tensors = plan_of(text + "\ntensor_quantize { layer_name: 'maxpool' input_index: 0 }")
    assert (only_tensors.layers, len(only_tensors.tensors)) == ((), 1)
    empty = GraphInfo((), {"r": "Relu"}, rejected=(("c", "Conv2D", "its weights are not constant"),))
    with pytest.raises(ConfigError, match="no quantizable layer") as error:
        resolve(Configuration(), empty)
    assert "its weights are not constant" in error.value.problems[0].hint
    with pytest.raises(ConfigError, match="2 layers depend on no input and are computed beforehand") as error:
        resolve(Configuration(), GraphInfo((), {"r": "Relu"}, constant_layers=2))
    assert "among its inputs" in error.value.problems[0].hint


def test_a_skipped_node_is_not_quantized_as_a_tensor_either():
    plan = plan_of("skip_layers: 'maxpool'\ntensor_quantize { layer_name: 'maxpool' input_index: 0 }")
    assert plan.tensors == ()
    assert plan.warnings == ("tensor_quantize[0] has no effect: 'maxpool' is listed in skip_layers",)


def test_the_same_tensor_twice_takes_the_last_settings():
    same = "tensor_quantize { layer_name: 'maxpool' input_index: 0 }\n"
    other = "tensor_quantize { layer_name: 'maxpool' input_index: 0 hfmg_quantize {} }\n"
    assert plan_of(same + same).warnings == ()
    plan = plan_of(same + other)
    assert [tensor.activation.algorithm for tensor in plan.tensors] == ["hfmg"]
    assert "tensor_quantize[0] has no effect" in plan.warnings[0]


@pytest.mark.parametrize(
    "text, warning",
    [
        ("skip_approximation_layers: 'conv1/Conv2D'\n", "there is no calibrated approximation"),
        ("skip_layers: 'conv1/Relu'\n", "'conv1/Relu' would not be quantized anyway"),
        ("do_fusion: false\nskip_fusion_layers: 'conv1/Conv2D'", "skip_fusion_layers has no effect"),
        (
            "skip_layers: 'deconv'\n"
            "override_layer_configs { layer_name: 'deconv' calibration_config { arq_quantize {} } }",
            "override_layer_configs[0] has no effect: 'deconv' is skipped",
        ),
        ("override_layer_configs { layer_name: 'deconv' calibration_config {} }\n", "it sets nothing for 'deconv'"),
        (
            "override_layer_configs { layer_name: 'pool' calibration_config { arq_quantize {} } }\n",
            "override_layer_configs[0]: arq_quantize has no effect: 'pool' has no weights",
        ),
        (
            "override_layer_types { layer_type: 'AvgPool' calibration_config { nuq_quantize {} } }\n",
            "override_layer_types[0]: nuq_quantize has no effect: no AvgPool of this graph has weights",
        ),
        (
            "override_layer_types { layer_type: 'Conv3D' calibration_config { arq_quantize {} } }\n",
            "no Conv3D is quantized in this graph",
        ),
    ],
)
def test_what_has_no_effect_is_said_in_one_warning(text, warning):
    (found,) = plan_of(text).warnings
    assert warning in found


DENSE_ONLY = GraphInfo((BY_NAME["dense/MatMul"], BY_NAME["attention/scores"]), GRAPH.node_types)
ATTENTION_ONLY = GraphInfo((BY_NAME["attention/scores"],), GRAPH.node_types)
DILATED = GraphInfo((LayerInfo("d", "DepthwiseConv2dNative", True, dilated=True),), {"d": "DepthwiseConv2dNative"})


@pytest.mark.parametrize(
    "text, graph, warning",
    [
        ("common_config { arq_quantize { quant_bits: 6 } }\n", DENSE_ONLY, "quant_bits : 6 has no effect"),
        (
            "common_config { dmq_balancer {} }\n",
            ATTENTION_ONLY,
            "dmq_balancer has no effect: it acts on Conv2D",
        ),
        ("common_config { dmq_balancer {} }\n", DILATED, "dmq_balancer has no effect"),
        (
            "override_layer_types { layer_type: 'BatchMatMulV2' "
            "calibration_config { ifmr_quantize { asymmetric: true } } }",
            DENSE_ONLY,
            "override_layer_types[0]: asymmetric has no effect: products of two activations",
        ),
        (
            "common_config { hfmg_quantize {} }\n"
            "override_layer_configs { layer_name: 'attention/scores' calibration_config {} }",
            ATTENTION_ONLY,
            "common_config has no effect: every layer that is quantized has an override",
        ),
    ],
)
def test_settings_that_act_on_no_layer(text, graph, warning):
    (found,) = plan_of(text, graph).warnings
    assert warning in found


def test_the_line_about_defaults_names_blocks_and_fields_that_do_not_apply():
    plan = plan_of(
        "common_config { arq_quantize { quant_bits: 7 } ifmr_quantize { search_step: 0.1 max_percentile: 0.999999 } "
        "dmq_balancer {} }\n"
        "override_layer_configs { layer_name: 'conv1/Conv2D' calibration_config { ifmr_quantize {} } }\n"
        "override_layer_configs { layer_name: 'pool' calibration_config { ifmr_quantize { search_step: 0.1 } } }"
    )
    conv, pool, other = (layer_of(plan, name) for name in ("conv1/Conv2D", "pool", "deconv"))
    assert conv.entry == "override_layer_configs[0]"
    assert conv.left_out == ("arq_quantize", "ifmr_quantize.search_step", "dmq_balancer")
    assert (conv.weights.bits, conv.migration_strength, conv.activation.search_step) == (8, None, 0.01)
    assert (pool.left_out, other.left_out) == ((), ())


def test_a_tensor_takes_asymmetric_from_common_config():
    text = "common_config { hfmg_quantize { asymmetric: false } }\n"
    text += "tensor_quantize { layer_name: 'maxpool' input_index: 0 %s }"
    assert plan_of(text % "").tensors[0].activation.asymmetric is False
    assert plan_of(text % "ifmr_quantize { asymmetric: true }").tensors[0].activation.asymmetric is True


@pytest.mark.parametrize(
    "place",
    ["override_layer_configs { layer_name: 'attention/scores'", "override_layer_types { layer_type: 'AvgPool'"],
)
def test_a_balancer_for_a_type_that_is_not_balanced_is_an_error(place):
    with pytest.raises(ConfigError, match="the balancer does not act on") as error:
        plan_of(f"{place} calibration_config {{ dmq_balancer {{}} }} }}\n")
    assert error.value.problems[0].path.endswith("dmq_balancer")


def test_nuq_warnings(tmp_path):
    (tmp_path / "m.json").write_text("{}")
    file = tmp_path / "quant.cfg"
    file.write_text("nuq_config { mapping_file: 'm.json' }\nskip_layers: 'deconv'")
    assert "has not been read" in resolve(load_config(file), GRAPH).warnings[0]
    (warning,) = resolve(load_config(file), GRAPH, frozenset({"deconv", "conv1/Conv2D"})).warnings
    assert "'deconv' is not quantized" in warning
    assert resolve(load_config(file), GRAPH, frozenset({"conv1/Conv2D"})).warnings == ()


def test_nuq_config_without_settings_keeps_those_the_layer_has(tmp_path):
    (tmp_path / "m.json").write_text("{}")
    file = tmp_path / "quant.cfg"
    file.write_text("nuq_config { mapping_file: 'm.json' }\ncommon_config { nuq_quantize { num_steps: 16 } }")
    layer = resolve(load_config(file), GRAPH, frozenset({"deconv"})).layers[3]
    assert (layer.name, layer.weights.num_steps) == ("deconv", 16)


def test_problems_of_the_text_and_of_the_graph_come_in_one_listing():
    problems = problems_of("batch_num: 0\nskip_layers: 'conv9/Conv2D'\njoint_quat: true", GRAPH)
    assert [problem.line for problem in problems] == [1, 2, 3]
    assert problems_of("batch_num: 1\n", GRAPH) == ()
    assert problems_of("skip_layers: 'anything'\n") == ()
    assert "does not exist" in problems_of("no/such/file.cfg")[0].message


def test_a_configuration_made_in_python_is_checked_too():
    bad = Configuration(
        batch_num=0,
        skip_layers=("conv1/Conv2D", "conv1/Conv2D"),
        override_layer_configs=(OverrideLayer(layer_name="deconv"),),
        tensor_quantize=(TensorQuantize("maxpool", -1),),
    )
    with pytest.raises(ConfigError) as error:
        resolve(bad, GRAPH)
    assert [problem.path for problem in error.value.problems] == [
        "batch_num",
        "skip_layers[1]",
        "tensor_quantize[0].input_index",
        "override_layer_configs[0].calibration_config",
    ]


def test_ten_thousand_layers_with_an_override_each_resolve_quickly():
    layers = tuple(LayerInfo(f"layer{index}/Conv2D", "Conv2D", True) for index in range(10_000))
    info = GraphInfo(layers, {layer.name: layer.type for layer in layers})
    text = "".join(
        f"override_layer_configs{{layer_name:'{layer.name}' calibration_config{{arq_quantize{{quant_bits:7}}}}}}\n"
        for layer in layers
    )
    plan = plan_of(text, info)
    assert len(plan.layers) == 10_000
    assert plan.layers[-1].weights.bits == 7
