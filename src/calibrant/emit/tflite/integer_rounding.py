"""Operations between layers that the simulation rounds as LiteRT's integer kernels do.

None of these kernels rounds a real number to nearest: each has a fixed-point or float32 formula of its own, and all are
written here with stock operations, exactly. What is exact in float32 stays there, the rest is in float64.

References
----------
XNNPACK: qs8-vadd, qs8-rdsum and qs8-vcvt. LiteRT's own kernel for AVERAGE_POOL_2D. The formulas were held against the
kernels over every sum and code; the tests do the same with fewer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import dtypes

from calibrant.algorithms.arithmetic import Quantizer
from calibrant.emit.tflite.converter_graph import place_factors
from calibrant.emit.tflite.integer_part import IntegerPart, fused_end, moves
from calibrant.emit.tflite.pooling import image_axes, is_global_pool
from calibrant.emit.tflite.simulated_codes import (
    codes_read,
    end_at_six,
    quantizer_behind,
    quantizer_read,
    round_instead,
)
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit
from calibrant.graph.layers import ADDITIONS
from calibrant.quantized_network import QuantizedNetwork

ADDITION_BITS = 20
CONVERSION = 256


def round_as_kernels(
    edit: Edit, network: QuantizedNetwork, part: IntegerPart, factors: Mapping[str, Quantizer]
) -> None:
    """Rewrite what is between the layers of a fake-quantized graph.

    Parameters
    ----------
    edit : of the simulation, with a quantizer behind every tensor of ``factors``.
    network, part : what it was made from.
    """
    _Rounding(edit, network, factors).rewrite(part)


class _Rounding:
    def __init__(self, edit: Edit, network: QuantizedNetwork, factors: Mapping[str, Quantizer]):
        self.edit = edit
        self.graph = network.graph
        self.factors = factors
        self.made: dict[str, list[tuple[str, Quantizer]]] = {}
        for tensor, quantizer in factors.items():
            self.made.setdefault(nd.node_name(tensor), []).append((tensor, quantizer))
        self.places = place_factors(network)

    def rewrite(self, part: IntegerPart) -> None:
        self._places()
        for node in self.graph.nodes.values():
            if node.name not in part.nodes:
                continue
            made = self.factors.get(f"{node.name}:0")
            if node.op in ADDITIONS:
                self._addition(node)
            elif made is not None and (
                node.op == "Mean" or (node.op == "AvgPool" and is_global_pool(self.graph, node))
            ):
                self._mean(node, made)
            elif made is not None and node.op == "AvgPool":
                self._average(node, made)
            elif moves(node):
                self._moved(node)

    def _read(self, name: str, index: int) -> Quantizer | None:
        """The factors with which a node reads an input; None where it reads float."""
        tensor = nd.data_inputs(self.graph.nodes[name])[index]
        return self.places.get((name, index), self.factors.get(tensor))

    def _put(self, op: str, name: str, *inputs: str, dtype: dtypes.DType = dtypes.float32) -> str:
        return self.edit.add(op, name, inputs, T=dtype)

    def _cast(self, tensor: str, name: str, wide: bool) -> str:
        source, target = (dtypes.float32, dtypes.float64) if wide else (dtypes.float64, dtypes.float32)
        return self.edit.add("Cast", name, [tensor], SrcT=source, DstT=target)

    def _addition(self, node: NodeDef) -> None:
        """Integer multiples of both codes are added and shifted right, half a step rounding up (qs8-vadd)."""
        end = fused_end(self.graph, node.name)
        made = self.factors[f"{end}:0"]
        scales = [self._read(node.name, index).scale / made.scale for index in (0, 1)]
        shift = ADDITION_BITS - (math.frexp(max(scales))[1] - 1)
        if not 2**-10 <= min(scales) <= max(scales) < 2**8:
            return
        name, terms = node.name, []
        for index, scale in enumerate(scales):
            multiple = np.float64(np.rint(np.ldexp(np.float64(scale), shift)))
            codes = self._cast(codes_read(self.edit, name, index), f"{name}/wide", True)
            factor = self.edit.add_constant(f"{name}/multiple", multiple)
            terms.append(self._put("Mul", f"{name}/term", codes, factor, dtype=dtypes.float64))
        total = self._put("AddV2", f"{name}/total", *terms, dtype=dtypes.float64)
        step = self.edit.add_constant(f"{name}/step", np.float64(2.0**-shift))
        half = self.edit.add_constant(f"{name}/half", np.float64(0.5))
        steps = self._put("Mul", f"{name}/steps", total, step, dtype=dtypes.float64)
        shifted = self._put("AddV2", f"{name}/shifted", steps, half, dtype=dtypes.float64)
        floor = self._put("Floor", f"{name}/floor", shifted, dtype=dtypes.float64)
        self.edit.put(nd.make_node("Cast", name, [floor], SrcT=dtypes.float64, DstT=dtypes.float32))
        end_at_six(self.edit, end, made)
        round_instead(self.edit, quantizer_behind(f"{end}:0"), f"{end}:0")

    def _mean(self, node: NodeDef, made: Quantizer) -> None:
        """The sum of all codes times one float32, plus another, halves rounded away from zero (qs8-rdsum)."""
        name, read = node.name, self._read(node.name, 0)
        shape = self.graph.shape(nd.data_inputs(node)[0])
        axes = image_axes(node) if node.op == "AvgPool" else self.graph.constant(nd.data_inputs(node)[1])
        count = math.prod(shape[int(axis)] for axis in np.atleast_1d(axes))
        factor = np.float32(read.scale / made.scale) * (np.float32(1) / np.float32(count))
        bias = np.float32(np.float32(-read.offset * count) * factor) + np.float32(made.offset)
        codes = self._cast(codes_read(self.edit, name, 0), f"{name}/wide", True)
        keep = True if node.op == "AvgPool" else bool(nd.attribute(node, "keep_dims"))
        which = self.edit.add_constant(f"{name}/axes", np.array(axes, np.int32).reshape(-1))
        attributes = {"T": dtypes.float64, "Tidx": dtypes.int32, "keep_dims": keep}
        total = self.edit.add("Sum", f"{name}/total", [codes, which], **attributes)
        zeros = self.edit.add_constant(f"{name}/zeros", np.float64(read.offset * count))
        total = self._put("AddV2", f"{name}/all", total, zeros, dtype=dtypes.float64)
        product = self._put(
            "Mul", f"{name}/product", self._cast(total, f"{name}/narrow", False), self._number(f"{name}/factor", factor)
        )
        found = self._put("AddV2", f"{name}/real", product, self._number(f"{name}/bias", bias))
        rounded = self._away_from_zero(found, name, 0.5)
        self._end(name, self._put("Sub", f"{name}/centred", rounded, self._number(f"{name}/offset", made.offset)))

    def _average(self, node: NodeDef, made: Quantizer) -> None:
        """The mean of a window's codes as a whole number, halves away from zero; then what conversion makes of it."""
        name, read = node.name, self._read(node.name, 0)
        offset = self._number(f"{name}/offset", read.offset)
        codes = self._put("AddV2", f"{name}/codes", codes_read(self.edit, name, 0), offset)
        inner = self.edit.put(nd.copy_node(node, [codes], self.edit.free_name(f"{name}/mean")))
        # A mean that is no half is at least 1/(2 n) beside one: the float32 division cannot hide which it is.
        nudge = 1 / (4 * math.prod(nd.attribute(node, "ksize")))
        rounded = self._away_from_zero(inner, name, 0.5 + nudge)
        centred = self._put("Sub", f"{name}/centred", rounded, offset)
        self._end(name, centred if made == read else self._converted(centred, name, read, made))

    def _end(self, name: str, codes: str) -> None:
        self.edit.put(nd.make_node("Identity", name, [codes], T=dtypes.float32))
        round_instead(self.edit, quantizer_behind(f"{name}:0"), f"{name}:0")

    def _away_from_zero(self, tensor: str, name: str, half: float) -> str:
        """The nearest whole number; ``half`` is what a fraction needs to be rounded away from zero, less 1."""
        sign = self._put("Sign", f"{name}/sign", tensor)
        size = self._cast(self._put("Abs", f"{name}/size", tensor), f"{name}/size_wide", True)
        more = self.edit.add_constant(f"{name}/half", np.float64(half))
        floor = self._put(
            "Floor",
            f"{name}/floor",
            self._put("AddV2", f"{name}/more", size, more, dtype=dtypes.float64),
            dtype=dtypes.float64,
        )
        return self._put("Mul", f"{name}/rounded", sign, self._cast(floor, f"{name}/whole", False))

    def _converted(self, codes: str, name: str, read: Quantizer, made: Quantizer) -> str:
        """Codes in other factors: times a multiple of 1/256, halves up (qs8-vcvt)."""
        multiple = np.rint(np.float32(CONVERSION) * np.float32(read.scale / made.scale))
        product = self._put("Mul", f"{name}/multiplied", codes, self._number(f"{name}/multiple", multiple))
        shifted = self._put("AddV2", f"{name}/shifted", product, self._number(f"{name}/half", CONVERSION / 2))
        steps = self._put("Mul", f"{name}/steps", shifted, self._number(f"{name}/step", 1 / CONVERSION))
        return self._put("Floor", f"{name}/converted", steps)

    def _moved(self, node: NodeDef) -> None:
        """Values that are moved from codes in other factors are converted: in front of a concatenation, else behind."""
        places = range(len(nd.data_inputs(node)))
        read = {index: quantizer for index in places if (quantizer := self._read(node.name, index)) is not None}
        for tensor, made in self.made.get(node.name, ()):
            for index, given in read.items():
                if given == made:
                    continue
                if node.op == "ConcatV2":
                    self._convert_in_front(node, index, given, made)
                else:
                    scope = quantizer_behind(tensor)
                    scaled = self._put("Mul", f"{scope}/moved", tensor, self._number(f"{scope}/own", given.inverse))
                    codes = self._put("Round", f"{scope}/moved_codes", scaled)
                    round_instead(self.edit, scope, self._converted(codes, f"{scope}/other", given, made))

    def _convert_in_front(self, node: NodeDef, index: int, given: Quantizer, made: Quantizer) -> None:
        name = f"{node.name}/converted_{index}"
        codes = self._converted(codes_read(self.edit, node.name, index), name, given, made)
        ends = [self._number(f"{name}/end", end - made.offset) for end in (made.lowest, made.highest)]
        clipped = self._put("ClipByValue", f"{name}/clipped", codes, *ends)
        scale = self._number(f"{name}/scale", made.scale)
        self.edit.set_input(node.name, index, self._put("Mul", f"{name}/dequantized", clipped, scale))

    def _places(self) -> None:
        """Where a layer reads an integer tensor with factors that are not the tensor's, its codes are converted."""
        done = set()
        for (name, index), read in self.places.items():
            tensor = nd.data_inputs(self.graph.nodes[name])[index]
            own = self.factors.get(tensor)
            if own is None or own == read or (tensor, read) in done:
                continue
            done.add((tensor, read))
            scope = quantizer_read(self.edit, name, index)
            codes = nd.data_inputs(self.edit.nodes[f"{quantizer_behind(tensor)}/dequantized"])[0]
            round_instead(self.edit, scope, self._converted(codes, f"{scope}/other", own, read))

    def _number(self, name: str, value: float) -> str:
        return self.edit.add_constant(name, np.float32(value))
