"""The text format: everything it allows is read as protobuf reads it, and nothing it does not allow gets through."""

from dataclasses import fields

import pytest
from config_samples import configurations, to_text
from google.protobuf import descriptor_pool, message_factory, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.config import Configuration, load_config, read_config
from calibrant.config.load import _build
from calibrant.config.model import MESSAGES
from calibrant.config.parse import parse
from calibrant.config.schema import DESCRIPTOR_FILE, messages
from calibrant.errors import ConfigError
from calibrant.text_source import Source


@pytest.fixture(scope="module")
def message_class():
    """AMCTConfig as protobuf itself makes it from the same schema."""
    from google.protobuf import descriptor_pb2

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_FILE.read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("calibrant.config.AMCTConfig"))


def values(message):
    """A protobuf message as nested dicts of the fields that are set, floats as the 32 bits they are."""
    found = {}
    for field, value in message.ListFields():
        repeated = isinstance(value, (list, tuple)) or hasattr(value, "append")
        elements = [values(v) if hasattr(v, "ListFields") else v for v in (value if repeated else [value])]
        if field.enum_type:
            elements = [field.enum_type.values_by_number[number].name for number in elements]
        found[field.name] = elements if repeated else elements[0]
    return found


def values_of(configuration, to_float32):
    """The same of one of our dataclasses."""
    found = {}
    for field in fields(configuration):
        value = getattr(configuration, field.name)
        if field.name in ("source", "places", "labels", "mapping_path") or value is None or value == ():
            continue
        elements = [
            values_of(v, to_float32) if hasattr(v, "__dataclass_fields__") else to_float32(v)
            for v in (value if isinstance(value, tuple) else [value])
        ]
        found[field.name] = elements if isinstance(value, tuple) else elements[0]
    return found


def to_float32(value):
    import numpy as np

    return float(np.float32(value)) if isinstance(value, float) else value


def parsed(text):
    """Our reading without the rules of single values, and whether the parser found a problem."""
    tree, problems, _ = parse(Source.of(text))
    return tree, problems


def test_the_classes_have_the_fields_of_the_schema():
    assert set(MESSAGES) == set(messages())
    for name, message in messages().items():
        ours = {"source", "places", "labels", "warnings", "listed", "nuq_mapping_file", "mapping_path"}
        own = {field.name for field in fields(MESSAGES[name])} - ours
        assert own == set(message.fields)


PUBLIC_NUMBERS = {
    "AMCTConfig": {
        "batch_num": 1,
        "activation_offset": 2,
        "skip_layers": 10,
        "skip_layer_types": 11,
        "fakequant_precision_mode": 21,
        "common_config": 50,
        "override_layer_types": 51,
        "override_layer_configs": 100,
        "do_fusion": 200,
        "skip_fusion_layers": 201,
    },
    "CalibrationConfig": {"arq_quantize": 13, "ifmr_quantize": 100, "hfmg_quantize": 101, "dmq_balancer": 200},
    "ARQuantize": {"channel_wise": 1, "quant_bits": 10},
    "FMRQuantize": {
        "search_range_start": 1,
        "search_range_end": 2,
        "search_step": 3,
        "max_percentile": 4,
        "min_percentile": 5,
        "asymmetric": 6,
        "dst_type": 10,
    },
    "HFMGQuantize": {"num_of_bins": 1, "asymmetric": 2, "dst_type": 10},
    "DMQBalancer": {"migration_strength": 1},
}


@pytest.mark.parametrize("name", PUBLIC_NUMBERS)
def test_the_publicly_known_field_numbers_are_kept(message_class, name):
    schema = message_class.DESCRIPTOR.file.message_types_by_name[name]
    numbers = {field.name: field.number for field in schema.fields}
    assert {field: numbers[field] for field in PUBLIC_NUMBERS[name]} == PUBLIC_NUMBERS[name]


