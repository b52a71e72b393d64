"""Words of a user that name a path, an array in it, and samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibrant.data.input_source import SampleSlice
from calibrant.data.resolve_path import Selection


@pytest.mark.parametrize("folder", ["plain", "two\nlines"])
@pytest.mark.parametrize("member", ["x", "two\nlines"])
def test_a_path_is_told_from_what_follows_it(tmp_path: Path, folder: str, member: str) -> None:
    """Also where a name holds the end of a line."""
    path = tmp_path / folder / "a.npz"
    path.parent.mkdir()
    path.touch()
    samples = SampleSlice(2, 5)
    for word, named, window in (
        (f"{path}:{member}[2:5]", member, samples),
        (f"{path}:{member}", member, None),
        (f"{path}[2:5]", None, samples),
    ):
        assert Selection.parse(word) == Selection(word, path, named, window)
