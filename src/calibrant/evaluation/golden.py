"""What a LiteRT file has to compute: inputs, expected codes, and the program that compares them on a device."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibrant.data.input_spec import inputs_of
from calibrant.data.open_data import open_data
from calibrant.data.options import DataOptions
from calibrant.emit.tflite.file_parts import Tensor
from calibrant.emit.tflite.interpreter import new_interpreter
from calibrant.emit.tflite.simulation.codes import quantized
from calibrant.emit.tflite.simulation.simulate import between_node, holds_codes
from calibrant.errors import DataError, ModelError, Problem
from calibrant.evaluation import check_golden
from calibrant.evaluation.result_folder import open_models
from calibrant.evaluation.sample_range import SampleAxes
from calibrant.evaluation.tflite_runner import TfliteRunner
from calibrant.file_endings import SIMULATION, TFLITE
from calibrant.graph.graph import Graph
from calibrant.graph.running.run import Runner
from calibrant.options import OptionGroup, Options, takes_keywords
from calibrant.progress import LOG, ProgressFn, no_progress
from calibrant.publish.writable import check_writable, path_to_write
from calibrant.publish.write import write_folder
from calibrant.steps.files_read import files_read
from calibrant.steps.foreign_folders import refuse_foreign_folders

ARRAYS, ABOUT, CHECKER = "golden.npz", "golden.json", "check_golden.py"
FLOAT_SLACK = 1e-4
"""How far, relative to the largest number, a result in float may be from the expected one on another processor."""


@dataclass(frozen=True, eq=False)
class _Expected:
    """One tensor of the file: its name there, the operator that makes it, and the tensor of the simulation."""

    tensor: Tensor
    operator: str
    simulated: str
    is_output: bool


@takes_keywords(DataOptions)
def golden(
    folder: str | Path,
    data: Any,
    *options: OptionGroup,
    out: str | Path | None = None,
    samples: int = 4,
    track: ProgressFn = no_progress,
    **keywords: Any,
) -> tuple[Path, ...]:
    """Write what is needed to check the LiteRT file of a result on a device.

    ``golden.npz`` has inputs and the codes that the file's simulation gives for every tensor of codes and every result.
    ``golden.json`` says which is which, and by how much kernels may differ: as far as those do that are here, XNNPACK's
    and the built-in ones. ``check_golden.py`` compares; it needs LiteRT and NumPy alone. The ``.tflite`` is there too.

    Parameters
    ----------
    folder : str | Path
        What :func:`calibrant.quantize` has written with ``export="tflite"``.
    data : Any
        Inputs, as for :func:`calibrant.evaluate`.
    *options : OptionGroup
        :class:`calibrant.DataOptions`: how files become batches.
    out : str | Path | None
        Folder to be written, ``folder/golden`` by default.
    samples : int
        How many samples of the data are taken, above 0; where the file fixes its batch, at least one batch.
    track : ProgressFn
        As for :func:`calibrant.quantize`.
    **keywords : Any
        Fields of these options.

    Returns
    -------
    tuple[Path, ...]
        The files.

    Raises
    ------
    CalibrantError
        The folder holds no LiteRT file, or no simulation of it; data that do not fit; the file does not run.
    """
    if samples < 1:
        raise DataError(Problem(f"samples is {samples}", allowed="a number above 0"))
    reading = Options.of((DataOptions,), options, keywords).data.keywords()
    folder = Path(folder)
    target = path_to_write(out, "output folder") if out is not None else folder / "golden"
    check_writable(target, (ARRAYS, ABOUT, CHECKER), files_read(None, None, data))
    refuse_foreign_folders(target / name for name in (ARRAYS, ABOUT, CHECKER))
    if folder.is_dir() and not any(folder.glob(f"*{TFLITE}")):
        raise _lacks(folder, TFLITE)
    models = open_models(folder)
    runner, axes = models.file, SampleAxes.of(models.fake)
    simulation = models.graph(SIMULATION) if SIMULATION in models.known else None
    if runner is None or simulation is None:
        raise _lacks(folder, TFLITE if runner is None else SIMULATION)
    shapes = map(models.fake.shape, models.fake.inputs)
    all_hold_samples = all(at in axes.inputs for at, shape in enumerate(shapes) if shape != ())
    specs = inputs_of(simulation, like=models.fake) if all_hold_samples else inputs_of(models.fake)
    batches = open_data(data, specs, **reading)
    axes = SampleAxes.of(models.fake, batches.one_a_run)
    size = axes.fixed(runner.first_sizes) or 1
    tensors = list(_expected(runner, simulation))
    fed: list[list[np.ndarray]] = []
    expected: list[list[np.ndarray]] = []
    count = -(-samples // size)
    offered = count if batches.samples is None else min(count, -(-batches.samples // size))
    with Runner(simulation, [each.simulated for each in tensors]) as simulated:
        for values in track(_runs(batches, simulation, axes, size, count), "golden", offered):
            made = simulated(dict(zip(simulation.input_keys, values, strict=True)))
            fed.append([quantized(tensor, value) for tensor, value in zip(runner.file.inputs(), values, strict=True)])
            expected.append([_in_file(each.tensor, value) for each, value in zip(tensors, made, strict=True)])
    if not fed:
        raise DataError(Problem(f"there are no {size} samples, which the file takes at once", file=str(data)))
    if len(fed) < count:
        LOG.warning("the data have fewer than %d samples: %d are written", samples, len(fed) * size)
    if len({tuple(value.shape for value in values) for values in fed}) > 1:
        hint = "give runs of one length, cut or padded"
        raise DataError(
            Problem("the runs have different shapes, which one array cannot hold", file=str(data), hint=hint)
        )
    for each, values in zip(tensors, zip(*expected, strict=True), strict=True):
        if len({value.shape for value in values}) > 1:
            hint = "quantize the model up to what comes before it: --outputs"
            problem = f"the size of the tensor {each.tensor.name!r} depends on the data, so one array cannot hold it"
            raise DataError(Problem(problem, file=runner.source, hint=hint))
    path = Path(runner.source)
    content = path.read_bytes()
    rows = [_row(at, each, runner) for at, each in enumerate(tensors)]
    shaped, allowed = _shaped(content, rows, fed, expected)
    arrays = {f"input_{at}": np.stack(values) for at, values in enumerate(zip(*fed, strict=True))}
    arrays |= {row["key"]: np.stack(values) for row, values in zip(rows, zip(*shaped, strict=True), strict=True)}
    about = {
        "model": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        **runner.about,
        "runs": len(fed),
        "inputs": [{"name": tensor.name, "key": f"input_{at}"} for at, tensor in enumerate(runner.file.inputs())],
        "tensors": [{**row, "allowed": most} for row, most in zip(rows, allowed, strict=True)],
    }
    return write_folder(
        target,
        {
            path.name: content,
            ARRAYS: _npz(arrays),
            ABOUT: (json.dumps(about, indent=1) + "\n").encode(),
            CHECKER: Path(check_golden.__file__).read_bytes(),
        },
    )


def _lacks(folder: Path, kind: str) -> ModelError:
    return ModelError(Problem(f"has no NAME{kind}", file=str(folder), hint="quantize with --export tflite"))


def _expected(runner: TfliteRunner, simulation: Graph) -> Iterator[_Expected]:
    """What the simulation knows about the file's tensors, in the order in which they are made."""
    results = {tensor.index: name for tensor, name in zip(runner.file.outputs(), simulation.outputs, strict=True)}
    used = set(runner.file.used())
    for operator in runner.file.operators():
        for tensor in operator.outputs:
            node = between_node(tensor)
            if holds_codes(tensor) and tensor.index in used and node in simulation.nodes:
                yield _Expected(tensor, operator.name, f"{node}:0", tensor.index in results)
            elif tensor.index in results:
                yield _Expected(tensor, operator.name, results[tensor.index], True)


