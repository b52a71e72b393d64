"""The check of the deployable file notices each single departure from its specification."""

import numpy as np
import pytest
from ascend_file import ATTRIBUTES, File, check_file
from ascend_networks import TENSORS, chain, file_of, quantized, residual
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.python.framework import tensor_util

from calibrant.graph import nodes as nd
from calibrant.result import result_files

CASES = {"chain": (chain, ""), "residual": (residual, TENSORS)}
HELD_IN = {
    "AscendQuant": "chain",
    "AscendWeightQuant": "chain",
    "AscendDequant": "chain",
    "AscendAntiQuant": "residual",
}


@pytest.fixture
def opened(tmp_path):
    """A function that gives the file of a case, for the test to change, and its network."""

    def open_case(name):
        result = quantized(*CASES[name])
        path = tmp_path / "record.txt"
        path.write_bytes(result_files(result)["record.txt"])
        return File(file_of(result), path), result.network

    return open_case


def changed(value):
    """The attribute a little off."""
    kind, content = value.WhichOneof("value"), AttrValue()
    content.CopyFrom(value)
    if kind == "f":
        content.f = np.nextafter(np.float32(value.f), np.float32(np.inf))
    elif kind == "i":
        content.i += 1
    elif kind == "s":
        content.s = b"NCHW" if value.s == b"NHWC" else b"INT4"
    elif kind == "type":
        content.type = 19
    else:
        content.list.i[0] += 1
    return content


def places(op):
    """Every attribute of every operator of a kind, in the case that has the kind."""
    return [(HELD_IN[op], op, attribute) for attribute in sorted(ATTRIBUTES[op])]


ALL = [place for op in ATTRIBUTES for place in places(op)]


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_found_in_the_file_as_it_is(case, opened):
    file, network = opened(case)
    assert check_file(file, network) == {layer.layer.name for layer in network.layers}


@pytest.mark.parametrize("how", ["off", "missing"])
@pytest.mark.parametrize("case, op, attribute", ALL, ids=[f"{op} {attribute}" for _, op, attribute in ALL])
def test_attributes(case, op, attribute, how, opened):
    file, network = opened(case)
    for node in file.of(op):
        before = AttrValue()
        before.CopyFrom(node.attr[attribute])
        if how == "off":
            node.attr[attribute].CopyFrom(changed(before))
        else:
            del node.attr[attribute]
        with pytest.raises(AssertionError):
            check_file(file, network)
        node.attr[attribute].CopyFrom(before)
    check_file(file, network)


@pytest.mark.parametrize("op", ATTRIBUTES)
def test_an_attribute_too_many(op, opened):
    file, network = opened(HELD_IN[op])
    file.of(op)[0].attr["quant_mode"].i = 1
    with pytest.raises(AssertionError):
        check_file(file, network)


@pytest.mark.parametrize("word", ["operator", "middle", "scope"])
@pytest.mark.parametrize("op", ATTRIBUTES)
def test_names(op, word, opened):
    file, network = opened(HELD_IN[op])
    for node in list(file.of(op)):
        *scope, middle, last = node.name.split("/")
        name = {
            "operator": [*scope, middle, last.lower()],
            "middle": [*scope, middle.replace("_", ""), last] if "_" in middle else [*scope, "de_quant", last],
            "scope": ["elsewhere", middle, last],
        }[word]
        with pytest.raises(AssertionError):
            check_file(renamed(file, node.name, "/".join(name)), network)


def renamed(file, old, new):
    """A copy with one node, and what reads it, renamed."""
    other = object.__new__(File)
    other.records, other.nodes = file.records, {}
    for node in file.nodes.values():
        copy = nd.copy_node(node, [new if name.partition(":")[0] == old else name for name in node.input])
        copy.name = new if node.name == old else node.name
        other.nodes[copy.name] = copy
    return other


@pytest.mark.parametrize("op", ATTRIBUTES)
def test_the_name_of_the_operator(op, opened):
    file, network = opened(HELD_IN[op])
    file.of(op)[0].op = f"{op}V2"
    with pytest.raises((AssertionError, KeyError)):
        check_file(file, network)


@pytest.mark.parametrize("bit", [0, 22, 23, 31, 32, 39, 40, 47, 48, 63])
def test_one_bit_of_the_packed_scale(bit, opened):
    file, network = opened("chain")
    for dequant in file.of("AscendDequant"):
        words = file.value(dequant, 1)
        with pytest.raises(AssertionError), constant(file, dequant, 1, words ^ np.uint64(1 << bit)):
            check_file(file, network)


@pytest.mark.parametrize("part", ["weights", "offset_w", "bias"])
@pytest.mark.parametrize("how", ["a step off", "another type"])
def test_one_integer(part, how, opened):
    file, network = opened("chain")
    readers = file.of("AscendWeightQuant") if part != "bias" else file.of("Cast")
    index = {"weights": 0, "offset_w": 1, "bias": 0}[part]
    for reader in readers:
        values = file.value(reader, index)
        other = values.copy() if how == "a step off" else values.astype(np.int64)
        other.reshape(-1)[0] += how == "a step off"
        with pytest.raises(AssertionError), constant(file, reader, index, other):
            check_file(file, network)
    assert len(readers) > 2


class constant:  # noqa: N801 - reads as a word in a with statement
    """Another constant at an input of a node, for as long as the block lasts."""

    def __init__(self, file, node, index, values):
        self.tensor = file.producer(node, index).attr["value"].tensor
        self.before, self.after = tensor_util.MakeNdarray(self.tensor), values

    def __enter__(self):
        self.tensor.CopyFrom(tensor_util.make_tensor_proto(self.after))

    def __exit__(self, *_):
        self.tensor.CopyFrom(tensor_util.make_tensor_proto(self.before))


def test_a_quantizer_that_is_left_out(opened):
    file, network = opened("chain")
    for layer in (layer.layer.name for layer in network.layers):
        node, before = file.nodes[layer], list(file.nodes[layer].input)
        node.input[0] = file.producer(node, 0).input[0]
        with pytest.raises((AssertionError, KeyError)):
            check_file(file, network)
        node.input[0] = before[0]
    check_file(file, network)
