"""Calibration on a Dask cluster: ``pip install 'calibrant[dask]'``.

Nothing but :func:`calibrant.observe` on the workers and :func:`calibrant.merge` here. Dask gives the part of a worker
that dies to another one; as a part is observed from its start, or not at all, no batch is lost or counted twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.config import load_config
from calibrant.distributed import merge, observe
from calibrant.errors import DataError, DependencyError, Problem
from calibrant.graph.load import load
from calibrant.result import Result
from calibrant.steps.prepare import DataOptions, open_calibration

MERGING = frozenset({"name", "tflite_io"})
READING = frozenset({"shapes", "dtypes", "image_options", "image_size", "shuffle"})
BOTH = frozenset({"inputs", "outputs", "signature", "constants", "bias_correction", "export"}) | {
    *("tflite_batch", "tflite_ops", "tflite_shape"),
}


def quantize(
    client: Any,
    model: Any,
    config: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    *,
    parts: int | None = None,
    **options: Any,
) -> Result:
    """Quantize a model with batches that are observed all over a cluster.

    Parameters
    ----------
    client : Any
        A ``distributed.Client``; calibrant and TensorFlow are installed on its workers.
    model, config, data : Any
        As of :func:`calibrant.quantize`. Paths have to lead to the same files on every worker.
    out : str | Path | None
        Folder for the results, here.
    parts : int | None
        Into how many parts the batches are cut; by default two for each worker.
    options : Any
        As of :func:`calibrant.quantize`. Give ``threads``, so that every worker computes with as many.

    Returns
    -------
    Result
        The result that :func:`calibrant.quantize` would have given, bit for bit.

    Raises
    ------
    DependencyError
        Dask is not installed, or gave up on a part after several workers had died of it.
    CalibrantError
        With every other problem that was found.
    """
    try:
        from distributed.scheduler import KilledWorker
    except ModuleNotFoundError:
        raise DependencyError(Problem("Dask is not installed", hint="pip install 'calibrant[dask]'")) from None
    ranges = _ranges(_batches(model, config, data, options), parts or 2 * max(len(client.nthreads()), 1))
    observing = {key: value for key, value in options.items() if key not in MERGING}
    futures = [client.submit(observed_part, model, config, data, batches, observing, pure=False) for batches in ranges]
    with tempfile.TemporaryDirectory() as folder:
        states = []
        try:
            for number, future in enumerate(futures):
                states.append(Path(folder) / f"part{number}.npz")
                states[-1].write_bytes(future.result())
        except KilledWorker as error:
            raise DependencyError(
                Problem(
                    f"workers die while they observe: {error}", hint="they may need more memory, or smaller batches"
                )
            ) from None
        finally:
            client.cancel(futures)
        merging = {key: value for key, value in options.items() if key in MERGING | BOTH}
        return merge(states, model, config, out, **merging)


def observed_part(model: Any, config: Any, data: Any, batches: tuple[int, int], options: dict[str, Any]) -> bytes:
    """Observe some batches on a worker; the content of the state file."""
    with tempfile.TemporaryDirectory() as folder:
        return observe(model, config, data, Path(folder) / "state.npz", batches, **options).read_bytes()


def _batches(model: Any, config: Any, data: Any, options: Mapping[str, Any]) -> int:
    """How many batches calibrate; without a number in a configuration, the data are opened here for that."""
    samples = options.get("samples")
    if config is not None and samples is None:
        return load_config(config).batch_num or 1
    graph = load(model, *(options.get(name) for name in ("inputs", "outputs", "signature", "constants")))
    reading = {name: value for name, value in options.items() if name in READING}
    return open_calibration(DataOptions(data, options.get("batch_size"), reading, samples), graph, None).number()


def _ranges(count: int, parts: int) -> list[tuple[int, int]]:
    if parts < 1:
        raise DataError(Problem(f"parts is {parts}", allowed="a whole number > 0"))
    edges = [count * number // min(parts, count) for number in range(min(parts, count) + 1)]
    return list(zip(edges, edges[1:], strict=False))
