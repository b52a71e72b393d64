"""config.json: what is written comes back, missing keys take defaults, and nothing unknown gets through."""

import json
from dataclasses import replace

import pytest
from config_samples import GRAPH, configurations
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.config import GraphInfo, LayerInfo, load_config, read_config_json, resolve, write_config_json
from calibrant.errors import ConfigError


def read(text, info=GRAPH):
    return read_config_json(text if isinstance(text, str) else json.dumps(text, indent=1), info)


def document(text=""):
    """The document that belongs to a configuration."""
    return json.loads(write_config_json(resolve(load_config(text + "\n" if text else None), GRAPH)))


def essence(plan):
    """What a plan does: without reasons and warnings, which name the file it came from."""
    return replace(plan, warnings=(), skipped=tuple((name, type) for name, type, _ in plan.skipped))


@settings(max_examples=50, deadline=None)
@given(configurations(), st.sets(st.sampled_from([layer.name for layer in GRAPH.layers])))
def test_what_is_written_comes_back(configuration, nuq_layers):
    plan = resolve(configuration, GRAPH, frozenset(nuq_layers) if configuration.nuq_config else None)
    if not plan.layers and not plan.tensors:
        return
    text = write_config_json(plan)
    again = read(text)
    assert essence(again) == essence(plan)
    assert write_config_json(again) == text


def test_the_keys_of_the_file():
    written = document("common_config { dmq_balancer {} }\nfakequant_precision_mode: FORCE_FP16_QUANT")
    assert list(written)[:8] == [
        "version",
        "batch_num",
        "activation_offset",
        "joint_quant",
        "do_fusion",
        "skip_fusion_layers",
        "tensor_quantize",
        "fakequant_precision_mode",
    ]
    assert list(written)[8:] == [layer.name for layer in GRAPH.layers]
    assert written["conv1/Conv2D"] == {
        "quant_enable": True,
        "dmq_balancer_param": 0.5,
        "activation_quant_params": {
            "num_bits": 8,
            "act_algo": "ifmr",
            "max_percentile": 0.999999,
            "min_percentile": 0.999999,
            "search_range": [0.7, 1.3],
            "search_step": 0.01,
            "asymmetric": True,
        },
        "weight_quant_params": {"num_bits": 8, "wts_algo": "arq_quantize", "channel_wise": True},
    }
    assert "weight_quant_params" not in written["pool"]


def test_an_empty_object_quantizes_nothing_and_empty_layers_take_the_defaults():
    with pytest.raises(ConfigError, match="nothing is left"):
        read({})
    plan = read({layer.name: {} for layer in GRAPH.layers})
    assert essence(plan) == essence(resolve(load_config(None), GRAPH))
    assert {origin for layer in plan.layers for _, origin in layer.sources} == {"default", "symmetric only"}


def test_activation_offset_is_the_default_of_asymmetric():
    plan = read(
        {"activation_offset": False, "deconv": {}, "conv1/Conv2D": {"activation_quant_params": {"asymmetric": True}}}
    )
    assert {layer.name: layer.activation.asymmetric for layer in plan.layers} == {"conv1/Conv2D": True, "deconv": False}


def test_a_removed_layer_and_a_disabled_one_are_not_quantized():
    written = document()
    del written["deconv"]
    written["pool"]["quant_enable"] = False
    plan = read(written)
    assert {"deconv", "pool"}.isdisjoint(layer.name for layer in plan.layers)
    assert plan.skipped[:2] == (
        ("deconv", "Conv2DBackpropInput", "not in config.json"),
        ("pool", "AvgPool", "quant_enable is false"),
    )


def test_a_disabled_layer_keeps_its_settings_for_the_day_it_is_enabled():
    written = document("skip_layers: 'conv1/Conv2D'\ncommon_config { hfmg_quantize { num_of_bins: 1024 } }")
    written["conv1/Conv2D"]["quant_enable"] = True
    assert read(written).layers[0].activation.num_of_bins == 1024


def change(key, value):
    def apply(written):
        *path, last = key
        for step in path:
            written = written[step]
        written[last] = value

    return apply


CONV = "conv1/Conv2D"
ACT, WTS = "activation_quant_params", "weight_quant_params"


