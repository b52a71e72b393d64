"""What a kernel makes of every code, asked of the kernel itself.

An operator on one int8 tensor is a table of 256 codes, one on two of them or on one int16 tensor of 65,536. Running it
once on all of them says exactly what it computes, whatever formula it uses, on the processor at hand.
"""

from __future__ import annotations

import functools

import numpy as np

from calibrant.emit.tflite.file_parts import Operator, Tensor
from calibrant.emit.tflite.flatbuffer import File, empty_file
from calibrant.emit.tflite.interpreter import new_interpreter

CODES = np.arange(-128, 128, dtype=np.int8)
WIDE_CODES = np.arange(-(2**15), 2**15).astype(np.int16)


def table_of_one(operator: Operator, per_channel: Tensor | None = None) -> np.ndarray:
    """The codes that an operator makes of all codes of its input, -128 … 127 or -32768 … 32767.

    Parameters
    ----------
    per_channel : Tensor | None
        A constant second operand with a number for each channel of the last axis.

    Returns
    -------
    np.ndarray
        The codes, [256] or [65536], or [256, channels].
    """
    channels = 1 if per_channel is None else per_channel.constant.size
    codes = np.repeat((CODES if operator.read(0).dtype == np.int8 else WIDE_CODES)[:, None], channels, 1)
    constants = {} if per_channel is None else {1: per_channel}
    made = _run(operator, {0: codes}, constants)
    return made if per_channel is not None else made[:, 0]


def table_of_two(operator: Operator) -> np.ndarray:
    """The codes that an operator makes of all pairs, int8 [256, 256]."""
    first, second = (np.ascontiguousarray(codes) for codes in np.meshgrid(CODES, CODES, indexing="ij"))
    return _run(operator, {0: first, 1: second}, {})


def _run(operator: Operator, fed: dict[int, np.ndarray], constants: dict[int, Tensor]) -> np.ndarray:
    file = empty_file()
    read = []
    for position in range(len(operator.inputs)):
        tensor = operator.read(position)
        if position in constants:
            values = constants[position].constant
            new = file.add_constant(f"constant{position}", values.reshape(1, -1))
        elif position in fed:
            new = file.add_tensor(f"read{position}", _shaped(file, fed[position].shape), fed[position].dtype)
        else:
            continue
        new.copy_quantization(tensor)
        read.append(new.index)
    made = file.add_tensor("made", _shaped(file, fed[0].shape), operator.outputs[0].dtype)
    made.copy_quantization(operator.outputs[0])
    raw = file.new_operator(operator.name, read, [made.index])
    raw.builtinOptions, raw.builtinOptionsType = operator.raw.builtinOptions, operator.raw.builtinOptionsType
    file.set_operators([raw])
    places = [index for position, index in enumerate(read) if position in fed]
    file.begin(places, [made.index])
    return _made(file.content(), len(fed), fed[0].shape)


@functools.lru_cache(maxsize=256)
def _made(content: bytes, operands: int, shape: tuple[int, ...]) -> np.ndarray:
    """What a file of one operator makes of all codes, or all pairs; networks repeat their operators."""
    codes = CODES if shape[0] == CODES.size else WIDE_CODES
    fed = [np.broadcast_to(codes[:, None], shape), np.broadcast_to(codes, shape)] if operands == 2 else [codes[:, None]]
    interpreter = new_interpreter(content)
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), fed, strict=True):
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(np.broadcast_to(values, shape)))
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def _shaped(file: File, shape: tuple[int, ...]) -> Tensor:
    return file.add_constant("shape", np.zeros(shape, np.int8))
