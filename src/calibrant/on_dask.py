"""Calibration on a Dask cluster: ``pip install 'calibrant[dask]'``.

Nothing but :func:`calibrant.observe` on the workers and :func:`calibrant.merge` here. Dask gives the part of a worker
that dies to another one; as a part is observed from its start, or not at all, no batch is lost or counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calibrant.config import load_config
from calibrant.destination import Destination
from calibrant.distributed import merge, observe
from calibrant.errors import DataError, DependencyError, Problem
from calibrant.graph.tensorflow import cause_of
from calibrant.options import TO_QUANTIZE, OptionGroup, Options, takes_keywords
from calibrant.progress import LOG
from calibrant.publish.write import scratch_folder
from calibrant.result import Result
from calibrant.steps.calibration_data import open_calibration
from calibrant.steps.files_read import files_read
from calibrant.steps.options_of_one_run import refuse_options_of_one_run
from calibrant.steps.planned import load_model

RUNNING = "running"


@takes_keywords(*TO_QUANTIZE)
def quantize(
    client: Any,
    model: Any,
    config: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    *options: OptionGroup,
    parts: int | None = None,
    **keywords: Any,
) -> Result:
    """Quantize a model with batches that are observed all over a cluster.

    Parameters
    ----------
    client : Any
        A ``distributed.Client``; calibrant and TensorFlow are installed on its workers. None: a cluster of this
        machine's processors, which listens on localhost alone and ends with the call.
    model, config, data : Any
        As of :func:`calibrant.quantize`. Paths have to lead to the same files on every worker.
    out : str | Path | None
        Folder for the results, here.
    *options : OptionGroup
        As of :func:`calibrant.quantize`, without ``equalize`` and ``budget``. Give ``threads``, so that every worker
        computes with as many.
    parts : int | None
        Into how many parts the batches are cut; by default two for each worker.
    **keywords : Any
        As of :func:`calibrant.quantize`.

    Returns
    -------
    Result
        The result that :func:`calibrant.quantize` would have given, bit for bit.

    Raises
    ------
    DependencyError
        Dask is not installed, gave up on a part after several workers had died of it, or its client is not running.
    CalibrantError
        With every other problem that was found.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ModuleNotFoundError:
        raise DependencyError(Problem("Dask is not installed", hint="pip install 'calibrant[dask]'")) from None
    chosen = Options.of(TO_QUANTIZE, options, keywords)
    refuse_options_of_one_run(chosen)
    if client is None:
        with local_client() as own:
            return quantize(own, model, config, data, out, *chosen.groups, parts=parts)
    if not isinstance(client, Client):
        raise DataError(Problem(f"client is {client!r:.80}", allowed="a distributed.Client, or None"))
    if client.status != RUNNING:
        raise DependencyError(Problem(f"the Dask client is {client.status}", hint="give a running one, or None"))
    _check_can_be_sent(model=model, config=config, data=data)
    if not client.nthreads():
        LOG.warning("the Dask cluster has no workers yet; waiting for one")
    Destination.of(out, chosen.export, model, files_read(model, config, data))  # raises before anything is observed
    wanted = 2 * max(len(client.nthreads()), 1) if parts is None else parts
    ranges = _ranges(_batches(model, config, data, chosen), wanted)
    futures = [
        client.submit(observed_part, model, config, data, batches, chosen.groups, pure=False) for batches in ranges
    ]
    with scratch_folder() as folder:
        states = []
        try:
            for number, future in enumerate(futures):
                states.append(folder / f"part{number}.npz")
                states[-1].write_bytes(future.result())
        except KilledWorker as error:
            raise DependencyError(
                Problem(
                    f"workers die while they observe: {error}", hint="they may need more memory, or smaller batches"
                )
            ) from None
        except Exception as error:  # of many kinds, as the futures are cancelled, or their messages fail
            if client.status == RUNNING:
                raise
            reason = f"the Dask client lost its cluster, or was closed: {type(error).__name__}"
            raise DependencyError(Problem(reason)) from None
        finally:
            if client.status == RUNNING:
                client.cancel(futures)
        return merge(states, model, config, out, *chosen.groups)


@contextmanager
def local_client() -> Iterator[Any]:
    """A client of a cluster on this machine that nobody else can reach: Dask executes whatever it is sent."""
    from distributed import Client, LocalCluster

    with LocalCluster(host="127.0.0.1", dashboard_address=None) as cluster, Client(cluster) as client:
        yield client


def observed_part(
    model: Any, config: Any, data: Any, batches: tuple[int, int], options: Sequence[OptionGroup]
) -> bytes:
    """Observe some batches on a worker; the content of the state file."""
    with scratch_folder() as folder:
        return observe(model, config, data, folder / "state.npz", batches, *options).read_bytes()


def _check_can_be_sent(**values: Any) -> None:
    from cloudpickle import dumps

    for name, value in values.items():
        try:
            dumps(value, protocol=5, buffer_callback=lambda _: None)
        except Exception as error:  # of any kind, from the objects themselves
            raise DataError(
                Problem(
                    f"{name} is a {type(value).__name__}, which cannot be sent to workers: {cause_of(error)}",
                    allowed="paths to files that every worker reads, or arrays",
                )
            ) from None


def _batches(model: Any, config: Any, data: Any, options: Options) -> int:
    """How many batches calibrate; without a number in a configuration, the data are opened here for that."""
    samples = options.calibration.samples
    if config is not None and samples is None:
        return load_config(config).batch_num or 1
    return open_calibration(data, load_model(model, options.model), options.data, samples, None).number()


def _ranges(count: int, parts: int) -> list[tuple[int, int]]:
    if parts < 1:
        raise DataError(Problem(f"parts is {parts}", allowed="a whole number > 0"))
    edges = [count * number // min(parts, count) for number in range(min(parts, count) + 1)]
    return list(zip(edges, edges[1:], strict=False))
