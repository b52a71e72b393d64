"""What the documentation and the messages say: names exist, examples run, options and links are there."""

import ast
import doctest
import importlib
import re
import shlex
import shutil

import pytest

import calibrant
from calibrant.cli.main import COMMANDS
from calibrant.config import QUANTIZABLE_TYPES
from calibrant.config.schema import messages
from calibrant.exports import EXPORTS

NAME = re.compile(r"\bcalibrant((?:\.[A-Za-z_]\w*)+)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^calibrant (.+)$", re.MULTILINE)
FORBIDDEN = re.compile(
    r"\b(?:hold|held|holds)\b[^.|]{0,40} against\b|\bagainst each other\b|\btold (?:by|apart)\b|\bpart by more than\b"
    r"|\bneed different factors\b",
    re.IGNORECASE,
)
ROLE = re.compile(r":(?:func|class|meth|data|attr):`~?(\w+)(?:\.\w+)*`")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[\w-]+)?\)")


def pages(repository):
    """Path and text of every Markdown file that is part of the project."""
    for path in sorted([*repository.glob("*.md"), *repository.glob("docs/**/*.md")]):
        yield path, path.read_text(encoding="utf-8")


def examples(repository, language):
    """The fenced examples of a language, as (page, text)."""
    for path, text in pages(repository):
        for found, example in FENCE.findall(text):
            if found == language:
                yield str(path.relative_to(repository)), example


def strings(path):
    """Every text in a module: docstrings and messages."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def missing(dotted):
    """Whether ``calibrant`` + dotted is neither a module nor something in one."""
    value = calibrant
    for part in dotted.strip(".").split("."):
        if not hasattr(value, part):
            try:
                importlib.import_module(f"{getattr(value, '__name__', '')}.{part}")
            except ImportError:
                return True
        value = getattr(value, part)
    return False


def test_names_in_docs_and_messages_can_be_imported(repository):
    texts = [(path.name, text) for path, text in pages(repository)]
    modules = sorted((repository / "src").rglob("*.py"))
    texts += [(path.name, text) for path in modules for text in strings(path)]
    names = {(dotted, place) for place, text in texts for dotted in NAME.findall(text)}
    assert len(names) > 20
    assert sorted((f"calibrant{dotted}", place) for dotted, place in names if missing(dotted)) == []


def unknown_roles(text):
    """Names in roles such as ``:func:`` that a module neither defines nor imports; those from ``calibrant`` aside."""
    nodes = list(ast.walk(ast.parse(text)))
    known = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {"calibrant"}
    known |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = (node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)))
    known |= {alias.asname or alias.name for node in imports for alias in node.names}
    return [name for name in ROLE.findall(text) if name not in known]


def test_roles_in_docstrings_lead_somewhere(repository):
    found = {
        path: unknown_roles(path.read_text(encoding="utf-8")) for path in sorted((repository / "src").rglob("*.py"))
    }
    assert [(path.name, names) for path, names in found.items() if names] == []


def test_an_unknown_role_is_noticed():
    text = "from a import b as c\nd = 1\nclass E:\n    def f(self): pass\n"
    roles = ":func:`c` :data:`d` :meth:`E.f` :class:`calibrant.x`"
    assert unknown_roles(f'"""{roles} :func:`b`"""\n{text}') == ["b"]


@pytest.mark.parametrize(
    "dotted, absent",
    [
        (".quantize", False),
        (".graph.reading.load.load", False),
        (".absent", True),
        (".graph.reading.load.absent", True),
    ],
)
def test_a_missing_name_is_noticed(dotted, absent):
    assert missing(dotted) == absent


def test_python_examples_run(repository, tmp_path, monkeypatch):
    for name in ("digits.pb", "quant.cfg", "calibration.npz", "test.npz"):
        shutil.copy(repository / "examples" / "digits" / name, tmp_path)
    shutil.copy(tmp_path / "digits.pb", tmp_path / "model.pb")
    monkeypatch.chdir(tmp_path)
    run = 0
    for page, example in examples(repository, "python"):
        exec(compile(example, page, "exec"), {"__name__": "__main__"})
        run += 1
    assert run


def test_examples_in_docstrings_run():
    run = doctest.DocTestRunner()
    for name in calibrant.__all__:
        value = getattr(calibrant, name)
        for test in doctest.DocTestFinder(recurse=False).find(value, name, globs={"calibrant": calibrant, name: value}):
            run.run(test)
    assert run.tries and not run.failures


def test_configuration_examples_are_read(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = {}
    found = list(examples(repository, "textproto"))
    for page, example in found:
        for name in re.findall(r'mapping_file : "(.+)"', example):
            (tmp_path / name).write_text("{}")
        try:
            calibrant.load_config(example)
        except calibrant.ConfigError as error:
            wrong[page] = str(error)
    assert len(found) > 10 and wrong == {}


def test_words_are_plain(repository):
    """Phrases that read like a translation, for: compare, check, recognize, report, distinguish, differ."""
    paths = [path for path, _ in pages(repository)] + sorted((repository / "src").rglob("*.py"))
    found = {path.name: FORBIDDEN.findall(" ".join(path.read_text(encoding="utf-8").split())) for path in paths}
    assert {name: phrases for name, phrases in found.items() if phrases} == {}


@pytest.mark.parametrize(
    "phrase", ["Hold the files of one result against another", "told apart", "first part by more than"]
)
def test_a_phrase_is_noticed(phrase):
    assert FORBIDDEN.search(phrase)


def test_commands_in_docs_exist(repository):
    wrong, seen = [], set()
    for page, example in examples(repository, "console"):
        for line in COMMAND.findall(example.replace("\\\n", " ")):
            name, *words = shlex.split(line.split("  #")[0])
            if name not in COMMANDS:
                wrong.append((page, line))
                continue
            seen.add(name)
            command = getattr(importlib.import_module(f"calibrant.cli.{name}"), name)
            known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
            wrong += [(page, line, word) for word in words if word.startswith("--") and word not in known]
    assert wrong == []
    assert seen == set(COMMANDS), "a command that no page shows"


def test_every_field_export_and_layer_type_has_its_place(repository):
    docs = repository / "docs"
    guide = "".join(path.read_text(encoding="utf-8") for path in docs.glob("configuration/*.md"))
    specified = (docs / "specification" / "configuration.md").read_text(encoding="utf-8")
    fields = {name for message in messages().values() for name in message.fields}
    assert [name for name in sorted(fields) if f"`{name}`" not in specified] == []
    assert [name for name in sorted(fields) if name not in guide] == []
    exports = (docs / "exports.md").read_text(encoding="utf-8")
    assert [name for name in EXPORTS if f"--export {name}" not in exports] == []
    graph = (docs / "specification" / "graph.md").read_text(encoding="utf-8")
    assert [name for name in QUANTIZABLE_TYPES if not re.search(rf"^\| .*\b{name}\b", graph, re.MULTILINE)] == []


def test_links_lead_somewhere(repository):
    wrong = [
        (str(path.relative_to(repository)), target)
        for path, text in pages(repository)
        for target in LINK.findall(text)
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert wrong == []


def test_no_page_holds_two_versions_of_itself(repository):
    marks = ("<" * 7, ">" * 7)
    assert not [path.name for path, text in pages(repository) if any(f"{mark} " in text for mark in marks)]
