"""Running a LiteRT file batch by batch, with every tensor in between at hand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.emit.tflite.flatbuffer import File, Tensor
from calibrant.errors import ModelError, Problem
from calibrant.graph.tensorflow import tensorflow

HANDING_ON = frozenset({"DEQUANTIZE", "QUANTIZE", "RESHAPE"})


class TfliteRunner:
    """A LiteRT file made ready to run with the kernels that applications get by default.

    Parameters
    ----------
    content : the file.
    source : what it is called in messages.
    """

    def __init__(self, content: bytes, source: str = "model"):
        self.file = File(content, source)
        self.source = source
        self._interpreter = _interpreter(content)
        self._batch: int | None = None
        self._makers = {made.index: operator for operator in self.file.operators() for made in operator.outputs}

    def run(self, values: Mapping[int, np.ndarray]) -> None:
        """Run one batch; ``values`` are the inputs by position, float32 [N, ...], quantized where the file wants it.

        Raises
        ------
        ModelError : the interpreter does not take the batch; with its reason.
        """
        details = self._interpreter.get_input_details()
        count = len(values[0])
        try:
            if count != self._batch:
                for position, detail in enumerate(details):
                    shape = [count, *values[position].shape[1:]]
                    self._interpreter.resize_tensor_input(detail["index"], shape, strict=True)
                self._interpreter.allocate_tensors()
                self._batch = count
            for position, (detail, tensor) in enumerate(zip(details, self.file.inputs(), strict=True)):
                self._interpreter.set_tensor(detail["index"], quantized(tensor, values[position]))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                Problem(f"the interpreter does not run it: {str(error).splitlines()[0]}", file=self.source)
            ) from None

    def codes(self, tensor: Tensor) -> np.ndarray:
        """What a tensor holds after a run."""
        return np.array(self._interpreter.get_tensor(tensor.index))

    def real(self, tensor: Tensor) -> np.ndarray:
        """The float32 numbers that a tensor stands for."""
        values = self.codes(tensor)
        if not tensor.scale.size:
            return values
        return ((values.astype(np.float32) - np.float32(tensor.zero_point)) * tensor.scale[0]).astype(np.float32)

    @property
    def fixed_batch(self) -> int | None:
        """The batch dimension where the file fixes it."""
        signature = self._interpreter.get_input_details()[0]["shape_signature"]
        return int(signature[0]) if len(signature) and signature[0] > 0 else None

    def softmax_input(self, output: Tensor) -> Tensor | None:
        """What the SOFTMAX reads from which an output comes; None where it comes from none."""
        maker = self._makers.get(self._handed_on(output).index)
        return maker.inputs[0] if maker is not None and maker.name == "SOFTMAX" else None

    def quantized_output(self, output: Tensor) -> Tensor:
        """The integer tensor that an output is the real form of, else the output itself."""
        source = self._handed_on(output)
        return source if source.scale.size else output

    @property
    def points(self) -> tuple[Tensor, ...]:
        """For each output, what a final SOFTMAX reads, else the integer tensor that the output is made from."""
        return tuple(self.softmax_input(end) or self.quantized_output(end) for end in self.file.outputs())

    def _handed_on(self, tensor: Tensor) -> Tensor:
        while tensor.index in self._makers and self._makers[tensor.index].name in HANDING_ON:
            tensor = self._makers[tensor.index].inputs[0]
        return tensor


def quantized(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Values in a tensor's own type: codes where it is int8."""
    if tensor.dtype != np.int8:
        return np.ascontiguousarray(values, tensor.dtype)
    codes = np.rint(values.astype(np.float32) * (np.float32(1) / tensor.scale[0])) + tensor.zero_point
    return np.clip(codes, -128, 127).astype(np.int8)


def open_tflite(path: Path) -> TfliteRunner:
    """Read a file.

    Raises
    ------
    ModelError : it cannot be read, or is no LiteRT file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    return TfliteRunner(content, str(path))


def _interpreter(content: bytes) -> Any:
    """LiteRT's own interpreter where it is installed, else the one that TensorFlow still brings."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tensorflow().lite.Interpreter  # noqa: N806
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Interpreter(model_content=content, experimental_preserve_all_tensors=True)