def _runs(batches: Any, graph: Graph, axes: SampleAxes, size: int, count: int) -> Iterator[list[np.ndarray]]:
    """The inputs of every run, by position."""
    done = 0
    for batch in batches:
        fed = {at: np.asarray(batch[key]) for at, key in enumerate(graph.input_keys)}
        for start in range(0, axes.count(fed) - size + 1, size):
            if done == count:
                return
            done += 1
            yield list(axes.part(fed, start, size).values())


def _in_file(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """A copy of real values as the tensor holds them."""
    if holds_codes(tensor):
        ends = np.iinfo(tensor.dtype)
        codes = np.rint(values.astype(np.float32) * (np.float32(1) / tensor.scale[0])) + tensor.zero_point
        return np.clip(codes, ends.min, ends.max).astype(tensor.dtype)
    return values.astype(np.bytes_ if tensor.dtype == object else tensor.dtype)


def _row(at: int, each: _Expected, runner: TfliteRunner) -> dict[str, Any]:
    coded = holds_codes(each.tensor)
    source = runner.quantized_output(each.tensor)
    step = 1.0 if coded else float(source.scale[0]) if source.scale.size else 0.0
    return {
        "name": each.tensor.name,
        "operator": each.operator,
        "key": f"tensor_{at:04d}",
        "is_output": each.is_output,
        "scale": float(each.tensor.scale[0]) if coded else None,
        "zero_point": each.tensor.zero_point if coded else None,
        "step": step,
    }


def _shaped(
    content: bytes, rows: list[dict[str, Any]], fed: list[list[np.ndarray]], expected: list[list[np.ndarray]]
) -> tuple[list[list[np.ndarray]], list[float]]:
    """The expected values in the file's shapes, and by how much the kernels here differ from each of them."""
    allowed = [0.0] * len(rows)
    shaped: list[list[np.ndarray]] = []
    for delegate in (True, False):
        shaped = []
        for inputs, values in zip(fed, expected, strict=True):
            found = check_golden.run_once(new_interpreter(content, delegate), inputs, rows)
            shaped.append([value.reshape(found[row["key"]].shape) for row, value in zip(rows, values, strict=True)])
            for at, (row, value) in enumerate(zip(rows, shaped[-1], strict=True)):
                apart = check_golden.distance(value, found[row["key"]])
                allowed[at] = max(allowed[at], float(apart[np.isfinite(apart)].max(initial=0)), _slack(value))
    return shaped, allowed


def _slack(values: np.ndarray) -> float:
    if values.dtype.kind != "f":
        return 0.0
    return FLOAT_SLACK * float(np.abs(values[np.isfinite(values)]).max(initial=0))


def _npz(arrays: Mapping[str, Any]) -> bytes:
    """The arrays as a compressed file with the same bytes every time."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()
