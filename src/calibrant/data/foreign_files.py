"""Files of data in formats that are not read: the command that makes arrays of them."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

import numpy as np

_RECORD_SUFFIXES = (".tfrecord", ".tfrecords")
_RECORDS = "TFRecords need a function that parses them: pass calibrant.TFRecords(path, parse) from Python"
_TEXT = {".csv": ",", ".tsv": None, ".txt": None}
"""Ending → what separates numbers; None: white space."""
_PICKLE = "np.save('samples.npy', np.asarray(pickle.load(open(sys.argv[1], 'rb')), '{dtype}'))"
_PARQUET = "np.save('samples.npy', pandas.read_parquet(sys.argv[1]).to_numpy('{dtype}'))"
_HDF5 = "np.savez('samples.npz', **{{name: np.asarray(each) for name, each in h5py.File(sys.argv[1]).items()}})"
_CODE = {
    ".pkl": ("pickle", _PICKLE),
    ".pickle": ("pickle", _PICKLE),
    ".parquet": ("pandas", _PARQUET),
    ".h5": ("h5py", _HDF5),
    ".hdf5": ("h5py", _HDF5),
}
_LONGEST_LINE = 1 << 16


def foreign_hint(path: Path, dtype: np.dtype) -> str | None:
    """What to do with a file of a format that is not read.

    Parameters
    ----------
    path : Path
        The file.
    dtype : np.dtype
        Type of the values that the model takes.

    Returns
    -------
    str | None
        A hint, for most with a command; None for a file of no known format.
    """
    suffix = path.suffix.lower()
    if suffix in _RECORD_SUFFIXES or ".tfrecord" in path.name:
        return _RECORDS
    kind = "str" if dtype.kind in "OSU" else dtype.name
    if suffix in _TEXT:
        options = [f"delimiter='{_TEXT[suffix]}'"] if _TEXT[suffix] else []
        options += ["skiprows=1"] if kind != "str" and _has_header(path, _TEXT[suffix]) else []
        options += [f"dtype='{kind}'", "ndmin=2", "encoding='utf-8-sig'"]
        code = f"np.save('samples.npy', np.loadtxt(sys.argv[1], {', '.join(options)}))"
        return f"make samples.npy of it: {_command('', code, path)}"
    if suffix not in _CODE:
        return None
    module, code = _CODE[suffix]
    made = "samples.npz of its arrays" if module == "h5py" else "samples.npy of it"
    trust = "a pickle may run any code, so it is not read; if you trust it, " if module == "pickle" else ""
    return f"{trust}make {made}: {_command(f'{module}, ', code.format(dtype=kind), path)}"


def _command(modules: str, code: str, path: Path) -> str:
    return f'python -c "import {modules}sys, numpy as np; {code}" {shlex.quote(str(path))}'


def _has_header(path: Path, separator: str | None) -> bool:
    """Whether the first line of a text file has a word that is no number."""
    with suppress(OSError):
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            words = stream.readline(_LONGEST_LINE).split(separator)
        try:
            _ = [float(word) for word in words]
        except ValueError:
            return True
    return False
