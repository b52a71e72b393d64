"""Imports point one way, from the story down to the arithmetic; TensorFlow is only imported to touch a model."""

import ast
import importlib.util
import re
import subprocess
import sys

import pytest

PART = re.compile(r"`(\w+)(?:/|\.py)`")
INNER_FOLDER = re.compile(r"`(\w+/[\w/]+)/`")
ALGORITHMS_MAY_USE = {"numpy"} | sys.stdlib_module_names
FRONT_DOOR = "calibrant"


def import_table(text):
    """The table of ARCHITECTURE.md: each part → the parts that it may import; each folder within a part → its cell.

    A row may name rows above it and nothing beside itself; the first row is for all but the algorithms.
    """
    table, inner, for_all = {}, {}, set()
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `")
    for names, _, cell in (row for row in rows if len(row) == 3):
        inner |= dict.fromkeys(INNER_FOLDER.findall(names), cell)
        parts = PART.findall(names)
        table |= dict.fromkeys(parts, named_in(cell, set(table)) | (set() if cell == "NumPy alone" else for_all))
        for_all = for_all or set(parts)
    return table, inner


def named_in(cell, above):
    """The parts that the last cell of a row stands for."""
    if cell in ("–", "NumPy alone", ""):
        return set()
    if cell == "everything":
        return above | {FRONT_DOOR}
    every, _, names = cell.rpartition("all above")
    named = set(names.removeprefix(" but").replace(",", " ").split())
    assert named <= above, f"{sorted(named - above)} do not stand above"
    return above - named if "all above" in cell else named


@pytest.fixture(name="table")
def table_of_the_page(repository):
    return import_table((repository / "ARCHITECTURE.md").read_text(encoding="utf-8"))[0]


def part_of(path, package):
    """The first name below the package: 'config' for config/parse.py, 'quantize' for quantize.py."""
    return path.relative_to(package).with_suffix("").parts[0]


def imported_names(tree, path, package):
    """Absolute dotted names of everything a module imports, ``from a import b`` as a.b."""
    inside = ("calibrant", *path.relative_to(package).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = inside[: len(inside) - node.level + 1] if node.level else ()
            base = ".".join((*start, *([node.module] if node.module else [])))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def allowed(importer, name, package, table):
    """Whether a module of the part ``importer`` may import the dotted name."""
    first, *rest = name.split(".")
    if first != "calibrant":
        return importer != "algorithms" or first in ALGORITHMS_MAY_USE
    is_part = rest and ((package / rest[0]).is_dir() or (package / f"{rest[0]}.py").is_file())
    imported = rest[0] if is_part else FRONT_DOOR
    return importer in ("__init__", imported) or imported in table[importer]


def wrong_imports(package, table):
    """One line for each import that the table does not allow."""
    for path in sorted(package.rglob("*.py")):
        importer = part_of(path, package)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in imported_names(tree, path, package):
            if not allowed(importer, name, package, table):
                yield f"{path.relative_to(package)} imports {name}"


def test_every_part_has_a_row(repository):
    package = repository / "src" / "calibrant"
    table, inner = import_table((repository / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert sorted(table) == sorted({part_of(path, package) for path in package.rglob("*.py")} - {"__init__"})
    assert [folder for folder, cell in inner.items() if cell or not (package / folder).is_dir()] == []


def test_imports_point_one_way(repository, table):
    assert list(wrong_imports(repository / "src" / "calibrant", table)) == []


def test_the_table_is_read():
    rows = ["`a.py`, `b.py` | – ", "`algorithms/` | NumPy alone", "`c/` | –", "`c/d/` | ", "`e/` | c"]
    rows += ["`f.py` | all above but c, e", "`g/` | everything"]
    table, inner = import_table("\n".join(f"| {row.replace(' | ', ' | what it is | ')} |" for row in rows))
    assert table["a"] == table["algorithms"] == set() and inner == {"c/d": ""}
    assert table["c"] == {"a", "b"} and table["e"] == {"a", "b", "c"}
    assert table["f"] == {"a", "b", "algorithms"} and table["g"] == {*table, FRONT_DOOR} - {"g"}
    with pytest.raises(AssertionError, match="e"):
        import_table("| `c/` | what | e |\n| `e/` | what | – |")


@pytest.mark.parametrize(
    "path, line, right",
    [
        ("config/parse.py", "from calibrant.graph.graph import Graph", False),
        ("fold/norm.py", "from calibrant.graph.graph import Graph", True),
        ("graph/graph.py", "from calibrant.config.plan import Plan", False),
        ("graph/graph.py", "from calibrant import config", False),
        ("graph/graph.py", "from ..config import plan", False),
        ("graph/graph.py", "from . import config", True),
        ("graph/graph.py", "import calibrant.records.record_file", False),
        ("graph/graph.py", "def f():\n    import calibrant.fold", False),
        ("graph/graph.py", "from calibrant import quantization", False),
        ("graph/graph.py", "from calibrant import __version__", False),
        ("graph/graph.py", "from calibrant.errors import Problem", True),
        ("fold/norm.py", "from calibrant.config.plan import Plan", False),
        ("evaluation/fallback.py", "from calibrant.quantization import quantize", True),
        ("report/html.py", "from calibrant.quantization import quantize", False),
        ("cli.py", "from calibrant import quantize, __version__", True),
        ("cli.py", "from calibrant.amct import save_model", True),
        ("amct/log.py", "from calibrant.cli import main", False),
        ("algorithms/ifmr.py", "from calibrant.algorithms.histogram import Histogram", True),
        ("algorithms/ifmr.py", "from calibrant.errors import Problem", False),
        ("algorithms/ifmr.py", "import tensorflow as tf", False),
        ("algorithms/ifmr.py", "import numpy.typing, math", True),
        ("errors.py", "from calibrant.config import plan", False),
    ],
)
def test_the_check_sees_what_it_should(tmp_path, table, path, line, right):
    for part in ("algorithms", "graph", "records", "fold", "config", "evaluation", "report", "amct"):
        (tmp_path / part).mkdir()
    for part in ("quantization", "cli", "errors", "__init__"):
        (tmp_path / f"{part}.py").touch()
    (tmp_path / path).write_text(line)
    assert (list(wrong_imports(tmp_path, table)) == []) == right


def changed_while_read(source: str) -> list[int]:
    """Lines of loops over a map that store into it: the maps of protobuf leave out or repeat keys then, by chance."""
    lines = []
    for loop in ast.walk(ast.parse(source)):
        if not isinstance(loop, ast.For):
            continue
        read = loop.iter
        if isinstance(read, ast.Call) and isinstance(read.func, ast.Attribute):
            read = read.func.value
        stored = (node.value for node in ast.walk(loop) if isinstance(node, ast.Subscript) and not _is_load(node))
        if any(ast.dump(read) == ast.dump(value) for value in stored):
            lines.append(loop.lineno)
    return lines


def _is_load(node: ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Load)


def test_no_map_is_changed_while_it_is_read(repository):
    found = {
        f"{path.relative_to(repository)}:{line}"
        for path in sorted((repository / "src").rglob("*.py"))
        for line in changed_while_read(path.read_text())
    }
    assert not found


@pytest.mark.parametrize("iterated", ["f.ret", "f.ret.items()", "f.ret.keys()"])
def test_the_check_of_maps_sees_what_it_should(iterated):
    assert changed_while_read(f"for key in {iterated}:\n    f.ret[key] = 1") == [1]
    assert changed_while_read(f"for key in {iterated}:\n    del f.ret[key]") == [1]
    assert not changed_while_read(f"for key in list({iterated}):\n    f.ret[key] = 1")
    assert not changed_while_read(f"for key in {iterated}:\n    f.attr[key] = f.ret[key]")


@pytest.mark.parametrize("module", ["calibrant", "config", "records", "algorithms", "errors", "cli"])
def test_tensorflow_is_not_imported_needlessly(repository, module):
    folder = repository / "src" / "calibrant" / module
    if module == "calibrant":
        names = ["calibrant"]
    else:
        names = [f"calibrant.{module}"]
        names += [f"calibrant.{module}.{file.stem}" for file in sorted(folder.glob("*.py")) if file.stem != "__init__"]
    if importlib.util.find_spec(names[0]) is None:
        pytest.skip(f"there is no {names[0]}")
    code = f"import sys, {', '.join(names)}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, f"importing {names} imports TensorFlow {result.stderr}"
