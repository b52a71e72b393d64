"""Factor records as protobuf text: read, written, and refused with every place that is wrong."""

import time

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibrant.errors import ConfigError
from calibrant.records.layer_record import LayerRecord
from calibrant.records.record_file import read_records, write_records
from calibrant.records.record_schema import record_message

SAMPLE = """\
# made by hand
record {
  key: "conv1/Conv2D"
  value {
    scale_d: 0.0235294122
    offset_d: -128
    scale_w: 0.5
    scale_w: 0.25
    offset_w: 0
    offset_w: 0
  }
}
record: { value < offset_d : 3, scale_d: 1e-1 >; key: 'add:1' }
"""

factors = (
    st.floats(1e-30, 1e30, width=32).filter(lambda x: x > 0) if False else st.floats(2.0**-100, 2.0**100, width=32)
)
offsets = st.integers(-128, 127)


def levels(bits):
    half = 1 << (bits - 1)
    return st.lists(st.integers(-half, half - 1), unique=True, max_size=32).map(sorted).map(tuple)


@st.composite
def layer_records(draw):
    scale_w = tuple(draw(st.lists(factors, max_size=6)))
    scale_d = draw(st.none() | factors)
    bits = draw(st.sampled_from([6, 7, 8]))
    return LayerRecord(
        scale_d=scale_d,
        offset_d=0 if scale_d is None else draw(offsets),
        scale_w=scale_w,
        shift_bit=draw(st.sampled_from([(), (3,), tuple(range(len(scale_w)))])),
        cluster=draw(levels(bits)) if scale_w else (),
        skip_fusion=draw(st.booleans()),
        tensor_balance_factor=tuple(draw(st.lists(factors, max_size=4))),
        wts_type=f"INT{bits}",
    )


@pytest.fixture
def written(tmp_path):
    """A function that writes a record file and returns its path."""

    def write(text):
        path = tmp_path / "record.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems_of(path):
    with pytest.raises(ConfigError) as caught:
        read_records(path)
    assert all(problem.file == str(path) for problem in caught.value.problems)
    return caught.value.problems


def one_record(*fields):
    return 'record {\n  key: "a"\n  value {\n' + "".join(f"    {field}\n" for field in fields) + "  }\n}\n"


def test_reads_any_order_quotes_brackets_and_comments(written):
    assert read_records(written(SAMPLE)) == {
        "conv1/Conv2D": LayerRecord(float(np.float32(0.0235294122)), -128, (0.5, 0.25)),
        "add:1": LayerRecord(float(np.float32(0.1)), 3),
    }


def test_a_byte_order_mark_and_windows_lines_do_not_matter(written):
    text = "\ufeff" + SAMPLE.replace("\n", "\r\n")
    assert list(read_records(written(text))) == ["conv1/Conv2D", "add:1"]


def test_what_is_not_written_has_a_default(written):
    assert read_records(written('record { key: "a" value { } }')) == {"a": LayerRecord()}
    assert read_records(written('record { key: "a" value { scale_d: 2 } }')) == {"a": LayerRecord(2.0, 0)}


def test_every_field_is_read(written):
    fields = ["scale_d: 0.5", "offset_d: -7", "scale_w: [0.25, 2]", "offset_w: [0, 0]", "shift_bit: [1, 2]"]
    fields += ["cluster: [5, -3]", "skip_fusion: true", 'dst_type: "INT8"', "tensor_balance_factor: 8"]
    fields += ['act_type: "INT8"', 'wts_type: "INT6"']
    record = LayerRecord(0.5, -7, (0.25, 2.0), (1, 2), (-3, 5), True, "INT8", (8.0,), "INT8", "INT6")
    assert read_records(written(one_record(*fields))) == {"a": record}
    assert record.weight_bits == 6


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), layer_records(), min_size=1))
def test_what_is_written_is_read_again(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "record.txt"
    text = write_records(records)
    path.write_text(text, encoding="utf-8")
    read = read_records(path)
    assert read == records
    assert list(read) == list(records)
    assert write_records(read) == text


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1))
@example("quote\" 'apostrophe' back\\slash \n newline \t \x00 \x7f é 好")
def test_any_layer_name_survives(name):
    (entry,) = text_format.Parse(write_records({name: LayerRecord(1.0)}), record_message()()).record
    assert entry.key == name


