"""One row of the table of fields after the other: what is inside its range is accepted, what is outside is not."""

import ast
from dataclasses import fields, is_dataclass

import pytest

from calibrant.config import QUANTIZABLE_TYPES, load_config
from calibrant.config.model import FMRQuantize
from calibrant.config.rules import RULES, default_of
from calibrant.config.schema import messages
from calibrant.errors import ConfigError

ARQ = "common_config { arq_quantize { ? } }"
NUQ = "common_config { nuq_quantize { ? } }"
IFMR = "common_config { ifmr_quantize { ? } }"
HFMG = "common_config { hfmg_quantize { ? } }"
DMQ = "common_config { dmq_balancer { ? } }"
TYPE = "override_layer_types { calibration_config {} ? }"
LAYER = "override_layer_configs { calibration_config {} ? }"
TENSOR = "tensor_quantize { layer_name: 'a' ? }"
FP16 = "FORCE_FP16_QUANT"
TYPES = [repr(type) for type in QUANTIZABLE_TYPES]
TOO_LARGE = "4294967296"

# the text around the field, the field, accepted values, refused values, a part of what the message says is allowed
ROWS = [
    ("?", "batch_num", ["1", "4294967295"], ["0", "-1", TOO_LARGE, "1.0", "'1'", "x"], "above 0"),
    ("?", "activation_offset", ["true", "false"], ["2", "yes", "'true'"], "true or false"),
    ("?", "joint_quant", ["true", "false"], ["on", "-1"], "true or false"),
    ("?", "do_fusion", ["true", "false"], ["TRUE", "0.0"], "true or false"),
    ("?", "skip_layers", ["'a'", "['a', 'b']"], ["a", "1", "''", "['a', 'a']"], ""),
    ("?", "skip_layer_types", TYPES, ["'Relu'", "'MaxPool'", "''", "'conv2d'"], "Conv2D"),
    ("?", "skip_layer_types", ["['Conv2D', 'MatMul']"], ["['Conv2D', 'Conv2D']"], "once"),
    ("?", "skip_approximation_layers", ["'a'"], ["['a', 'a']", "{}"], ""),
    ("?", "skip_fusion_layers", ["'a'", "[]"], ["['a', 'a']", "true"], ""),
    ("?", "fakequant_precision_mode", [FP16], ["FP16", "0", "2", "''"], FP16),
    (TYPE, "layer_type", TYPES, ["'MaxPool'", "''", "5"], "Conv2D"),
    (LAYER, "layer_name", ["'a'"], ["a", "''", "[]"], "quantizable layer"),
    (TENSOR, "input_index", ["0", "1"], ["-1", "0.5", "'0'", TOO_LARGE], "counted from 0"),
    (ARQ, "channel_wise", ["true", "false"], ["2"], "true or false"),
    (ARQ, "quant_bits", ["6", "7", "8"], ["5", "9", "0", "16"], "6, 7 or 8"),
    (IFMR, "search_range_start", ["0.0001", "1.28"], ["0", "-0.5", "1.3", "2", "nan", "inf"], "above 0"),
    (IFMR, "search_range_end", ["0.72", "100"], ["0.7", "0.6", "0", "inf", "1e39", "0x1"], "above search"),
    (IFMR, "search_step", ["0.6", "0.00001", "1e-2"], ["0", "0.60001", "-0.01", "nan", "1e-50"], "at most"),
    (IFMR, "max_percentile", ["0.500001", "1", "1.0"], ["0.5", "1.00001", "0", "-1"], "above 0.5"),
    (IFMR, "min_percentile", ["0.500001", "1"], ["0.5", "1.00001", "true"], "above 0.5"),
    (IFMR, "asymmetric", ["true", "false"], ["3"], "true or false"),
    (IFMR, "dst_type", ["INT8", "1", "INT16", "2"], ["0", "INT4", "'INT8'"], "INT8"),
    (HFMG, "num_of_bins", ["1024", "2048", "4096", "8192"], ["1023", "512", "0", "16384"], "2048, 4096 or 8192"),
    (HFMG, "asymmetric", ["true", "f"], ["no"], "true or false"),
    (HFMG, "dst_type", ["INT8", "INT16"], ["int8"], "INT8"),
    (NUQ, "num_steps", ["16", "32"], ["15", "17", "64", "0"], "16 or 32"),
    (NUQ, "num_of_iteration", ["0", "5"], ["6", "-1", "1.5"], "from 0 to 5"),
    (DMQ, "migration_strength", ["0.2", "0.5", "0.8"], ["0.19999", "0.80001", "0", "1"], "from 0.2 to 0.8"),
]
ACCEPTED = [
    pytest.param(around.replace("?", f"{field}: {value}"), field, value, id=f"{field}={value}")
    for around, field, good, _, _ in ROWS
    for value in good
]
REFUSED = [
    pytest.param(around.replace("?", f"{field}: ?"), value, allowed, id=f"{field}={value}")
    for around, field, _, bad, allowed in ROWS
    for value in bad
]


