"""Paths that lead nowhere, and what may have been meant."""

from __future__ import annotations

import pytest

from calibrant.data.resolve_path import Selection
from calibrant.errors import DataError


@pytest.mark.parametrize(
    "target, said",
    [
        ("loop.npy", "loop.npy: is a link that leads back to itself"),
        ("none.npy", "is a link to none.npy, which is not"),
    ],
)
def test_a_link_that_cannot_be_followed_says_so_and_is_no_hint(tmp_path, target, said):
    (tmp_path / "loop.npy").symlink_to(target)
    (tmp_path / "images").mkdir()
    for name in ("loop.npy", "lop.npy"):
        with pytest.raises(DataError) as caught:
            Selection.parse(tmp_path / name)
        (problem,) = caught.value.problems
        assert problem.hint is None
        assert name != "loop.npy" or said in str(problem)


def test_patterns_are_not_expanded(tmp_path):
    (tmp_path / "png").mkdir()
    (tmp_path / "png" / "1.png").touch()
    for pattern in ("png/*.png", "png/?.png", "png/*/[12]*.png"):
        with pytest.raises(DataError, match=f"patterns are not expanded here: (.|\n)*'{tmp_path}/png'$"):
            Selection.parse(tmp_path / pattern)


def test_the_closest_name_is_the_hint(tmp_path):
    (tmp_path / "images.npy").touch()
    (tmp_path / "link.npy").symlink_to("images.npy")
    for name, meant in (("image.npy", "images.npy"), ("lnk.npy", "link.npy")):
        with pytest.raises(DataError, match=f"no such file or folder\\n    hint: did you mean '{meant}'"):
            Selection.parse(tmp_path / name)