@settings(max_examples=60, deadline=None)
@given(st.floats(2.0**-126, 2.0**127, width=32))
@example(0.10000000149011612)
def test_floats_are_written_as_the_shortest_decimal(value):
    text = write_records({"a": LayerRecord(scale_d=value)})
    decimal = text.split("scale_d: ")[1].split()[0]
    assert np.float32(decimal) == value
    digits = decimal.split("e")[0].replace(".", "").replace("-", "").strip("0")
    for fewer in range(1, len(digits)):
        assert np.float32(f"{value:.{fewer - 1}e}") != value


def test_weights_offsets_are_written_as_zeros():
    text = write_records({"a": LayerRecord(0.5, 1, (0.25, 0.5))})
    assert text.count("offset_w: 0\n") == 2


def test_no_records_are_no_text():
    assert write_records({}) == ""


@pytest.mark.parametrize("text", ["", "   \n# nothing\n"])
def test_a_file_without_records_is_refused(written, text):
    (problem,) = problems_of(written(text))
    assert "no record" in problem.message


@pytest.mark.parametrize(
    "field, line, column, message",
    [
        ("scale_d: 0", 4, 5, "scale_d is 0"),
        ("scale_d: -1", 4, 5, "scale_d is -1"),
        ("scale_d: nan", 4, 5, "scale_d is nan"),
        ("scale_d: 1e50", 4, 5, "scale_d is inf"),
        ("scale_d: 1e-38", 4, 5, "scale_d is 9.99999935e-39"),
        ("scale_w: [1, 1e-45]", 4, 5, "scale_w is 1.40129846e-45"),
        ("scale_w: -0.5", 4, 5, "scale_w is -0.5"),
        ("tensor_balance_factor: 0", 4, 5, "tensor_balance_factor is 0"),
        ("scale_d: 1 offset_d: 128", 4, 16, "offset_d is 128"),
        ("scale_w: 1 offset_w: 5", 4, 16, "offset_w is 5"),
        ("scale_w: 1 scale_w: 2 offset_w: 0", 4, 27, "1 offset_w beside 2 scale_w"),
        ("shift_bit: 32", 4, 5, "shift_bit is 32"),
        ("scale_w: 1 shift_bit: [1, 1]", 4, 16, "2 shift_bit beside 1 scale_w"),
        ("scale_w: 1 cluster: 300", 4, 16, "cluster is 300"),
        ("scale_w: 1 cluster: 3 cluster: 3", 4, 16, "twice"),
        ('wts_type: "INT6" scale_w: 1 cluster: [31, -33]', 4, 33, "cluster is -33"),
        ('wts_type: "INT7" scale_w: 1 cluster: 64', 4, 33, "cluster is 64"),
        ("cluster: 3", 4, 5, "cluster without scale_w"),
        ("offset_d: 3", 4, 5, "offset_d without scale_d"),
        ('dst_type: "INT4"', 4, 5, "dst_type is 'INT4'"),
        ('dst_type: "INT16"', 4, 5, "dst_type INT16 without scale_w"),
        ('scale_d: 1 offset_d: 3 scale_w: 1 dst_type: "INT16"', 4, 16, "offset_d is 3 beside the dst_type INT16"),
        ('dst_type: "INT8" scale_d: 0', 4, 22, "scale_d is 0"),
        ("scale_w: # half\n 0.5 scale_d: 0", 5, 6, "scale_d is 0"),
        ("scale_w: [1, 0, 2]", 4, 5, "scale_w is 0"),
        ('wts_type: "INT5"', 4, 5, "wts_type is 'INT5'"),
        ('act_type: "FP16"', 4, 5, "act_type is 'FP16'"),
    ],
)
def test_values_that_are_no_factors(written, field, line, column, message):
    (problem,) = problems_of(written(one_record(field)))
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
    assert problem.path.startswith("record[0].value.")
    assert problem.allowed


def test_all_wrong_values_are_listed_with_their_places(written):
    text = SAMPLE.replace("0.25", "-0.25").replace("1e-1", "0").replace("'add:1'", "''")
    problems = problems_of(written(text))
    assert [(p.line, p.column, p.path) for p in problems] == [
        (8, 5, "record[0].value.scale_w[1]"),
        (13, 33, "record[1].value.scale_d"),
        (13, 47, "record[1].key"),
    ]
    assert problems[0].source == "    scale_w: -0.25"