@settings(max_examples=40, deadline=None)
@given(configurations(), st.sampled_from([" : ", ":", ": "]), st.sampled_from(["{}", "<>"]))
def test_a_written_configuration_comes_back(configuration, colon, braces):
    text = to_text(configuration, colon, braces)
    if text:
        found, problems = read_config(text)
        assert found == configuration
        assert {problem.path for problem in problems.listing()} <= {"nuq_config.mapping_file"}


@settings(max_examples=40, deadline=None)
@given(configurations(), st.booleans(), st.booleans(), st.booleans())
def test_protobuf_writes_what_we_read_and_reads_what_we_write(message_class, configuration, one_line, short, brackets):
    text = to_text(configuration)
    if not text:
        return
    message = text_format.Parse(text, message_class())
    assert values(message) == values_of(configuration, to_float32)
    written = text_format.MessageToString(
        message, as_one_line=one_line, use_short_repeated_primitives=short, pointy_brackets=brackets
    )
    assert read_config(written + "\n")[0] == configuration


@pytest.mark.parametrize(
    "text, field, expected",
    [
        ("batch_num:0x10", "batch_num", 16),
        ("batch_num: 017", "batch_num", 15),
        ("batch_num: 2,", "batch_num", 2),
        ("batch_num: 2;", "batch_num", 2),
        ("batch_num: 2 # two", "batch_num", 2),
        ("# first\r\nbatch_num: 2\r\n", "batch_num", 2),
        ("\ufeffbatch_num: 2", "batch_num", 2),
        ("batch_num:\n\n 2", "batch_num", 2),
        ("batch_num:\u00a02", "batch_num", 2),
        ("joint_quant: true", "joint_quant", True),
        ("joint_quant: True", "joint_quant", True),
        ("joint_quant: t", "joint_quant", True),
        ("joint_quant: 1", "joint_quant", True),
        ("joint_quant: false", "joint_quant", False),
        ("joint_quant: False", "joint_quant", False),
        ("joint_quant: f", "joint_quant", False),
        ("joint_quant: 0", "joint_quant", False),
        ("fakequant_precision_mode: FORCE_FP16_QUANT", "fakequant_precision_mode", "FORCE_FP16_QUANT"),
        ("fakequant_precision_mode: 1", "fakequant_precision_mode", "FORCE_FP16_QUANT"),
        ("skip_layers: 'a'", "skip_layers", ("a",)),
        ('skip_layers: "a" skip_layers: "b"', "skip_layers", ("a", "b")),
        ("skip_layers: ['a', \"b\"] skip_layers: 'c'", "skip_layers", ("a", "b", "c")),
        ("skip_layers: []", "skip_layers", ()),
        ("skip_layers: 'con' 'v1'\n\"/x\"", "skip_layers", ("conv1/x",)),
        ("skip_layers: ['con' 'v1', 'b']", "skip_layers", ("conv1", "b")),
        ("skip_layers: 'a#b' # c", "skip_layers", ("a#b",)),
        ("skip_layers: '{'", "skip_layers", ("{",)),
        (r"skip_layers: 'a\'\"\n\x41\101\u00e9\U0001F600'", "skip_layers", ("a'\"\nAAé😀",)),
        (r"skip_layers: '\xc3' '\xa9'", "skip_layers", ("é",)),
        ("skip_layers: 'Größe'", "skip_layers", ("Größe",)),
    ],
)
def test_values_as_text_format_allows_them(text, field, expected):
    tree, problems = parsed(text)
    assert problems.listing() == ()
    assert getattr(read_config(text + "\n")[0], field) == expected


@pytest.mark.parametrize(
    "written, expected",
    [
        ("0.01", 0.01),
        ("1e-2", 0.01),
        (".01f", 0.01),
        ("0.01F", 0.01),
        ("1.0E-2", 0.01),
        ("0.010000000001", 0.01),
        ("0.5", 0.5),
        ("00.5", 0.5),
    ],
)
def test_a_float_is_the_decimal_that_was_written(written, expected):
    found = load_config(f"common_config {{ ifmr_quantize {{ search_step: {written} }} }}").common_config
    assert found.ifmr_quantize.search_step == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 99_999), st.integers(0, 5))
