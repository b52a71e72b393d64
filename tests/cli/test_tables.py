"""Tables fit the terminal: names lose their middle, then the last columns go, and nothing is lost without a word."""

import pytest
from rich.console import Console

from calibrant.cli import show

COLUMNS = ("layer", "SQNR dB", "scale", "offset", "type", "range", "bits", "scales")
ROWS = [
    ("a/very/long/prefix/of/some/network/block_1/conv", "41.2", 0.5, -128, "DepthwiseConv2dNative", "0 .. 1", 8, 24),
    ("short", "9.1", 0.25, 0, "MatMul", "-1.25 .. 1", 8, 1),
]


@pytest.fixture
def lines(monkeypatch, capsys):
    def shown(width, columns=COLUMNS, rows=ROWS, title="layers", **options):
        monkeypatch.setattr(show, "console", lambda: Console(width=width, highlight=False, color_system=None))
        show.table(title, columns, rows, **options)
        return capsys.readouterr().out.splitlines()

    return shown


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_longer(lines, width):
    found = lines(width)
    assert max(map(len, found)) <= width
    assert any("block_1/conv" in line and "41.2" in line for line in found)


def test_columns_that_do_not_fit_are_named(lines):
    *_, last = lines(60)
    assert "bits, scales" in last and "--json" in last
    assert not any("--json" in line for line in lines(160))


def test_wide_tables_are_whole(lines):
    assert any(ROWS[0][0] in line for line in lines(240))


PREFIX = "StatefulPartitionedCall_1/StatefulPartitionedCall/functional_1/"


@pytest.mark.parametrize("columns", [("layer", "type", "absorbed"), ("operator", "how many", "layers")])
def test_what_all_names_begin_with_is_said_once(lines, columns):
    rows = [(f"{PREFIX}a/conv", 1, f"{PREFIX}a/norm, {PREFIX}a/add"), (f"{PREFIX}b/conv", 2, f"{PREFIX}c")]
    found = lines(80, columns, rows)
    assert found[1] == f"…/ stands for {PREFIX}" and PREFIX not in "".join(found[2:])
    assert found[3].split() == ["…/a/conv", "1", "…/a/norm,", "…/a/add"]
    assert not any("stands for" in line for line in lines(80, columns, rows[:1]) if columns[0] == "layer")
    assert not any("stands for" in line for line in lines(80, columns, [("a/b", 1, "a/b"), ("a/c", 1, "a/c")]))


def test_brackets_are_text(lines):
    assert any("[bold]x[/bold]" in line for line in lines(80, ("name", "n"), [("[bold]x[/bold]", 1)]))


def test_names_are_folded_behind_slashes(lines):
    names = "network/block_1/depthwise/BatchNorm, network/block_1/depthwise/bias_add"
    found = lines(50, ("layer", "kind", "absorbed"), [("a", "norm", names)])
    pieces = [line[len("layer  kind  ") :] for line in found[2:]]
    assert len(pieces) > 1 and max(map(len, found)) <= 50
    assert "".join(pieces).replace(" ", "") == names.replace(" ", "")
    assert all(piece.endswith(("/", ",")) for piece in pieces[:-1])


@pytest.mark.parametrize("width", [72, 80, 100])
def test_nothing_is_cut_off_beside_a_long_first_column(lines, width):
    names = "digits_1/norm2_1/batchnorm/mul_1, digits_1/norm2_1/batchnorm/add_1"
    row = ("digits_1/depthwise2_1/depthwise", "written-out batch norm", names)
    found = lines(width, ("layer", "kind", "absorbed"), [row])
    start = found[1].index("absorbed")
    assert max(map(len, found)) <= width
    assert "".join(line[start:] for line in found[2:]).replace(" ", "") == names.replace(" ", "")


def test_names_that_are_kept_whole(lines):
    name = ROWS[0][0]
    _, head, *rows = lines(60, whole_names=True)
    start = head.index("SQNR dB")
    assert "".join(row[:start].strip() for row in rows).startswith(name)
    assert name not in "".join(lines(60)) and any(len(row) < start for row in rows)


def test_rows_have_no_blanks_at_their_end(lines):
    assert all(line == line.rstrip() for line in lines(80))


def test_a_title_is_not_folded_to_the_width_of_its_table(lines):
    assert lines(80, ("a", "b"), [(1, 2)], "two words and more")[0] == "two words and more"


def test_lines_are_folded_on_a_terminal_alone(monkeypatch, capsys):
    steps = [f"step {number} {number}.50 s" for number in range(20)]
    whole = "time: " + ", ".join(steps)
    show.listed("time", steps)
    assert capsys.readouterr().out == f"{whole}\n"
    monkeypatch.setattr(show, "console", lambda: Console(width=60))
    monkeypatch.setattr(show.sys.stdout, "isatty", lambda: True, raising=False)
    show.listed("time", steps)
    found = capsys.readouterr().out.splitlines()
    assert max(map(len, found)) <= 60 and all(line.endswith(("s,", "s")) for line in found)
    assert " ".join(map(str.strip, found)) == whole


def test_only_what_names_begin_with_is_left_out(lines):
    rows = [(f"{PREFIX}{PREFIX}a", 1, f"x/{PREFIX}a"), (f"{PREFIX}b", 2, "")]
    found = lines(240, ("layer", "bits", "absorbed"), rows)
    assert found[3].split() == [f"…/{PREFIX}a", "1", f"x/{PREFIX}a"]
