"""Where compiled loops are kept: a folder that can be written to, by nobody else."""

import sys
from pathlib import Path

import pytest

from calibrant.algorithms import kernel_cache

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no owners and modes of files")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The three places, all below a temporary folder; the first cannot be made, as on a read-only installation."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setattr(kernel_cache, "_beside", lambda: tmp_path / "file" / "__pycache__")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kernel_cache.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    kernel_cache._folder.cache_clear()
    yield tmp_path
    kernel_cache._folder.cache_clear()


def test_the_users_cache_folder_is_the_second_choice(folders):
    assert kernel_cache._folder() == folders / "home" / "calibrant"


def test_the_temporary_folder_is_the_third(folders):
    (folders / "home").touch()
    assert kernel_cache._folder().parent == folders / "temporary"


def test_a_folder_that_others_may_write_to_is_not_used(folders):
    (folders / "home").touch()
    folder = Path(kernel_cache._temporary())
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert kernel_cache._folder() is None


def test_numba_is_told_for_these_loops_only(folders):
    config = pytest.importorskip("numba.core.config")
    before = config.CACHE_DIR
    with kernel_cache.cache_folder():
        assert str(folders / "home" / "calibrant") == config.CACHE_DIR
    assert before == config.CACHE_DIR
