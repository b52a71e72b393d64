"""The state of a calibration as a file, to resume after an interruption and to merge the work of several machines.

A file identifies the graph, what was collected about which tensors, and the batches seen, by number and content. So
files that do not belong together are refused, and no batch counts twice.
"""

from __future__ import annotations

import hashlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from calibrant.archives import check_unpacked_size, open_archive
from calibrant.calibration.observer import Statistic, Statistics
from calibrant.errors import DataError, Problem
from calibrant.graph.graph import Graph
from calibrant.publish.write import write_file
from calibrant.regular_file import require_regular

VERSION = 1
OFFERED = "batches_offered"
BatchKey = tuple[int, str]
"""Number of a batch in its data, and a digest of its content."""


@dataclass(eq=False)
class State:
    """Statistics, and the batches that are in them.

    Parameters
    ----------
    fingerprint : str
        Digest of the graph and the kinds of statistics, see :func:`fingerprint`.
    statistics : Statistics
        Changed in place.
    batches : set[BatchKey]
        The batches that the statistics have seen.
    offered : int
        How many batches the data have that these are from, 0 where nothing says it.
    """

    fingerprint: str
    statistics: Statistics
    batches: set[BatchKey] = field(default_factory=set)
    offered: int = 0

    def save(self, path: Path) -> None:
        """Write the state; an interruption leaves the old file or the new one, never a part.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        batches = sorted(self.batches)
        arrays = {
            "version": np.array(VERSION),
            "fingerprint": np.array(self.fingerprint),
            "batch_numbers": np.array([number for number, _ in batches], np.int64),
            "batch_digests": np.array([digest for _, digest in batches], "U32"),
            OFFERED: np.array(self.offered),
        }
        for key, statistic in self._numbered():
            arrays.update({f"{key}.{name}": array for name, array in statistic.to_arrays().items()})

        def write(staged: Path) -> None:
            with staged.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle

        write_file(path, write)

    def merge_from(self, path: Path) -> None:
        """Add the content of a file.

        Raises
        ------
        DataError
            The file is not a complete state, belongs to another model or configuration, has a batch that this state
            already has, or is from the same data in batches of another size.
        """
        arrays = _read(path)
        if str(arrays["fingerprint"]) != self.fingerprint:
            raise DataError(
                Problem(
                    "was observed with another model, or a configuration or options that ask for other statistics",
                    file=str(path),
                    hint="give the model, configuration and options that it was observed with, such as --export, "
                    "--round-weights and --no-bias-correction; or observe again",
                )
            )
        batches = _batches(arrays)
        twice = sorted(number for number, _ in batches & self.batches)
        if twice:
            raise DataError(
                Problem(
                    f"batch {', '.join(map(str, twice))} is in this file and in another that was read before",
                    file=str(path),
                    hint="name every file once, and let no two of them have the same --batches",
                )
            )
        offered = int(arrays.get(OFFERED, 0))
        if 0 < offered != self.offered > 0 and not _numbers(batches) & _numbers(self.batches):
            raise DataError(
                Problem(
                    f"was observed on data of {offered} batches, and a file that was read before on {self.offered}: "
                    "batches of different sizes, which may have samples in common",
                    file=str(path),
                    hint="observe all ranges of --batches with the same --batch-size, data and batch_num; data that "
                    "lie in parts are observed without --batches",
                )
            )
        try:
            for key, statistic in self._numbered():
                prefix = f"{key}."
                own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
                statistic.merge_arrays(own)
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise DataError(Problem(f"is damaged: {error}", file=str(path))) from None
        self.batches |= batches
        self.offered = max(self.offered, offered)

    def missing(self, most: int) -> tuple[int, list[int]]:
        """How many batches are not in it, as far as that is known, and the first of them.

        Parameters
        ----------
        most : int
            How many are listed.

        Returns
        -------
        tuple[int, list[int]]
            Without any where the data lay in parts.
        """
        numbers = _numbers(self.batches)
        if len(numbers) < len(self.batches):
            return 0, []
        end = max(self.offered, *numbers, 0)
        absent = (number for number in range(end) if number not in numbers)
        return end - sum(number < end for number in numbers), list(islice(absent, most))

    def _numbered(self) -> Iterable[tuple[str, Statistic]]:
        flat = (statistic for statistics in self.statistics.values() for statistic in statistics)
        return ((str(number), statistic) for number, statistic in enumerate(flat))


def fingerprint(graph: Graph, statistics: Statistics) -> str:
    """A digest of what must be equal in states that are merged: the graph, and what is collected about each tensor."""
    digest = hashlib.blake2b(digest_size=16)
    for chunk in graph.chunks():
        digest.update(chunk)
    digest.update(repr(graph.inputs).encode())
    for tensor, collected in statistics.items():
        digest.update(f"{tensor}: {[statistic.kind for statistic in collected]}\n".encode())
    return digest.hexdigest()


def batch_digest(batch: Mapping[str, np.ndarray]) -> str:
    """A digest of the content of a batch."""
    digest = hashlib.blake2b(digest_size=16)
    for name, values in sorted(batch.items()):
        digest.update(f"{name} {values.dtype} {values.shape} ".encode())
        digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, RuntimeError, SyntaxError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What NumPy and the archive raise, RuntimeError of one that is encrypted or packed in another way."""


def _numbers(batches: Iterable[BatchKey]) -> set[int]:
    return {number for number, _ in batches}


def _read(path: Path) -> dict[str, np.ndarray]:
    require_regular(path, DataError)
    try:
        with open_archive(path) as archive:
            check_unpacked_size(archive.infolist())
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        if int(arrays["version"]) != VERSION:
            raise ValueError(f"version {arrays['version']} of the format")
        arrays["fingerprint"]
        _check_batches(arrays["batch_numbers"], arrays["batch_digests"], arrays.get(OFFERED, np.array(0)))
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=str(path))) from None
    except DAMAGE as error:
        raise DataError(
            Problem(
                f"is not a whole calibration state ({error})",
                file=str(path),
                hint="give a file that calibrant observe has written; one that was cut off, observe again",
            )
        ) from None
    return arrays


def _check_batches(numbers: np.ndarray, digests: np.ndarray, offered: np.ndarray) -> None:
    for name, array, axes, kinds in (
        ("batch_numbers", numbers, 1, "i"),
        ("batch_digests", digests, 1, "U"),
        (OFFERED, offered, 0, "i"),
    ):
        if array.ndim != axes or array.dtype.kind not in kinds:
            raise ValueError(f"{name} is of type {array.dtype} and shape {list(array.shape)}")
        if kinds == "i" and np.any(array < 0):
            raise ValueError(f"{name} holds a negative number")
    if len(numbers) != len(digests):
        raise ValueError(f"{len(numbers)} batch_numbers and {len(digests)} batch_digests")


def _batches(arrays: Mapping[str, np.ndarray]) -> set[BatchKey]:
    numbers, digests = arrays["batch_numbers"].tolist(), arrays["batch_digests"].tolist()
    return set(zip(numbers, digests, strict=True))
