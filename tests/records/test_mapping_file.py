"""Mapping files of offline models: which layers get non-uniform weights, and what a wrong file is told."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.errors import ConfigError
from calibrant.records.mapping_file import (
    MappedOp,
    Mapping,
    mapping_json,
    nuq_layer_names,
    nuq_record_text,
    read_mapping,
)

names = st.text(st.characters(codec="utf-8"), max_size=12)
mapped_ops = st.builds(MappedOp, names, names, st.lists(names, max_size=4).map(tuple), st.booleans())


def op(name="conv_fused", original=("conv",), compress=True):
    return {
        "name": name,
        "type": "Conv2D",
        "id": 7,
        "attr": [
            {"key": "unrelated", "value": {"list": {"i": [1]}}},
            {"key": "_datadump_original_op_names", "value": {"list": {"s": list(original), "val_type": "x"}}},
            {"key": "_fe_weight_compress", "value": {"b": compress}},
        ],
    }


@pytest.fixture
def written(tmp_path):
    """A function that writes text, or anything else as JSON, and returns the path."""

    def write(content):
        path = tmp_path / "mapping.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def problems_of(path):
    with pytest.raises(ConfigError) as caught:
        read_mapping(path)
    assert all(problem.file == str(path) for problem in caught.value.problems)
    return caught.value.problems


def test_ops_of_all_graphs_are_read(written):
    path = written({"name": "m", "graph": [{"op": [op(), op("b", (), False)]}, {"op": [op("c", ("d", "e"))]}]})
    assert read_mapping(path).ops == (
        MappedOp("conv_fused", "Conv2D", ("conv",), True),
        MappedOp("b", "Conv2D", (), False),
        MappedOp("c", "Conv2D", ("d", "e"), True),
    )


def test_only_ops_with_weight_compression_name_layers_and_each_once(written):
    ops = [op("x", ("pad", "conv", "pad", "relu")), op("y", ("other",), compress=False), op("z", ("conv", "fc"))]
    assert nuq_layer_names(read_mapping(written({"graph": [{"op": ops}]}))) == ("pad", "conv", "relu", "fc")


def test_an_op_without_original_names_stands_for_itself(written):
    unfused = op("conv")
    del unfused["attr"][1]["value"]["list"]["s"]
    without = op("fc")
    del without["attr"][1]
    assert nuq_layer_names(read_mapping(written({"graph": [{"op": [unfused, without]}]}))) == ("conv", "fc")


def test_attributes_may_be_missing(written):
    path = written({"graph": [{"op": [{"name": "a", "type": "Data"}]}]})
    assert read_mapping(path) == Mapping((MappedOp("a", "Data"),))


@settings(max_examples=60, deadline=None)
@given(st.lists(mapped_ops, min_size=1, max_size=6))
def test_what_is_written_is_read_again(tmp_path_factory, ops):
    path = tmp_path_factory.mktemp("mapping") / "quant.json"
    path.write_bytes(mapping_json(ops).encode())
    assert read_mapping(path).ops == tuple(ops)


def test_the_nuq_record_has_one_name_a_line():
    assert nuq_record_text(["conv1", "block/fc"]) == "conv1\nblock/fc\n"
    assert nuq_record_text([]) == ""


@pytest.mark.parametrize(
    "text, line, column, message",
    [
        ("", 1, 1, "empty"),
        (" \n", 2, 1, "empty"),
        ('{"graph": [\n  {"op": [}]}', 2, 11, "not JSON"),
        ("record { }", 1, 1, "not JSON"),
        ('{"graph": [', 1, 12, "not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(written, text, line, column, message):
    (problem,) = problems_of(written(text))
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000], ids=["[[[", "{{{", "999"])
def test_hostile_json_is_refused(written, text):
    assert len(problems_of(written(text))) == 1


@pytest.mark.parametrize(
    "content, path, message",
    [
        ([], "the whole file", "an array"),
        ({}, "graph", "missing"),
        ({"graph": {}}, "graph", "an object"),
        ({"graph": []}, "graph", "no op"),
        ({"graph": [{"op": []}]}, "graph", "no op"),
        ({"graph": [3]}, "graph[0]", "a number"),
        ({"graph": [{}]}, "graph[0].op", "missing"),
        ({"graph": [{"op": [{"type": "Conv2D"}]}]}, "graph[0].op[0].name", "missing"),
        ({"graph": [{"op": [{"name": 1, "type": "Conv2D"}]}]}, "graph[0].op[0].name", "a number"),
        ({"graph": [{"op": [{"name": "a"}]}]}, "graph[0].op[0].type", "missing"),
        ({"graph": [{"op": [{"name": "a", "type": "b", "attr": None}]}]}, "graph[0].op[0].attr", "null"),
        ({"graph": [{"op": [{"name": "a", "type": "b", "attr": ["x"]}]}]}, "graph[0].op[0].attr[0]", "string 'x'"),
        ({"graph": [{"op": [{"name": "a", "type": "b", "attr": [{}]}]}]}, "graph[0].op[0].attr[0].key", "missing"),
        ({"graph": [{"op": [op(compress="yes")]}]}, "graph[0].op[0].attr[2].value.b", "the string 'yes'"),
        ({"graph": [{"op": [op(original=[True])]}]}, "graph[0].op[0].attr[1].value.list.s[0]", "true"),
    ],
)
def test_another_shape_is_refused_with_its_path(written, content, path, message):
    problem = problems_of(written(content))[0]
    assert problem.path == path
    assert message in problem.message
    assert problem.allowed


def test_an_op_that_is_none_is_one_problem(written):
    assert [problem.path for problem in problems_of(written({"graph": [{"op": ["a", op()]}]}))] == ["graph[0].op[0]"]


def test_all_problems_are_listed_up_to_a_readable_number(written):
    assert len(problems_of(written({"graph": [{"op": [op(compress=1), op(original=[2, 3])]}]}))) == 3
    problems = problems_of(written({"graph": [{"op": [op(compress=1)] * 1000}]}))
    assert len(problems) == 101
    assert problems[-1].message == "and 900 more problems"


def test_files_that_cannot_be_read(tmp_path):
    assert "does not exist" in problems_of(tmp_path / "none.json")[0].message
    assert "this is a directory" in problems_of(tmp_path)[0].message


@pytest.mark.real
def test_a_real_file(shared):
    mapping = read_mapping(shared / "amct" / "resnet-50_v1_quantized.json")
    compressed = [op for op in mapping.ops if op.weight_compress]
    assert sum(op.type in ("Conv2D", "FullyConnection") for op in mapping.ops) == 54
    assert len(compressed) == 18
    layers = [name for name in nuq_layer_names(mapping) if name.endswith("/Conv2D")]
    assert len(layers) == 18
    assert "resnet_v1_50/logits/Conv2D" in layers
    assert "resnet_v1_50/block3/unit_6/bottleneck_v1/Pad" in nuq_layer_names(mapping)
