"""Files in the Ascend operator set that others have written: defaults, other structures, shifts, mistakes."""

import numpy as np
import pytest
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import dtypes

from calibrant.errors import ModelError
from calibrant.graph import nodes as nd
from calibrant.graph.ascend.deq_scale import pack
from calibrant.graph.ascend.lower import lower
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once

SCALE_D, OFFSET = 0.05, -20
CHANNELS = 4
RANDOM = np.random.default_rng(3)
WEIGHTS = RANDOM.integers(-127, 128, (3, 3, 2, CHANNELS)).astype(np.int8)
SCALE_W = np.array([0.01, 0.02, 0.005, 0.03], np.float32)
BIAS = np.array([1000, -2000, 30000, 7], np.int32)
IMAGE = RANDOM.normal(0, 3, (2, 5, 6, 2)).astype(np.float32)


class Written:
    """A file that is put together node by node."""

    def __init__(self, kind=dtypes.float32):
        self.kind = kind
        self.file = GraphDef()

    def node(self, op, name, *inputs, **attributes):
        self.file.node.append(nd.make_node(op, name, inputs, **attributes))
        return name

    def constant(self, name, value):
        self.file.node.append(nd.constant_node(name, value))
        return name

    def image(self):
        node = nd.make_node("Placeholder", "x", [], dtype=self.kind)
        for size in (-1, 5, 6, 2):
            node.attr["shape"].shape.dim.add().size = size
        self.file.node.append(node)
        return "x"

    def quant(self, source, name="quant", **attributes):
        attributes = {"T": self.kind, "scale": 1 / SCALE_D, "offset": float(OFFSET), **attributes}
        return self.node("AscendQuant", name, source, **{k: v for k, v in attributes.items() if v is not None})

    def weights(self, offset=0):
        offset = self.constant("w/offset", np.full((1, 1, 1, CHANNELS), offset, np.int8))
        return self.node("AscendWeightQuant", "w/quant", self.constant("w", WEIGHTS), offset, T=self.kind)

    def conv(self, codes, weights, name="conv", **attributes):
        options = {"T": self.kind, "strides": [1, 1, 1, 1], "padding": "SAME", **attributes}
        return self.node("Conv2D", name, codes, weights, **options)

    def dequant(self, source, scale, shift=0, name="dequant", **attributes):
        packed = self.constant(f"{name}/scale", pack(np.asarray(scale, np.float32), shift))
        attributes = {"T": self.kind, "ksize": [1, 1], "data_format": "NHWC", **attributes}
        return self.node(
            "AscendDequant", name, source, packed, **{k: v for k, v in attributes.items() if v is not None}
        )

    def run(self, values=IMAGE):
        [result] = run_once(load(self.file), {"x": values.astype(self.kind.as_numpy_dtype)})
        return result


def centred(values, scale=SCALE_D, offset=OFFSET, bits=8):
    """What AscendQuant hands on, in int64."""
    codes = np.rint(np.float32(values) * np.float32(1 / scale)) + offset
    return (np.clip(codes, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) - offset).astype(np.int64)


