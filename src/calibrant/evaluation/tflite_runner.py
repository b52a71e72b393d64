"""Running a LiteRT file batch by batch, with every tensor in between at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.flatbuffer import METADATA, File
from calibrant.emit.tflite.interpreter import empty_tensors, new_interpreter
from calibrant.emit.tflite.scores import quantized_output, softmax_input
from calibrant.emit.tflite.simulation.codes import quantized, real_values
from calibrant.errors import ModelError, Problem
from calibrant.json_text import parse_json


class TfliteRunner:
    """A LiteRT file made ready to run with the kernels that applications get by default.

    Parameters
    ----------
    content : bytes
        The file.
    source : str
        What it is called in messages.
    """

    def __init__(self, content: bytes, source: str = "model"):
        self.file = File(content, source)
        self.source = source
        self.content = content
        try:
            self._interpreter = new_interpreter(content)
            self._makers = {made.index: operator for operator in self.file.operators() for made in operator.outputs}
        except (ValueError, RuntimeError, IndexError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(Problem(f"the interpreter does not take it: {reason}", file=source)) from None
        self._shapes: list[tuple[int, ...]] = []

    def run(self, values: Mapping[int, np.ndarray]) -> None:
        """Run one batch; ``values`` are the inputs by position, float32 [N, ...], quantized where the file wants it.

        A file with loops or branches gets a new interpreter for each batch: with XNNPACK, one that keeps all tensors
        may run it right only once.

        Raises
        ------
        ModelError
            The interpreter does not take the batch; with its reason.
        """
        shapes = [np.shape(values[at]) for at in range(len(values))]
        try:
            if self._shapes and self.file.has_subgraphs:
                self._interpreter, self._shapes = new_interpreter(self.content), []
            details = self._interpreter.get_input_details()
            if shapes != self._shapes:
                for detail, shape in zip(details, shapes, strict=True):
                    self._interpreter.resize_tensor_input(detail["index"], shape, strict=True)
                self._interpreter.allocate_tensors()
                self._shapes = shapes
            for position, (detail, tensor) in enumerate(zip(details, self.file.inputs(), strict=True)):
                self._interpreter.set_tensor(detail["index"], quantized(tensor, values[position]))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                Problem(f"the interpreter does not run it: {str(error).splitlines()[0]}", file=self.source)
            ) from None

    @property
    def about(self) -> dict[str, Any]:
        """What the export says of itself in the file; empty in files of other origin."""
        try:
            found = parse_json(self.file.metadata(METADATA) or b"{}")
        except (ValueError, LookupError, TypeError, AttributeError):
            return {}
        return found if isinstance(found, dict) else {}

    def codes(self, tensor: Tensor) -> np.ndarray:
        """What a tensor holds after a run."""
        try:
            return np.array(self._interpreter.get_tensor(tensor.index))
        except ValueError:
            if (empty := empty_tensors(self._interpreter).get(tensor.index)) is None:
                raise
            return empty

    def real(self, tensor: Tensor) -> np.ndarray:
        """The float32 numbers that a tensor stands for."""
        return real_values(tensor, self.codes(tensor))

    @property
    def first_sizes(self) -> dict[int, int | None]:
        """Position of an input → the first size that the file fixes for it, None where it is open."""
        shapes = [detail["shape_signature"] for detail in self._interpreter.get_input_details()]
        return {at: int(shape[0]) if shape[0] > 0 else None for at, shape in enumerate(shapes) if len(shape)}

    def softmax_input(self, output: Tensor) -> Tensor | None:
        """What the SOFTMAX reads from which an output comes; None where it comes from none."""
        return softmax_input(self._makers, output)

    def quantized_output(self, output: Tensor) -> Tensor:
        """The integer tensor that an output is the real form of, else the output itself."""
        return quantized_output(self._makers, output)

    @property
    def points(self) -> tuple[Tensor, ...]:
        """For each output, what a final SOFTMAX reads, else the integer tensor that the output is made from."""
        return tuple(self.softmax_input(end) or self.quantized_output(end) for end in self.file.outputs())


def open_tflite(path: Path) -> TfliteRunner:
    """Read a file.

    Raises
    ------
    ModelError
        It cannot be read, or is no LiteRT file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    return TfliteRunner(content, str(path))
