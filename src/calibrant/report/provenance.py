"""What a result was made of, by what and how: the part of the report that differs from run to run."""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from calibrant.data.amount import DataUse
from calibrant.graph.graph import Graph


def run_row(
    original: Graph, config_text: str, data: DataUse | None, seconds: Mapping[str, float], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Version, command, hashes of model, configuration and data, samples, options, seconds and peak memory.

    The hashes are of what was used: the graph as it was read, the resolved configuration, and the batches that
    calibrated, in their order.
    """
    return {
        "version": _version(),
        "command": list(sys.argv),
        "model_sha256": _sha256(original),
        "configuration_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
        "data_fingerprint": None if data is None else data.fingerprint,
        "samples": None if data is None else data.samples,
        "samples_available": None if data is None else data.available,
        "options": dict(options),
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
        "peak_memory_bytes": _peak_memory(),
    }


def _sha256(graph: Graph) -> str:
    digest = hashlib.sha256()
    for chunk in graph.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _version() -> str | None:
    try:
        return version("calibrant")
    except PackageNotFoundError:
        return None


def _peak_memory() -> int:
    """The largest resident size of this process; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