def test_every_decimal_of_six_digits_survives(digits, places):
    value = round(digits / 10**places, places)
    text = f"common_config {{ ifmr_quantize {{ search_range_end: {value!r} }} }}"
    assert read_config(text)[0].common_config.ifmr_quantize.search_range_end == value


@pytest.mark.parametrize(
    "text",
    [
        "common_config : { arq_quantize : { channel_wise : true } }",
        "common_config { arq_quantize { channel_wise : true } }",
        "common_config < arq_quantize < channel_wise : true > >",
        "common_config:{arq_quantize:{channel_wise:true}}",
        "common_config : < arq_quantize { channel_wise : true, }; >",
        "common_config # c {\n{ # }\n arq_quantize { channel_wise # :\n: true } }",
    ],
)
def test_braces_and_colons(text):
    assert load_config(text + "\n").common_config.arq_quantize.channel_wise is True


def test_blocks_as_a_list():
    block = '{ layer_name: "%s" calibration_config {} }'
    text = f"override_layer_configs: [{block % 'a'}, {block % 'b'}]\noverride_layer_configs [{block % 'c'}]"
    assert [override.layer_name for override in load_config(text).override_layer_configs] == ["a", "b", "c"]


WORDS = [
    *("batch_num", "joint_quant", "skip_layers", "common_config", "arq_quantize", "ifmr_quantize", "hfmg_quantize"),
    *("channel_wise", "search_step", "override_layer_configs", "layer_name", "calibration_config", "dst_type"),
    *(
        "{",
        "}",
        "<",
        ">",
        "[",
        "]",
        ":",
        ":",
        ",",
        ";",
        '"a"',
        "'b'",
        "1",
        "0",
        "2",
        "0.5",
        "1e-2",
        "true",
        "f",
        "INT8",
    ),
    *("# x\n", "\n", "'", "-", "x", "/", "\\", "“"),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_no_token_soup_is_read_differently_from_protobuf(message_class, words):
    text = " ".join(words) + "\n"
    message = merged(text, message_class)
    tree, problems = parsed(text)
    assert (len(problems) == 0) == (message is not None)
    if message is not None:
        assert values(message) == values_of(_build(tree, "", {}), to_float32)


def merged(text, message_class):
    """What protobuf's merging reader, for which the last of several scalars counts, makes of a text; None: refused."""
    message = message_class()
    try:
        text_format.Merge(text, message)
    except text_format.ParseError:
        return None
    return message if message.IsInitialized() else None


@settings(max_examples=60, deadline=None)
@given(configurations(), st.data())
def test_a_mistake_anywhere_is_found(message_class, configuration, data):
    """One token of a right file is dropped, doubled or replaced: we complain exactly when protobuf does."""
    tokens = to_text(configuration).replace("\n", " \n ").split(" ")
    tokens = [token for token in tokens if token]
    if not tokens:
        return
    index = data.draw(st.integers(0, len(tokens) - 1))
    tokens[index : index + 1] = data.draw(
        st.sampled_from([[], [tokens[index]] * 2, ["}"], ["{"], [":"], ["x"], ["1"], ["'"], ["=", "1"]])
    )
    text = " ".join(tokens) + "\n"
    _, problems = parsed(text)
    assert (len(problems) == 0) == (merged(text, message_class) is not None), problems.listing()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab_:{}<>[]'\"\\#\n ,;-+.0123456789xefE", max_size=200))
def test_any_text_gives_a_configuration_or_one_error(text):
    try:
        assert isinstance(load_config(text + "\n"), Configuration)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.line is not None
            assert len(str(problem)) < 2000


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_file_gives_a_configuration_or_one_error(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("fuzz") / "quant.cfg"
    file.write_bytes(data)
    try:
        assert isinstance(load_config(file), Configuration)
    except ConfigError as error:
        assert all(problem.file == str(file) for problem in error.problems)
