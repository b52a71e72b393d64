"""Data in formats that are not read: the command in the hint makes arrays that are."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from calibrant.data.input_spec import InputSpec
from calibrant.data.open_data import open_data
from calibrant.errors import DataError

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
INPUTS = [InputSpec("x", (None, 3), np.float32)]


def text(path, separator=",", header=""):
    rows = [separator.join(map(str, row)) for row in VALUES.tolist()]
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n", encoding="utf-8")


def write_hdf5(path):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["x"] = VALUES


def write_parquet(path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas").DataFrame(VALUES, columns=["a", "b", "c"]).to_parquet(path)


WRITERS = {
    "plain.csv": text,
    "title.csv": lambda path: text(path, header="\ufeffa,b,c"),
    "tabs.tsv": lambda path: text(path, "\t"),
    "words.txt": lambda path: text(path, " ", "a b c"),
    "it is.pkl": lambda path: path.write_bytes(pickle.dumps(VALUES.tolist())),
    "h.h5": write_hdf5,
    "p.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_command_makes_arrays(name, tmp_path):
    path = tmp_path / name
    WRITERS[name](path)
    with pytest.raises(DataError, match="is no known kind of data") as caught:
        open_data(path, INPUTS)
    code, given = str(caught.value).split('python -c "')[1].split('" ')
    assert not set(code) & set('"$`\\!')
    subprocess.run([sys.executable, "-c", code, given.strip().strip("'")], cwd=tmp_path, check=True)
    [made] = tmp_path.glob("samples.*")
    [batch] = open_data(made, INPUTS)
    assert np.array_equal(batch["x"], VALUES)
