"""Labels as people have them: the command in the hint makes numbers that are read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from calibrant.errors import DataError
from calibrant.evaluation.labels import load_labels


def advised(path, folder):
    """Labels that the command in the hint makes, and the error."""
    with pytest.raises(DataError) as caught:
        load_labels(path)
    said = str(caught.value)
    command = "import " + said.split('python -c "import ')[1]
    code, given = command.split('" ')
    subprocess.run([sys.executable, "-c", code, given.strip()], cwd=folder, check=True)
    assert not set(code) & set('"$`\\!')
    return load_labels(folder / "class_numbers.npy").tolist(), said


NAMES = [2, 1, 2, 0]  # of dog, cat, dog, bird


@pytest.mark.parametrize(
    ("name", "text", "labels", "said"),
    [
        ("y.csv", "label\n3\n1\n", [3, 1], "'label' is no label, it looks like a header"),
        ("y.csv", "filename,label\nb.png,3\na.png,1\n", [1, 3], "column 2 'label'; rows are sorted by column 1"),
        ("y.csv", '"b,b.png",3\n"a,a.png",1\n', [1, 3], "it looks like a row of a table"),
        ("y.csv", "a b;3\nc d;1\n", [3, 1], "the labels are column 2"),
        ("y.csv", ",label\n0,dog\n1,cat\n2,dog\n3,bird\n", NAMES, "names are numbered from 0 in sorted order"),
        ("y.csv", "id,breed\n7,dog\n8,cat\n9,dog\n4,bird\n", NAMES, "column 2 'breed'"),
        ("y.csv", "path,a,b\n1.png,0,1\n0.png,1,1\n", [[1, 1], [0, 1]], "columns 2 'a', 3 'b'"),
        ("y.txt", "dog\ncat\ndog\nbird\n", NAMES, "'dog' is no label, it looks like the name of a class"),
        ("y.txt", "\ufeffold dog\nold cat\n", [1, 0], "the name of a class"),
        ("y.txt", "b/1.JPEG 3\na/0.JPEG 1\n", [1, 3], "column 2"),
    ],
)
def test_the_command_makes_labels_of_a_table(name, text, labels, said, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    made, message = advised(tmp_path / name, tmp_path)
    assert made == labels
    assert said in message


def test_names_in_an_array(tmp_path):
    np.save(tmp_path / "y.npy", ["dog", "cat", "dog", "bird"])
    assert advised(tmp_path / "y.npy", tmp_path)[0] == NAMES


@pytest.mark.parametrize("text", ["1\n2\ntwo\n4\n", "0,1\n0,x\n", "0,1\nx\n"])
def test_a_single_fault_is_no_table(text, tmp_path):
    (tmp_path / "y.csv").write_text(text)
    with pytest.raises(DataError, match="is no label\n") as caught:
        load_labels(tmp_path / "y.csv")
    assert "hint" not in str(caught.value)
