"""Protobuf text format cut into tokens that know their line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|\#[^\n]*)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[-+]?\.?[0-9](?:[A-Za-z0-9_.]|(?<=[eE])[-+])*)
    | (?P<string>"[^"\n\\]*(?:\\[^\n][^"\n\\]*)*"|'[^'\n\\]*(?:\\[^\n][^'\n\\]*)*')
    | (?P<open_string>["'][^\n]*)
    | (?P<mark>[{}<>\[\]:,;])
    | (?P<junk>[^\s"'\#{}<>\[\]:,;A-Za-z0-9_]+|.)
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """One token of the text; ``kind`` is word, number, string, open_string, mark, junk or end."""

    kind: str
    text: str
    line: int
    column: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens of the text in order, without spaces and comments; the last has the kind ``end`` and no text.

    A minus or plus sign that stands apart is joined to the number or word that follows, as in ``- 1`` and ``-inf``.
    """
    line, line_start = 1, 0
    sign: Token | None = None
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "junk"
        if kind == "space":
            breaks = match.group().count("\n")
            if breaks:
                line += breaks
                line_start = match.start() + match.group().rfind("\n") + 1
            continue
        token = Token(kind, match.group(), line, match.start() - line_start + 1)
        if sign is not None:
            if token.kind == "word" or (token.kind == "number" and token.text[0] not in "+-"):
                token = Token("number", sign.text + token.text, sign.line, sign.column)
            else:
                yield sign
            sign = None
        if token.kind == "junk" and token.text in "+-":
            sign = token
            continue
        yield token
    if sign is not None:
        yield sign
    end_line = text.count("\n") + 1
    yield Token("end", "", end_line, len(text) - (text.rfind("\n") + 1) + 1)


def brace_balance(text: str) -> int:
    """How many more braces are opened than closed, outside of strings and comments."""
    balance = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "mark":
            mark = match.group()
            balance += (mark in "{<") - (mark in "}>")
    return balance