WORDS = {"true": True, "false": False, "f": False, "INT8": "INT8", "INT16": "INT16", FP16: FP16}
DST_TYPES = {"1": "INT8", "2": "INT16"}


def meant(field, text):
    """The value of a field by its text, read otherwise than the parser does."""
    if field == "dst_type" and text in DST_TYPES:
        return DST_TYPES[text]
    value = WORDS[text] if text in WORDS else ast.literal_eval(text)
    if field.startswith("skip_"):
        return (value,) if isinstance(value, str) else tuple(value)
    return value


def read_values(message, field):
    """What a field has in a message and those inside it, wherever it is set."""
    for each in fields(message):
        value = getattr(message, each.name)
        inner = [part for part in (value if isinstance(value, tuple) else (value,)) if is_dataclass(part)]
        for part in inner:
            yield from read_values(part, field)
        if each.name == field and value is not None and not inner:
            yield value


@pytest.mark.parametrize("text, field, value", ACCEPTED)
def test_what_is_inside_the_range_is_read(text, field, value):
    assert list(read_values(load_config(f"{text}\n"), field)) == [meant(field, value)]


@pytest.mark.parametrize("text, value, allowed", REFUSED)
def test_what_is_outside_the_range_is_refused_at_its_place(text, value, allowed):
    column = text.index("?") + 1
    with pytest.raises(ConfigError) as error:
        load_config(text.replace("?", value) + "\n")
    (problem,) = error.value.problems
    assert problem.line == 1
    assert column <= problem.column <= column + len(value)
    assert allowed in problem.allowed


def test_every_scalar_of_the_schema_has_a_row():
    scalars = {
        (message.name, field.name)
        for message in messages().values()
        for field in message.fields.values()
        if field.kind != "message"
    }
    assert set(RULES) == scalars


@pytest.mark.parametrize(
    "message, field, default",
    [
        ("AMCTConfig", "batch_num", 1),
        ("AMCTConfig", "activation_offset", True),
        ("AMCTConfig", "joint_quant", False),
        ("AMCTConfig", "do_fusion", True),
        ("ARQuantize", "quant_bits", 8),
        ("FMRQuantize", "search_range_start", 0.7),
        ("FMRQuantize", "search_range_end", 1.3),
        ("FMRQuantize", "search_step", 0.01),
        ("FMRQuantize", "max_percentile", 0.999999),
        ("FMRQuantize", "min_percentile", 0.999999),
        ("FMRQuantize", "dst_type", "INT8"),
        ("HFMGQuantize", "num_of_bins", 4096),
        ("NUQuantize", "num_steps", 32),
        ("NUQuantize", "num_of_iteration", 1),
        ("DMQBalancer", "migration_strength", 0.5),
    ],
)
def test_defaults(message, field, default):
    assert default_of(message, field) == default


@pytest.mark.parametrize(
    "fields, message, column",
    [
        ("search_range_start: 1.3 search_range_end: 1.3", "1.3 is not below search_range_end 1.3", 53),
        ("search_range_end: 0.5", "0.5 is not above search_range_start 0.7 (its default)", 51),
        ("search_range_start: 0.9 search_range_end: 1.2 search_step: 0.31", "search_step 0.31 is larger than 0.3", 92),
        ("search_range_start: 1.295", "search_step 0.01 (its default) is larger than 0.005", 53),
    ],
)
def test_the_search_range_is_checked_as_a_whole(fields, message, column):
    with pytest.raises(ConfigError) as error:
        load_config(f"common_config {{ ifmr_quantize {{ {fields} }} }}")
    (problem,) = error.value.problems
    assert message in problem.message
    assert problem.column == column


def test_the_width_of_the_search_range_is_taken_in_decimal():
    text = "common_config { ifmr_quantize { search_range_start: 0.9 search_range_end: 1.2 search_step: 0.3 } }"
    assert load_config(text).common_config.ifmr_quantize == FMRQuantize(0.9, 1.2, 0.3)
