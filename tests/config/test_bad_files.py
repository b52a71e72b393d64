"""Wrong configuration files: every problem at once, each with its place, what was found and what is allowed."""

import pytest

from calibrant.config import ARQuantize, CalibrationConfig, Configuration, NUQuantize, load_config
from calibrant.config.problems import MOST_SHOWN
from calibrant.errors import ConfigError


def problems_of(tmp_path, text):
    file = tmp_path / "quant.cfg"
    file.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert all(problem.file == str(file) for problem in error.value.problems)
    return error.value.problems


# what the file holds, line:column, the field's path, what was found, what is allowed, the hint
CASES = {
    "misspelt field": (
        "btach_num: 2",
        "1:1",
        "btach_num",
        "AMCTConfig has no field 'btach_num'",
        "batch_num, ",
        "did you mean 'batch_num'?",
    ),
    "field of another message": (
        "common_config {\n quant_bits: 7 }",
        "2:2",
        "common_config.quant_bits",
        "no field 'quant_bits'",
        "arq_quantize, ",
        "it is a field of ARQuantize",
    ),
    "text for a number": (
        "batch_num: 'two'",
        "1:12",
        "batch_num",
        "'two' is not a whole number",
        "above 0",
        None,
    ),
    "word for a bool": (
        "\njoint_quant: yes",
        "2:14",
        "joint_quant",
        "'yes' is neither true nor false",
        "true or false",
        None,
    ),
    "text for a block": (
        "common_config: 'x'",
        "1:16",
        "common_config",
        "is a block, found 'x'",
        "braces",
        None,
    ),
    "block for a number": (
        "batch_num { a: 1 { } }",
        "1:11",
        "batch_num",
        "takes one value, found a block",
        "above 0",
        None,
    ),
    "list for one value": (
        "batch_num: [1, 2]",
        "1:12",
        "batch_num",
        "takes one value, found a list",
        "above 0",
        None,
    ),
    "name without quotes": (
        "skip_layers: conv1/Conv2D",
        "1:14",
        "skip_layers[0]",
        "'conv1' is not in quotes",
        "layer",
        None,
    ),
    "typographic quotes": (
        "skip_layers: “conv1”",
        "1:14",
        "skip_layers[0]",
        "not in quotes",
        "layer",
        "plain quotes",
    ),
    "beyond 32 bits": (
        "batch_num: 4294967296",
        "1:12",
        "batch_num",
        "'4294967296' is out of range, 0 to 4294967295",
        "above 0",
        None,
    ),
    "value out of range": (
        "common_config { hfmg_quantize { num_of_bins: 4000 } }",
        "1:46",
        "common_config.hfmg_quantize.num_of_bins",
        "4000 is not allowed",
        "1024, 2048, 4096 or 8192",
        None,
    ),
    "INT16 without weights": (
        'tensor_quantize { layer_name: "pool" input_index: 0 ifmr_quantize { dst_type: INT16 } }',
        "1:79",
        "tensor_quantize[0].ifmr_quantize.dst_type",
        "16 bits are for what layers with weights read, and this is an input of a MaxPool or Add",
        "INT8",
        None,
    ),
    "unknown enum value": (
        "fakequant_precision_mode: FORCE_FP16",
        "1:27",
        "fakequant_precision_mode",
        "'FORCE_FP16' is not a value of",
        "FORCE_FP16_QUANT",
        "did you mean 'FORCE_FP16_QUANT'?",
    ),
    "weight_offset of older versions": (
        "weight_offset: false",
        "1:1",
        "weight_offset",
        "AMCTConfig has no field 'weight_offset'",
        "",
        "leave this field out",
    ),
    "conv_calibration_config of older versions": (
        "conv_calibration_config { arq_quantize { channel_wise: true } }",
        "1:1",
        "conv_calibration_config",
        "no field 'conv_calibration_config'",
        "",
        "write common_config",
    ),
    "fc_calibration_config of older versions": (
        "fc_calibration_config: { arq_quantize { channel_wise: false } }",
        "1:1",
        "fc_calibration_config",
        "no field 'fc_calibration_config'",
        "",
        'override_layer_types { layer_type : "MatMul"',
    ),
    "required field missing": (
        "override_layer_configs {\n layer_name: 'a' }",
        "1:24",
        "override_layer_configs[0]",
        "required field 'calibration_config' is missing",
        "braces",
        None,
    ),
    "required number missing": (
        "tensor_quantize { layer_name: 'a' }",
        "1:17",
        "tensor_quantize[0]",
        "required field 'input_index' is missing",
        "counted from 0",
        None,
    ),
    "value missing": (
        "joint_quant:\nbatch_num: 1",
        "1:1",
        "joint_quant",
        "the value of 'joint_quant' is missing",
        "true or false",
        None,
    ),
    "colon missing": (
        "batch_num 3",
        "1:11",
        "batch_num",
        "a colon is missing after 'batch_num'",
        "':'",
        None,
    ),
    "equals sign": (
        "batch_num = 3",
        "1:11",
        "batch_num",
        "'=' after 'batch_num'",
        "':'",
        None,
    ),
    "brace never closed": (
        "common_config {\n arq_quantize { }",
        "1:15",
        "common_config",
        "this '{' is never closed",
        "'}'",
        None,
    ),
    "brace not closed before the next block": (
        "common_config {\n arq_quantize {\n channel_wise: true\n ifmr_quantize { } }",
        "2:15",
        "common_config.arq_quantize",
        "not closed before 'ifmr_quantize' in line 4",
        "'}'",
        None,
    ),
    "brace too many": (
        "common_config { } }\nbatch_num: 1",
        "1:19",
        None,
        "'}' closes nothing",
        "a field of AMCTConfig",
        None,
    ),
    "other kind of brace": (
        "common_config { >",
        "1:17",
        "common_config",
        "'>' closes the '{' of line 1",
        "'}'",
        None,
    ),
    "list never closed": (
        "skip_layers: ['a',\n'b'\nbatch_num: 1",
        "1:14",
        "skip_layers",
        "this '[' is never closed",
        "']'",
        None,
    ),
    "comma missing in a list": (
        "override_layer_configs: [\n"
        "{ layer_name: 'a' calibration_config {} }\n"
        "{ layer_name: 'b' calibration_config {} }]",
        "3:1",
        "override_layer_configs",
        "a comma is missing",
        "','",
        None,
    ),
    "string never closed": (
        "skip_layers: 'a\nbatch_num: 1",
        "1:14",
        "skip_layers[0]",
        "has no closing quote",
        "layer",
        None,
    ),
    "unknown escape": (
        "skip_layers: 'a\\qb'",
        "1:14",
        "skip_layers[0]",
        "unknown escape '\\\\q'",
        "layer",
        None,
    ),
    "escape that is not UTF-8": (
        "skip_layers: '\\377'",
        "1:14",
        "skip_layers[0]",
        "not UTF-8",
        "layer",
        None,
    ),
    "extension": (
        "[a.b.c]: 1\nbatch_num: 1",
        "1:1",
        None,
        "extensions",
        "",
        None,
    ),
    "text between fields": (
        "batch_num: 1\n*** 7\njoint_quant: true",
        "2:1",
        None,
        "a field's name is expected here, not '***'",
        "a field of AMCTConfig",
        None,
    ),
    "name twice in a list": (
        "skip_layers: ['a', 'b',\n 'a']",
        "2:2",
        "skip_layers[2]",
        "'a' occurs twice, first in line 1",
        "once",
        None,
    ),
    "type overridden twice": (
        "override_layer_types { layer_type: 'MatMul' calibration_config {} }\n" * 2,
        "2:36",
        "override_layer_types[1].layer_type",
        "'MatMul' occurs twice, first in line 1",
        "once",
        "in the place of override_layer_types[0] (line 1)",
    ),
    "layer overridden twice": (
        "override_layer_configs { layer_name: 'a' calibration_config {} }\n" * 2,
        "2:38",
        "override_layer_configs[1].layer_name",
        "'a' occurs twice, first in line 1",
        "once",
        "in the place of override_layer_configs[0] (line 1)",
    ),
    "type that is not quantizable": (
        "skip_layer_types: 'Conv2d'",
        "1:19",
        "skip_layer_types[0]",
        "'Conv2d' is not a quantizable type",
        "Conv2D, ",
        "did you mean 'Conv2D'",
    ),
    "channels of a type without": (
        "override_layer_types { layer_type: 'MatMul' calibration_config {\n arq_quantize { channel_wise: true } } }",
        "2:31",
        "override_layer_types[0].calibration_config.arq_quantize.channel_wise",
        "MatMul has no channels",
        "false",
        None,
    ),
    "7 bits of another type": (
        "override_layer_types { layer_type: 'Conv3D' calibration_config {\n arq_quantize { quant_bits: 7 } } }",
        "2:29",
        "override_layer_types[0].calibration_config.arq_quantize.quant_bits",
        "7 bits are for Conv2D only",
        "8",
        None,
    ),
    "mapping file missing": (
        "nuq_config { mapping_file: 'none.json' }",
        "1:28",
        "nuq_config.mapping_file",
        "the mapping file does not exist",
        "a JSON file",
        "none.json",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_mistake_gives_one_clear_problem(tmp_path, case):
    text, place, path, message, allowed, hint = case
    (problem,) = problems_of(tmp_path, text)
    assert f"{problem.line}:{problem.column}" == place
    assert problem.path == path
    assert message in problem.message
    assert allowed in (problem.allowed or "")
    assert (hint or "") in (problem.hint or "")


@pytest.mark.parametrize(
    "text, warning, expected",
    [
        (
            "batch_num: 1\n batch_num: 2",
            "2:2: 'batch_num' is written twice, first in line 1, column 12: the last one counts",
            Configuration(batch_num=2),
        ),
        (
            "common_config { arq_quantize { channel_wise: true } }\ncommon_config { arq_quantize { quant_bits: 7 } }",
            "2:1: 'common_config' is written twice, first in line 1, column 15: both are merged",
            Configuration(common_config=CalibrationConfig(ARQuantize(True, 7))),
        ),
        (
            "common_config {\n arq_quantize {}\n nuq_quantize {} }",
            "3:2: 'nuq_quantize' and 'arq_quantize' exclude each other, first in line 2, column 15: the last one",
            Configuration(common_config=CalibrationConfig(nuq_quantize=NUQuantize())),
        ),
    ],
)
def test_what_is_written_twice_is_read_as_protobuf_does_with_a_warning_for_both_places(
    tmp_path, text, warning, expected
):
    file = tmp_path / "quant.cfg"
    file.write_text(text)
    found = load_config(file)
    assert found == expected
    assert found.warnings[0].startswith(f"quant.cfg:{warning}")


def test_octal_numbers_are_said_to_be():
    assert load_config("batch_num : 010").warnings == ("1:13: '010' begins with 0 and is octal: 8",)
    assert load_config("batch_num : 07").warnings == load_config("batch_num : 8").warnings == ()


@pytest.mark.parametrize(
    "text, what", [("", "is empty"), (" \n\t\r\n", "is empty"), ("# batch_num: 1\n", "holds nothing but comments")]
)
def test_a_file_that_sets_nothing_means_the_defaults(tmp_path, text, what):
    file = tmp_path / "quant.cfg"
    file.write_text(text)
    assert load_config(file) == Configuration()
    assert load_config(file).warnings == (f"quant.cfg: the file {what}, so every default applies",)


def test_the_message_shows_place_line_caret_allowed_and_hint(tmp_path):
    (problem,) = problems_of(tmp_path, "# steps\ncommon_config {\n\tifmr_quantize { serach_step: 0.02 }\n}\n")
    assert str(problem).splitlines() == [
        f"{tmp_path / 'quant.cfg'}:3:18: common_config.ifmr_quantize.serach_step: "
        "FMRQuantize has no field 'serach_step'",
        "     ifmr_quantize { serach_step: 0.02 }",
        "                     ^",
        "    allowed: search_range_start, search_range_end, search_step, max_percentile, min_percentile, asymmetric, "
        "dst_type",
        "    hint: did you mean 'search_step'?",
    ]


def test_every_problem_is_listed_in_the_order_of_the_file(tmp_path):
    problems = problems_of(
        tmp_path,
        """
        batch_num: 0
        skip_layers: ["a", "a"]
        common_config : {
            arq_quantize < quant_bits : 9, chanel_wise: true >
            ifmr_quantize { search_step: big asymmetric: maybe }
            hfmg_quantize { num_of_bins: 1 }
        }
        override_layer_types { layer_type: "Conv9D" }
        do_fusion true
        joint_quant: true
        """,
    )
    assert [(problem.line, problem.path) for problem in problems] == [
        (2, "batch_num"),
        (3, "skip_layers[1]"),
        (5, "common_config.arq_quantize.quant_bits"),
        (5, "common_config.arq_quantize.chanel_wise"),
        (6, "common_config.ifmr_quantize.search_step"),
        (6, "common_config.ifmr_quantize.asymmetric"),
        (7, "common_config.hfmg_quantize.num_of_bins"),
        (9, "override_layer_types[0]"),
        (9, "override_layer_types[0].layer_type"),
        (10, "do_fusion"),
    ]


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path):
    problems = problems_of(tmp_path, "x: 1\n" * (MOST_SHOWN + 1))
    assert len(problems) == MOST_SHOWN + 1
    assert problems[-1].message == "and 1 more problem"
    assert problems_of(tmp_path, "x: 1\n" * (MOST_SHOWN + 7))[-1].message == "and 7 more problems"
    assert "more than" in problems_of(tmp_path, "x: 1\n" * 50_000)[-1].message


def test_terminal_control_characters_are_not_passed_on(tmp_path):
    (problem,) = problems_of(tmp_path, "skip_layer_types: '\x1b[31mred'\n")
    assert "\x1b" not in str(problem)