@pytest.mark.parametrize(
    "edit, path, message",
    [
        (change(["version"], 2), "version", "2 is not allowed"),
        (change(["batch_num"], 0), "batch_num", "0 is not allowed"),
        (change(["batch_num"], 1.5), "batch_num", "1.5 is not a whole number"),
        (change(["batch_num"], True), "batch_num", "True is not a whole number"),
        (change(["joint_quant"], 1), "joint_quant", "1 is not true or false"),
        (change(["bach_num"], 1), "bach_num", "unknown and no layer"),
        (change(["conv2"], {}), "conv2", "the graph has no layer 'conv2'"),
        (change(["conv1/Relu"], {}), "conv1/Relu", "is a Relu, which is not quantized"),
        (change(["fakequant_precision_mode"], "FP16"), "fakequant_precision_mode", "'FP16' is not allowed"),
        (change(["skip_fusion_layers"], ["x"]), "skip_fusion_layers[0]", "no layer 'x'"),
        (change(["skip_fusion_layers"], "x"), "skip_fusion_layers", "'x' is no list"),
        (change(["skip_fusion_layers"], [3]), "skip_fusion_layers[0]", "3 is not text"),
        (change(["tensor_quantize"], [{"layer_name": "maxpool"}]), "tensor_quantize[0]", "'input_index' is missing"),
        (
            change(["tensor_quantize"], [{"layer_name": "maxpool", "input_index": -1}]),
            "tensor_quantize[0].input_index",
            "-1",
        ),
        (
            change(["tensor_quantize"], [{"layer_name": "pool", "input_index": 0}]),
            "tensor_quantize[0].layer_name",
            "AvgPool",
        ),
        (change([CONV], 5), CONV, "unknown and no layer"),
        (change([CONV, "quant_enabled"], True), f"{CONV}.quant_enabled", "unknown here"),
        (change([CONV, "quant_enable"], 1), f"{CONV}.quant_enable", "1 is not true or false"),
        (change([CONV, "dmq_balancer_param"], 0.9), f"{CONV}.dmq_balancer_param", "0.9 is not allowed"),
        (change(["pool", "dmq_balancer_param"], 0.5), "pool.dmq_balancer_param", "the balancer does not act on 'pool'"),
        (change(["pool", WTS], {"num_bits": 5}), f"pool.{WTS}.num_bits", "5 is not allowed"),
        (change([CONV, ACT], []), f"{CONV}.{ACT}", "a list is no object"),
        (change([CONV, ACT, "num_bits"], 12), f"{CONV}.{ACT}.num_bits", "12 is not allowed"),
        (change([CONV, ACT, "act_algo"], "ifrm"), f"{CONV}.{ACT}.act_algo", "'ifrm' is not allowed"),
        (change([CONV, ACT, "num_of_bins"], 4096), f"{CONV}.{ACT}.num_of_bins", "a key of hfmg, not of ifmr"),
        (change([CONV, ACT, "search_range"], [1.3, 0.7]), f"{CONV}.{ACT}.search_range.start", "1.3 is not below"),
        (change([CONV, ACT, "search_range"], [1.3]), f"{CONV}.{ACT}.search_range", "not a range"),
        (change([CONV, ACT, "search_step"], "0.1"), f"{CONV}.{ACT}.search_step", "'0.1' is not a number"),
        (change([CONV, ACT], {"act_algo": "hfmg", "search_range": [1, 2]}), f"{CONV}.{ACT}.search_range", "of ifmr"),
        (
            change(["attention/scores", ACT, "asymmetric"], True),
            f"attention/scores.{ACT}.asymmetric",
            "symmetrically only",
        ),
        (change([CONV, WTS, "num_bits"], 5), f"{CONV}.{WTS}.num_bits", "5 is not allowed"),
        (change(["deconv", WTS, "num_bits"], 6), f"deconv.{WTS}.num_bits", "6 bits are for Conv2D only"),
        (change(["dense/MatMul", WTS, "channel_wise"], True), f"dense/MatMul.{WTS}.channel_wise", "has no channels"),
        (change([CONV, WTS, "wts_algo"], "arq"), f"{CONV}.{WTS}.wts_algo", "'arq' is not allowed"),
        (change([CONV, WTS, "num_steps"], 16), f"{CONV}.{WTS}.num_steps", "a key of nuq_quantize, not of arq_quantize"),
        (
            change([CONV, WTS], {"wts_algo": "nuq_quantize", "num_steps": 8}),
            f"{CONV}.{WTS}.num_steps",
            "8 is not allowed",
        ),
        (
            change([CONV, WTS], {"wts_algo": "nuq_quantize", "num_bits": 7}),
            f"{CONV}.{WTS}.num_bits",
            "7 is not allowed",
        ),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(edit, path, message):
    written = document()
    edit(written)
    with pytest.raises(ConfigError) as error:
        read(written)
    (problem,) = error.value.problems
    assert problem.path == path
    assert message in problem.message
    assert problem.line is not None


def test_all_problems_come_at_once_with_their_lines():
    text = """{
  "batch_num": 0,
  "do_fusion": true,
  "do_fusion": false,
  "conv1/Conv2D": {"quant_enable": true, "quant_enable": true, "x": {"y": [1, {"z": "}"}]}},
  "deconv": {"activation_quant_params": {"num_bits": 4}}
}"""
    with pytest.raises(ConfigError) as error:
        read(text)
    assert [(problem.line, problem.column, problem.path) for problem in error.value.problems] == [
        (2, 16, "batch_num"),
        (4, 3, "do_fusion"),
        (5, 42, "conv1/Conv2D.quant_enable"),
        (5, 64, "conv1/Conv2D.x"),
        (6, 54, "deconv.activation_quant_params.num_bits"),
    ]


@pytest.mark.parametrize(
    "text, message, line",
    [
        ("{", "not JSON", 1),
        ('{"batch_num": 1,\n}', "not JSON", 2),
        ("{} 3", "not JSON", 1),
        ('{"batch_num": NaN}', "NaN is no number", None),
        ('{"batch_num": 1e999}', "is not a whole number", 1),
        ('{"batch_num": %s}' % ("1" * 10_000), "not JSON", None),
        ('{"a":' + "[" * 100_000, "nested", None),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than 50 levels", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_texts_that_are_no_configuration(text, message, line):
    with pytest.raises(ConfigError) as error:
        read(text)
    assert message in error.value.problems[0].message
    assert error.value.problems[0].line == line


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "batch_num",
                        "version",
                        "tensor_quantize",
                        "deconv",
                        "quant_enable",
                        "activation_quant_params",
                        "search_range",
                        "layer_name",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_gives_a_plan_or_one_error(value):
    try:
        read(json.dumps({"conv1/Conv2D": value, **(value if isinstance(value, dict) else {})}))
    except ConfigError as error:
        assert error.problems


def test_weights_of_layers_without_any_are_ignored_as_the_original_tool_writes_them():
    written = document()
    plain = {"wts_algo": "arq_quantize", "channel_wise": False, "num_bits": 8}
    written["pool"][WTS] = {**plain, "channel_wise": True}
    written["attention/scores"][WTS] = plain
    plan = read(written)
    assert essence(plan) == essence(resolve(load_config(None), GRAPH))
    assert plan.warnings == ()


def test_the_content_tells_both_forms_apart(tmp_path):
    written = document("batch_num : 3\nskip_layers : 'deconv'")
    del written["pool"]
    file = tmp_path / "quant.cfg"  # whatever its name
    file.write_text("\n " + json.dumps(written))
    configuration = load_config(file)
    assert configuration.batch_num == 3
    plan = resolve(configuration, GRAPH)
    assert [(name, reason) for name, _, reason in plan.skipped[:2]] == [
        ("deconv", "quant_enable is false"),
        ("pool", "not in config.json"),
    ]
    assert {origin for layer in plan.layers for _, origin in layer.sources} == {"config.json", "symmetric only"}


def test_a_file_is_read_by_its_path(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(write_config_json(resolve(load_config("batch_num: 3\n"), GRAPH)))
    assert read_config_json(file, GRAPH).batch_num == 3
    file.write_text("{")
    with pytest.raises(ConfigError) as error:
        read_config_json(file, GRAPH)
    assert error.value.problems[0].file == str(file)
    with pytest.raises(ConfigError, match="does not exist"):
        read_config_json(tmp_path / "none.json", GRAPH)


def test_a_layer_with_the_name_of_a_key_is_refused():
    info = GraphInfo((LayerInfo("version", "Conv2D", True),), {"version": "Conv2D"})
    with pytest.raises(ConfigError, match="'version' cannot be written"):
        write_config_json(resolve(load_config(None), info))


def test_five_thousand_layers_are_read_quickly():
    layers = tuple(LayerInfo(f"layer{index}", "Conv2D", True) for index in range(5000))
    info = GraphInfo(layers, {layer.name: "Conv2D" for layer in layers})
    plan = resolve(load_config(None), info)
    assert essence(read(write_config_json(plan), info)) == essence(plan)
