"""Files that are no configuration at all: one short clear error each, in bounded time."""

import gzip
import os
import time

import pytest

from calibrant.config import load_config
from calibrant.config.load import SIZE_LIMIT
from calibrant.config.problems import MOST_SHOWN
from calibrant.errors import ConfigError


@pytest.mark.parametrize(
    "content, message",
    [
        ("batch_num: 2\n".encode("utf-16"), "is UTF-16"),
        (b"\x00\x01\x02\x03", "is binary"),
        (gzip.compress(b"batch_num: 2"), "is gzip"),
        (b"batch_num: 2\n# Gr\xf6\xdfe\n", "not UTF-8: byte 0xf6 at offset 17"),
        (b"a" * (SIZE_LIMIT + 1), "is larger than 2 MiB"),
    ],
    ids=["UTF-16", "binary", "gzip", "Latin-1", "large"],
)
def test_files_that_are_no_configuration(tmp_path, content, message):
    file = tmp_path / "quant.cfg"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    (problem,) = error.value.problems
    assert message in problem.message
    assert problem.file == str(file)
    if "0xf6" in message:
        assert (problem.line, problem.column) == (2, 5)


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)
    (tmp_path / "quant.cfg").write_text("batch_num: 1")
    with pytest.raises(ConfigError, match="does not exist") as error:
        load_config(tmp_path / "quant.cgf")
    assert error.value.problems[0].hint == "did you mean 'quant.cfg'?"
    with pytest.raises(ConfigError, match="does not exist") as error:
        load_config(str(tmp_path / "none" / "quant.cfg"))
    assert "the directory" in error.value.problems[0].hint
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path / "pipe")
    for name in ("", "a\0b", "x" * 5000):
        with pytest.raises(ConfigError):
            load_config(name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_read_permission(tmp_path):
    file = tmp_path / "quant.cfg"
    file.write_text("batch_num: 1")
    file.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file)


LARGE = 500_000


@pytest.mark.parametrize(
    "text",
    [
        "common_config {" * (LARGE // 15),
        "x {" * (LARGE // 3),
        "x: " + "[" * LARGE,
        "}" * LARGE,
        "{" * LARGE,
        "skip_layers: [" + "'a', " * (LARGE // 5),
        "skip_layers: '" + "\\" * LARGE,
        "batch_num: " + "1" * LARGE,
        "common_config { ifmr_quantize { search_step: " + "1" * LARGE,
        "- " * (LARGE // 2),
        '"' * LARGE,
        "x" * LARGE,
        " " * LARGE + "!",
        "#" * LARGE + "\nx",
    ],
    ids=lambda text: text[:14],
)
def test_hostile_input_gets_a_short_answer_in_bounded_time(text):
    began = time.process_time()
    with pytest.raises(ConfigError) as error:
        load_config(text + "\n")
    assert time.process_time() - began < 20
    assert len(error.value.problems) <= MOST_SHOWN + 1
    assert all(len(str(problem)) < 2000 for problem in error.value.problems)