def test_a_layer_twice_is_refused(written):
    (problem,) = problems_of(written(SAMPLE.replace("add:1", "conv1/Conv2D")))
    assert "second record of 'conv1/Conv2D'" in problem.message
    assert (problem.line, problem.column) == (13, 50)


def test_a_record_without_key_or_value_is_placed_where_it_begins(written):
    problems = problems_of(written("record {\n}\n  record { key: 'a' }"))
    assert [(p.line, p.column, p.path) for p in problems] == [
        (1, 1, "record[0].key"),
        (1, 1, "record[0].value"),
        (3, 3, "record[1].value"),
    ]


@pytest.mark.parametrize(
    "text, line",
    [
        ('record {\n  key: "a\n}', 2),
        ("record {\n  key: 'a'\n", 2),
        ("\n}", 2),
        ("record: 5", 1),
        (one_record("scale_d: abc"), 4),
        (one_record("scale_d: 1", "scale_d: 2"), 5),
        (one_record("shift_bit: -1"), 4),
        (one_record("offset_d: 1" + "0" * 6000), 4),
        ('record { key: "\\xff" }', 1),
    ],
)
def test_text_that_is_not_of_this_format(written, text, line):
    (problem,) = problems_of(written(text))
    assert problem.line == line
    assert problem.column >= 1
    assert 0 < len(problem.message) <= 300
    assert not problem.message[0].isdigit()


def test_an_unknown_field_is_answered_with_the_nearest_ones(written):
    (problem,) = problems_of(written(one_record("scalle_d: 1")))
    assert problem.message == "unknown field 'scalle_d'"
    assert (problem.line, problem.column) == (4, 5)
    assert "'scale_d'" in problem.hint
    assert "wts_type" in problem.allowed


def test_files_that_cannot_be_read(tmp_path, written):
    assert "does not exist" in problems_of(tmp_path / "none.txt")[0].message
    assert "this is a directory" in problems_of(tmp_path)[0].message
    assert "the name of the record file is empty" in problems_of("")[0].message
    assert "not UTF-8" in problems_of(written(b"record {\n \xff"))[0].message
    too_large = tmp_path / "large.txt"
    with too_large.open("wb") as file:
        file.truncate(33 << 20)
    assert "larger than 32 MiB" in problems_of(too_large)[0].message


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_raise_nothing_but_a_configuration_error(tmp_path_factory, data):
    text = SAMPLE
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        inserted = data.draw(
            st.sampled_from(["", "{", "}", '"', "'", "\\", "[", ":", "#", "<", "-", "\0", "key", "9" * 99])
        )
        text = text[:at] + inserted + text[at + data.draw(st.integers(0, 3)) :]
    path = tmp_path_factory.mktemp("damaged") / "record.txt"
    path.write_text(text, encoding="utf-8")
    try:
        assert read_records(path)
    except ConfigError as error:
        assert all(problem.file == str(path) for problem in error.problems)


def test_fifty_thousand_lines_are_read_in_bounded_time(written):
    records = {
        f"layer{n}": LayerRecord(0.1, 0, tuple(np.linspace(0.1, 0.2, 500, dtype=np.float32).tolist()))
        for n in range(50)
    }
    path = written(write_records(records))
    began = time.process_time()
    assert len(read_records(path)) == 50
    assert time.process_time() - began < 20


@pytest.mark.real
def test_a_real_file(shared, written):
    records = read_records(shared / "amct" / "record_quantized.txt")
    assert len(records) == 54
    assert sum(len(record.scale_w) for record in records.values()) == 17057
    assert records["MobilenetV2/Logits/AvgPool"] == LayerRecord(float(np.float32(0.0235294122)), -128)
    assert read_records(written(write_records(records))) == records


def test_the_fields_of_pruning_are_read_over(written):
    text = """record { key: "prune_producer" value { scale_d: 1 offset_d: 2  # prune_producer {
      prune_producer { name: "a}" attr [ {x: 1}, <y: 2> ] }, prune_consumer: "x" prune_consumer < a: 1 >; scale_w: 3
    } }"""
    (record,) = read_records(written(text)).items()
    assert record == ("prune_producer", LayerRecord(scale_d=1.0, offset_d=2, scale_w=(3.0,)))
    with pytest.raises(ConfigError) as error:
        read_records(written(text.replace("scale_w", "scale_x")))
    assert (error.value.problems[0].line, error.value.problems[0].column) == (2, 107)
