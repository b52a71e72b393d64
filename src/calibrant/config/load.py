"""From a configuration file or a ``config.json``, or its text, to a checked ``Configuration``."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from calibrant.config.check import rule_problems
from calibrant.config.foreign import foreign_problem
from calibrant.config.json_file import JSON_LIMIT, is_config_json, parse_config_json
from calibrant.config.model import MESSAGES, Configuration
from calibrant.config.parse import parse
from calibrant.config.problems import ProblemList
from calibrant.config.schema import ROOT, messages
from calibrant.config.tree import ParsedMessage
from calibrant.errors import ConfigError, Problem
from calibrant.regular_file import is_file, is_folder
from calibrant.text_source import Source, check_size, read_source

SIZE_LIMIT = 2 * 2**20
"""Largest configuration file in bytes; 15,000 layers with an override each stay below it."""

_COMMENT = re.compile(r"#[^\n]*")
_FIRST_FIELD = re.compile(r"(?:\s|#[^\n]*\n)*([a-z_0-9]+)\s*[:{<]")


def load_config(source: str | os.PathLike[str] | Configuration | None = None) -> Configuration:
    """Read and check a configuration file, or a ``config.json``; the content tells which it is.

    Parameters
    ----------
    source : str | os.PathLike[str] | Configuration | None
        The path of a file; or the text itself (a string with a line break, or one that begins with a field of the
        schema or a brace); or None for a configuration that sets nothing, so that every default holds. A
        ``Configuration`` is checked and returned.

    Returns
    -------
    Configuration
        What is written, as values; a field that is not written is None.

    Raises
    ------
    ConfigError
        The file cannot be read, or breaks the rules of the schema; the error lists every problem.

    Examples
    --------
    >>> load_config("batch_num : 2  skip_layers : 'conv1'").skip_layers
    ('conv1',)
    """
    configuration, problems = read_config(source)
    problems.raise_if_any()
    return configuration


def read_config(source: str | os.PathLike[str] | Configuration | None = None) -> tuple[Configuration, ProblemList]:
    """What ``load_config`` reads together with everything that is wrong with it, so that more problems can be added.

    A value that cannot be read is missing from the configuration.

    Raises
    ------
    ConfigError
        There is no text to read: no such file, a directory, too large, not UTF-8; or something else was given.
    """
    if source is None:
        return Configuration(), ProblemList()
    if isinstance(source, Configuration):
        problems = ProblemList()
        problems.extend(rule_problems(source))
        return source, problems
    if not isinstance(source, (str, os.PathLike)):
        allowed = "the path of a configuration file, its text, a Configuration, or None"
        raise ConfigError(Problem(f"config is {source!r:.80} ({type(source).__name__})", allowed=allowed))
    text = _as_text(source)
    if text is not None:
        check_size(len(text), "configuration", JSON_LIMIT)
    read = read_source(source, "configuration file", JSON_LIMIT) if text is None else Source.of(text)
    if is_config_json(read.text):
        configuration, problems = parse_config_json(read)
        problems.extend(rule_problems(configuration))
        return configuration, problems
    check_size(len(read.text), "configuration" if text else "configuration file", SIZE_LIMIT, read.name)
    tree, problems, warnings = parse(read)
    places: dict[str, tuple[int, int]] = {}
    configuration = replace(_build(tree, "", places), source=read, places=places, warnings=warnings)
    problems.extend(rule_problems(configuration))
    foreign = foreign_problem(read) if problems else None
    if foreign is not None:
        problems = ProblemList()
        problems.add(foreign)
        return configuration, problems
    return _find_mapping_file(configuration, problems), problems


def is_configuration(path: Path) -> bool:
    """Whether a file is a configuration, which may have mistakes, or a ``config.json``."""
    try:
        read = read_source(path, "configuration file", JSON_LIMIT)
    except ConfigError:
        return False
    if is_config_json(read.text):
        return not parse_config_json(read)[1]
    first = _FIRST_FIELD.match(read.text)
    return first.group(1) in messages()[ROOT].fields if first else not _COMMENT.sub("", read.text).strip()


def config_files(source: str | os.PathLike[str] | Configuration | None) -> tuple[Path, ...]:
    """The files that a configuration is read from: its own and the mapping file; none for one that cannot be read."""
    try:
        configuration, _ = read_config(source)
    except ConfigError:
        return ()
    own = configuration.source.name if configuration.source else None
    return tuple(Path(name) for name in (own, configuration.mapping_path) if name)


def _as_text(source: str | os.PathLike[str]) -> str | None:
    """The source if it is a text and no path."""
    if not isinstance(source, str):
        return None
    first = _FIRST_FIELD.match(source)
    is_text = "\n" in source or is_config_json(source) or (first and first.group(1) in messages()[ROOT].fields)
    return source if is_text else None


def _build(parsed: ParsedMessage, path: str, places: dict[str, tuple[int, int]]) -> Any:
    """The dataclass of a block, and the place of each of its values."""
    values: dict[str, Any] = {}
    for name, written in parsed.fields.items():
        repeated = messages()[parsed.type].fields[name].repeated
        base = f"{path}.{name}" if path else name
        elements: list[Any] = []
        for element in written:
            inner = f"{base}[{len(elements)}]" if repeated else base
            places[inner] = (element.line, element.column)
            if isinstance(element, ParsedMessage):
                elements.append(_build(element, inner, places))
            else:
                elements.append(element.value)
        if repeated:
            values[name] = tuple(elements)
        elif elements:
            values[name] = elements[-1]
    return MESSAGES[parsed.type](**values)


def _find_mapping_file(configuration: Configuration, problems: ProblemList) -> Configuration:
    """Look the mapping file up beside the configuration file first, then in the working directory."""
    nuq = configuration.nuq_config
    if nuq is None or not nuq.mapping_file:
        return configuration
    beside = Path(configuration.source.name).parent if configuration.source and configuration.source.name else Path()
    candidates = list(dict.fromkeys([beside / nuq.mapping_file, Path(nuq.mapping_file)]))
    for candidate in candidates:
        if is_file(candidate):
            return replace(configuration, nuq_config=replace(nuq, mapping_path=str(candidate)))
    looked_up = " and ".join(repr(str(candidate)) for candidate in candidates)
    folder = next((str(candidate) for candidate in candidates if is_folder(candidate)), None)
    problems.extend(
        [
            configuration.problem(
                "nuq_config.mapping_file",
                "the mapping file does not exist" if folder is None else f"{folder!r} is a folder, not a mapping file",
                allowed="a JSON file, relative to the configuration file or to the working directory",
                hint=f"looked up: {looked_up}"[:400],
            )
        ]
    )
    return configuration