def integer_conv(codes, weights):
    """A convolution on integers, one stride, SAME padding, by loops."""
    padded = np.pad(codes, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = codes.shape[1:3]
    result = np.zeros((*codes.shape[:3], weights.shape[3]), np.int64)
    for row in range(3):
        for column in range(3):
            result += padded[:, row : row + height, column : column + width] @ weights[row, column].astype(np.int64)
    return result


STEP = SCALE_W.astype(np.float64) * SCALE_D
ACCUMULATOR = integer_conv(centred(IMAGE), WEIGHTS)


def close(found, wanted, tolerance=1e-5):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def test_attributes_that_are_not_there_have_defaults():
    file = Written()
    codes = file.node("AscendQuant", "quant", file.image(), scale=1 / SCALE_D)
    file.dequant(file.conv(codes, file.weights()), STEP, T=None, ksize=None, data_format=None)
    close(file.run(), integer_conv(centred(IMAGE, offset=0), WEIGHTS) * STEP)


@pytest.mark.parametrize("offset", [0, 3])
def test_offset_w_is_taken_off_the_weights(offset):
    file = Written()
    file.dequant(file.conv(file.quant(file.image()), file.weights(offset)), STEP)
    close(file.run(), integer_conv(centred(IMAGE), WEIGHTS.astype(int) - offset) * STEP)


def test_one_scale_for_all_channels():
    file = Written()
    file.dequant(file.conv(file.quant(file.image()), file.weights()), [0.003])
    close(file.run(), ACCUMULATOR * 0.003)


@pytest.mark.parametrize("cast", [True, False])
def test_int32_biases_with_and_without_a_cast(cast):
    file = Written()
    bias = file.constant("bias/steps", BIAS)
    if cast:
        bias = file.node("Cast", "bias/cast", bias, SrcT=dtypes.int32, DstT=dtypes.float32)
    sums = file.node("BiasAdd", "bias", file.conv(file.quant(file.image()), file.weights()), bias, T=dtypes.float32)
    file.dequant(sums, STEP)
    close(file.run(), (ACCUMULATOR + BIAS) * STEP)


def test_a_float_bias_behind_the_dequantization():
    file = Written()
    floats = file.dequant(file.conv(file.quant(file.image()), file.weights()), STEP)
    values = np.arange(4, dtype=np.float32)
    file.node("BiasAdd", "bias", floats, file.constant("b", values), T=dtypes.float32)
    close(file.run(), ACCUMULATOR * STEP + values)


def test_nodes_between_the_layer_and_its_dequantization():
    """Neither is the layer matched then, nor is the int32 constant: integers all the way."""
    file = Written()
    sums = file.node("Identity", "between", file.conv(file.quant(file.image()), file.weights()), T=dtypes.float32)
    sums = file.node("AddV2", "bias", sums, file.constant("steps", BIAS), T=dtypes.float32)
    file.dequant(sums, STEP)
    close(file.run(), (ACCUMULATOR + BIAS) * STEP)


def test_an_accumulator_that_others_read_too():
    file = Written()
    sums = file.conv(file.quant(file.image()), file.weights())
    floats = file.dequant(sums, STEP)
    file.node("Sub", "out", sums, floats, T=dtypes.float32)
    close(file.run(), ACCUMULATOR * (1 - STEP))


@pytest.mark.parametrize("shift", [5, 3, [0, 2, 8, 0]], ids=str)
def test_shift_goes_through_int16(shift):
    file = Written()
    file.dequant(file.conv(file.quant(file.image()), file.weights()), STEP, shift)
    shift = np.broadcast_to(shift, CHANNELS)
    short = np.clip(np.floor(ACCUMULATOR / 2.0**shift), -(2**15), 2**15 - 1) * 2.0**shift
    expected = np.where(shift > 0, short, ACCUMULATOR) * STEP
    close(file.run(), expected)
    assert np.any(expected != ACCUMULATOR * STEP)


def test_a_shifted_accumulator_is_clipped_to_int16():
    far = np.array([300_000, -300_000, 2**17 - 4, -(2**17)], np.int32)
    file = Written()
    sums = file.node("Identity", "zeros", file.conv(file.quant(file.image()), file.weights()), T=dtypes.float32)
    sums = file.node("BiasAdd", "bias", sums, file.constant("steps", far), T=dtypes.float32)
    file.dequant(sums, STEP, 2)
    close(file.run(np.zeros_like(IMAGE)), np.broadcast_to([32767, -32768, 32767, -32768], ACCUMULATOR.shape) * STEP * 4)


@pytest.mark.parametrize("window, shift", [([2, 3], 0), ([1, 2, 3, 1], 0), ([2, 3], 4), ([1, 2, 3, 1], 4)], ids=str)
def test_average_with_and_without_a_shift(window, shift):
    file = Written()
    pooled = file.node(
        "AvgPool",
        "pool",
        file.quant(file.image()),
        T=dtypes.float32,
        ksize=[1, 2, 3, 1],
        strides=[1, 2, 3, 1],
        padding="VALID",
    )
    file.dequant(pooled, [SCALE_D], shift, ksize=window)
    sums = centred(IMAGE)[:, :4].reshape(2, 2, 2, 2, 3, 2).sum((2, 4))
    close(file.run(), np.floor(sums / 2.0**shift) * 2.0**shift * SCALE_D / 6)


def test_channels_first():
    file = Written()
    node = nd.make_node("Placeholder", "x", [], dtype=dtypes.float32)
    for size in (-1, CHANNELS, 3, 5):
        node.attr["shape"].shape.dim.add().size = size
    file.file.node.append(node)
    file.dequant(file.node("Identity", "layer", file.quant("x"), T=dtypes.float32), STEP, data_format="NCHW")
    values = RANDOM.normal(0, 2, (2, CHANNELS, 3, 5)).astype(np.float32)
    close(file.run(values), centred(values) * STEP.reshape(-1, 1, 1))


def test_four_bits_by_dst_type():
    file = Written()
    codes = file.quant(file.image(), offset=2.0, dst_type="INT4")
    file.node("AscendAntiQuant", "anti", codes, T=dtypes.float32, scale=SCALE_D, offset=2.0)
    close(file.run(), centred(IMAGE, offset=2, bits=4) * SCALE_D)


def test_sixteen_bits_by_quant_bits():
    file = Written()
    file.node("AscendAntiQuant", "anti", file.quant(file.image(), quant_bits=16), T=dtypes.float32, scale=SCALE_D)
    close(file.run(), centred(IMAGE, bits=16) * SCALE_D)


def test_half_precision_holds_sums_beyond_its_range():
    """The float type of the nodes is float16, but the accumulator is an int32 of the device."""
    file = Written(dtypes.float16)
    sums = file.node("Identity", "between", file.conv(file.quant(file.image()), file.weights()), T=dtypes.float16)
    bias = file.node("Cast", "bias/cast", file.constant("steps", BIAS * 10), SrcT=dtypes.int32, DstT=dtypes.float16)
    file.dequant(file.node("BiasAdd", "bias", sums, bias, T=dtypes.float16), STEP)
    wanted = (integer_conv(centred(IMAGE.astype(np.float16)), WEIGHTS) + BIAS * 10) * STEP
    found = file.run()
    assert found.dtype == np.float16 and np.abs(wanted / STEP).max() > np.finfo(np.float16).max
    close(found.astype(np.float64), wanted, 1e-3)


def test_double_precision():
    file = Written(dtypes.float64)
    file.dequant(file.conv(file.quant(file.image()), file.weights()), STEP)
    found = file.run()
    assert found.dtype == np.float64
    close(found, ACCUMULATOR * STEP)


def test_names_stay_and_leftovers_go():
    file = Written()
    sums = file.conv(file.quant(file.image()), file.weights())
    file.dequant(sums, STEP, name="scope/dequant/AscendDequant")
    before = GraphDef()
    before.CopyFrom(file.file)
    lowered = {node.name: node for node in lower(file.file).node}
    assert file.file == before
    assert {"x", "quant", "conv", "scope/dequant/AscendDequant"} <= lowered.keys()
    assert not {"w", "w/quant", "w/offset", "scope/dequant/AscendDequant/scale"} & lowered.keys()
    assert not any(node.op.startswith("Ascend") for node in lowered.values())


def test_a_graph_without_the_operators_is_left_alone():
    file = Written()
    file.node("Relu", "relu", file.image(), T=dtypes.float32)
    assert list(lower(file.file).node) == list(file.file.node)


BROKEN = {
    "no scale": (lambda f: f.quant(f.image(), scale=None), "AscendQuant has no scale"),
    "scale 0": (lambda f: f.quant(f.image(), scale=0.0), "has the scale 0.0"),
    "scale nan": (lambda f: f.quant(f.image(), scale=float("nan")), "has the scale nan"),
    "scale as int": (lambda f: f.quant(f.image(), scale=3), "has the scale 3"),
    "offset inf": (lambda f: f.quant(f.image(), offset=float("inf")), "has the offset inf"),
    "bits": (lambda f: f.quant(f.image(), quant_bits=33), "has 33 quant_bits"),
    "dst_type": (lambda f: f.quant(f.image(), dst_type="FP8"), "has the dst_type 'FP8'"),
    "T": (lambda f: f.quant(f.image(), T=dtypes.int32), "T that is not a float type"),
    "inputs": (lambda f: f.node("AscendDequant", "d", f.image(), T=dtypes.float32), "has 1 inputs, not 2"),
    "no constant": (
        lambda f: f.node("AscendDequant", "d", f.quant(f.image()), "x", T=dtypes.float32),
        "deq_scale that is not a constant",
    ),
    "wrong type": (
        lambda f: f.node("AscendDequant", "d", f.quant(f.image()), f.constant("c", np.ones(3, np.int64))),
        "deq_scale of 3 int64 values",
    ),
    "empty": (
        lambda f: f.node("AscendDequant", "d", f.quant(f.image()), f.constant("c", np.ones(0, np.uint64))),
        "deq_scale of 0 uint64 values",
    ),
    "scale inf": (lambda f: f.dequant(f.quant(f.image()), [np.inf]), "not a finite number"),
}


@pytest.mark.parametrize("build, message", BROKEN.values(), ids=BROKEN)
def test_mistakes_are_named(build, message):
    file = Written()
    build(file)
    with pytest.raises(ModelError, match=message) as caught:
        load(file.file)
    assert all(problem.path for problem in caught.value.problems)


def test_all_mistakes_at_once():
    file = Written()
    file.dequant(file.quant(file.image(), scale=None, quant_bits=1), [np.nan])
    with pytest.raises(ModelError) as caught:
        lower(file.file, "FILE")
    assert len(caught.value.problems) == 3 and "FILE: dequant" in str(caught.value)
